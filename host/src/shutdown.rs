//! Signals. The first SIGTERM or SIGINT asks for an orderly end: stop pulling, deliver what is in
//! flight while the heartbeat goes on, save the checkpoints, leave. The second one ends at once, which
//! loses nothing either: the checkpoints stay behind and the logs come again.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// The same signal again within this time is the same wish: `timeout` and some shells send one to the
/// process and once more to its group.
const ECHO: Duration = Duration::from_secs(1);

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    last: Option<(&'static str, Instant)>,
}

impl Signals {
    /// Begins to listen; from now on the signals no longer kill the process by themselves.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            last: None,
        })
    }

    /// Waits for the next one and names it. May be dropped halfway: no signal is missed.
    pub async fn next(&mut self) -> &'static str {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            };
            let is_echo = |(last, at): (&str, Instant)| last == name && at.elapsed() < ECHO;
            if !self.last.is_some_and(is_echo) {
                self.last = Some((name, Instant::now()));
                return name;
            }
        }
    }
}
