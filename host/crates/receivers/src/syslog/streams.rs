//! Syslog over TCP and TLS: one task per connection, which only reads.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::faults::{Ending, ReadSpeed};
use super::framing::{Deframer, Framing};
use super::intake::Intake;
use crate::server::Serve;
use crate::wire::{Connection, ResetSwitch};

/// Bytes read at once; more if one message is larger.
const READ_BYTES: usize = 256 * 1024;

pub(crate) struct Streams {
    framing: Framing,
    max_message_bytes: usize,
    intake: Arc<Intake>,
}

/// Why the server stops reading a connection.
enum Stop {
    /// The peer has nothing more to say.
    Ended,
    /// The framing makes no sense.
    Broken,
    /// A fault asked for it.
    Cut(Ending),
}

impl Serve for Streams {
    fn connected(&self) {
        self.intake.register().note(|tally| tally.connections += 1);
    }

    fn handshake_failed(&self) {
        self.intake.register().note(|tally| tally.failed_handshakes += 1);
    }

    async fn serve(self: Arc<Self>, mut connection: Connection, reset: ResetSwitch) {
        if self.intake.faults().ends_early() {
            let _gone = connection.shutdown().await;
        }
        match self.read(&mut connection).await {
            Stop::Cut(Ending::Reset) => reset.on(),
            // Until the server goes down and drops us.
            Stop::Ended if self.intake.faults().keeps_open() => std::future::pending().await,
            Stop::Ended | Stop::Broken | Stop::Cut(Ending::Close) => {
                // Over TLS this says goodbye properly; a peer that is gone will not mind.
                let _gone = connection.shutdown().await;
            }
        }
    }
}

impl Streams {
    pub(crate) fn new(framing: Framing, max_message_bytes: usize, intake: Arc<Intake>) -> Self {
        Self { framing, max_message_bytes, intake }
    }

    async fn read(&self, connection: &mut Connection) -> Stop {
        let mut deframer = Deframer::new(self.framing, self.max_message_bytes);
        let mut read_speed = self.intake.faults().read_speed();
        let mut buffer = vec![0; READ_BYTES.max(2 * self.max_message_bytes)];
        let (mut filled, mut total) = (0, 0);
        loop {
            let free = buffer.get_mut(filled..).unwrap_or_default();
            let arrived = match read_slowly(connection, free, &mut read_speed).await {
                None | Some(0) => {
                    if filled > 0 {
                        self.intake.register().note(|tally| tally.cut_short += 1);
                    }
                    return Stop::Ended;
                }
                Some(arrived) => arrived,
            };
            filled += arrived;
            total += arrived;
            let pending = buffer.get(..filled).unwrap_or_default();
            match self.digest(&mut deframer, pending, arrived) {
                Ok(digested) => {
                    buffer.copy_within(digested..filled, 0);
                    filled -= digested;
                }
                Err(stop) => return stop,
            }
            if total > self.intake.faults().most() {
                return Stop::Cut(Ending::Close);
            }
        }
    }

    /// Takes every whole message out of `pending`; returns how many bytes that was.
    fn digest(
        &self,
        deframer: &mut Deframer,
        pending: &[u8],
        arrived: usize,
    ) -> Result<usize, Stop> {
        let mut batch = self.intake.empty_batch();
        let mut digested = 0;
        let mut is_poisoned = false;
        let flaw = loop {
            match deframer.next(pending.get(digested..).unwrap_or_default()) {
                Ok(Some((message, _))) if self.intake.faults().closes_at(message) => {
                    is_poisoned = true;
                    break None;
                }
                Ok(Some((message, length))) => {
                    self.intake.take(message, &mut batch);
                    digested += length;
                }
                Ok(None) => break None,
                Err(flaw) => break Some(flaw),
            }
        };
        if let Some(ending) = self.intake.enter(batch, arrived as u64) {
            return Err(Stop::Cut(ending));
        }
        if is_poisoned {
            return Err(Stop::Cut(Ending::Close));
        }
        match flaw {
            Some(flaw) => {
                self.intake.give_up(flaw);
                Err(Stop::Broken)
            }
            None => Ok(digested),
        }
    }
}

/// Reads as fast as the faults allow; `None` once the connection has failed.
async fn read_slowly(
    connection: &mut Connection,
    free: &mut [u8],
    read_speed: &mut watch::Receiver<ReadSpeed>,
) -> Option<usize> {
    loop {
        let now = *read_speed.borrow_and_update();
        let (most, pause) = match now {
            ReadSpeed::Full => (free.len(), Duration::ZERO),
            ReadSpeed::Slow { bytes, pause } => (bytes.min(free.len()), pause),
            ReadSpeed::Paused => {
                read_speed.changed().await.ok()?;
                continue;
            }
        };
        // A change of the speed must reach a connection that is waiting for bytes, before they come.
        tokio::select! {
            biased;
            changed = read_speed.changed() => changed.ok()?,
            read = read_after(pause, connection, free.get_mut(..most).unwrap_or_default()) => {
                return read;
            }
        }
    }
}

async fn read_after(
    pause: Duration,
    connection: &mut Connection,
    into: &mut [u8],
) -> Option<usize> {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    connection.read(into).await.ok()
}
