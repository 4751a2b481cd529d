//! Signals. The first one that asks for the end asks for an orderly one: stop pulling, deliver what is in
//! flight while the heartbeats continue, save the checkpoints, leave. The second one ends at once, which
//! loses nothing either: the checkpoints stay behind and the logs are pulled again.
//!
//! Every signal that would kill a process by default, and that is sent to services in practice, is listed
//! here with its meaning. SIGPIPE is ignored by the language's runtime: writing to a closed pipe is an error.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// The same signal again within this time is the same wish: `timeout` and some shells send one to the
/// process and once more to its group.
const ECHO: Duration = Duration::from_secs(1);

/// What a signal means to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalMeaning {
    /// The process is to end.
    End,
    /// Elsewhere it asks a service for something that this one has no answer to: logged, and ignored.
    Unused(&'static str),
    /// Only its default, which kills, is unwanted.
    Ignored,
}

/// SIGXCPU and SIGXFSZ, which tokio has no names for; the same numbers on all Linux systems that we build for.
const XCPU: i32 = 24;
const XFSZ: i32 = 25;

fn meanings() -> [(&'static str, SignalKind, SignalMeaning); 9] {
    let reload = "the config file is not read again: restart to apply a change";
    let nothing = "this signal has no meaning here";
    [
        ("SIGTERM", SignalKind::terminate(), SignalMeaning::End),
        ("SIGINT", SignalKind::interrupt(), SignalMeaning::End),
        // By default it writes memory, and so secrets and logs, to a core file.
        ("SIGQUIT", SignalKind::quit(), SignalMeaning::End),
        // A time limit that a parent has set, and a limit of CPU time.
        ("SIGALRM", SignalKind::alarm(), SignalMeaning::End),
        ("SIGXCPU", SignalKind::from_raw(XCPU), SignalMeaning::End),
        // From log rotation, from `reload` of a service manager, from a terminal that was closed.
        ("SIGHUP", SignalKind::hangup(), SignalMeaning::Unused(reload)),
        ("SIGUSR1", SignalKind::user_defined1(), SignalMeaning::Unused(nothing)),
        ("SIGUSR2", SignalKind::user_defined2(), SignalMeaning::Unused(nothing)),
        // A limit of file sizes: the write fails with an error, which its sink reports.
        ("SIGXFSZ", SignalKind::from_raw(XFSZ), SignalMeaning::Ignored),
    ]
}

/// The signals that the process listens to.
#[derive(Debug)]
pub struct Signals {
    all: Vec<(&'static str, SignalMeaning, Signal)>,
    last: Option<(&'static str, Instant)>,
}

impl Signals {
    /// Begins to listen, for a service; from now on the signals no longer kill the process by themselves.
    ///
    /// # Errors
    /// The system refuses to report signals to us.
    pub fn listen() -> io::Result<Self> {
        let all = meanings().map(|(name, kind, meaning)| Ok((name, meaning, signal(kind)?)));
        Ok(Self { all: all.into_iter().collect::<io::Result<_>>()?, last: None })
    }

    /// The same for a program in use at a terminal: it ends with its terminal.
    ///
    /// # Errors
    /// The system refuses to report signals to us.
    pub fn of_terminal() -> io::Result<Self> {
        let mut signals = Self::listen()?;
        for (name, meaning, _) in &mut signals.all {
            if *name == "SIGHUP" {
                *meaning = SignalMeaning::End;
            }
        }
        Ok(signals)
    }

    /// Waits for the next one that asks for the end, and names it. Logs those that mean nothing here. May be
    /// dropped halfway: no signal is missed.
    pub async fn next(&mut self) -> &'static str {
        loop {
            let (signal, meaning) = poll_fn(|cx| self.poll(cx)).await;
            match meaning {
                SignalMeaning::Ignored => {}
                SignalMeaning::Unused(help) => tracing::info!(signal, help, "signal ignored"),
                SignalMeaning::End => {
                    let is_echo =
                        |(last, at): (&str, Instant)| last == signal && at.elapsed() < ECHO;
                    if !self.last.is_some_and(is_echo) {
                        self.last = Some((signal, Instant::now()));
                        return signal;
                    }
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(&'static str, SignalMeaning)> {
        for (name, meaning, signal) in &mut self.all {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready((name, *meaning));
            }
        }
        Poll::Pending
    }
}
