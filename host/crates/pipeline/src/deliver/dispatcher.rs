//! The task that packs bodies for one sink and keeps requests in flight.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use forwarder_connector::Verdict;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::deliver::chunk::EncodedChunk;
use crate::deliver::context::SinkContext;
use crate::deliver::part::RequestPart;
use crate::deliver::request::Request;
use crate::deliver::search::{self, Probe, Undecided};
use crate::deliver::shard_queues::{QueueId, ShardQueues, Urgency};
use crate::deliver::suspects::Suspects;
use crate::deliver::unconfirmed::{Decided, UNCONFIRMED_BODIES, Unconfirmed};

/// Chunks that the dispatcher takes over at most. Their bytes are bounded by the budget; this bounds the rest
/// when shards with tiny blocks wait for a sink that is down.
const WAITING_CHUNKS: usize = 4_096;

/// Bodies between their requests and those that wait for confirmation.
const ACCEPTED_BODIES: usize = 16;

/// Packs bodies and keeps requests in flight.
pub(super) struct Dispatcher {
    context: Arc<SinkContext>,
    queue: mpsc::Receiver<EncodedChunk>,
    closing: watch::Receiver<bool>,
    demand: watch::Receiver<usize>,
    queues: ShardQueues,
    /// Parts whose refusal is not decided.
    suspects: Suspects,
    in_flight: JoinSet<Undecided>,
    busy: HashMap<Id, InFlight>,
    accept: mpsc::Sender<Unconfirmed>,
    accepted: mpsc::Receiver<Unconfirmed>,
    unconfirmed: JoinSet<Option<Decided>>,
    /// Accepted and not confirmed, with the verdict instead. They go before rows that were never sent.
    again: VecDeque<(Request, Verdict)>,
}

/// What a task has in hand besides its rows.
struct InFlight {
    /// The queues that it keeps busy.
    queues: Vec<QueueId>,
    /// It has the parts that were in doubt.
    has_suspects: bool,
}

impl Dispatcher {
    pub(super) fn new(
        context: Arc<SinkContext>,
        queue: mpsc::Receiver<EncodedChunk>,
        closing: watch::Receiver<bool>,
        demand: watch::Receiver<usize>,
    ) -> Self {
        let queues = ShardQueues::new(context.settings.ordered);
        let suspects = Suspects::new(Arc::clone(&context));
        let (accept, accepted) = mpsc::channel(ACCEPTED_BODIES);
        Self {
            context,
            queue,
            closing,
            demand,
            queues,
            suspects,
            in_flight: JoinSet::new(),
            busy: HashMap::new(),
            accept,
            accepted,
            unconfirmed: JoinSet::new(),
            again: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut moved = self.context.gates.changes();
        let mut open = true;
        loop {
            self.take_in();
            self.send_out(open);
            if !open && self.is_empty() {
                break;
            }
            if !self.unconfirmed.is_empty() && (self.is_confirmation_wanted() || !open) {
                self.context.sink.confirm();
            }
            let due = self.next_due();
            tokio::select! {
                chunk = self.queue.recv(), if self.has_room() && !self.queue.is_closed() => {
                    if let Some(chunk) = chunk {
                        self.queues.push(chunk, Instant::now());
                    }
                }
                Some(done) = self.in_flight.join_next_with_id() => self.finish(done),
                Some(body) = self.accepted.recv(), if self.unconfirmed.len() < UNCONFIRMED_BODIES => {
                    let context = Arc::clone(&self.context);
                    self.unconfirmed.spawn(async move { body.decided(&context).await });
                }
                Some(decided) = self.unconfirmed.join_next() => self.decided(decided),
                Ok(()) = self.demand.changed() => {}
                Ok(()) = moved.changed() => {
                    self.queues.drop_closed();
                    self.suspects.drop_closed();
                }
                () = at(due), if due.is_some() => {}
                () = closed(&mut self.closing), if open => {
                    open = false;
                    self.queue.close();
                }
            }
        }
        self.context.sink.close().await;
    }

    fn is_empty(&self) -> bool {
        let (sending, waiting) = (&self.in_flight, &self.unconfirmed);
        // A request that has ended has handed over what was accepted before.
        sending.is_empty()
            && waiting.is_empty()
            && self.accepted.is_empty()
            && self.again.is_empty()
            && self.queues.len() == 0
    }

    fn is_confirmation_wanted(&self) -> bool {
        *self.demand.borrow() > 0 || self.unconfirmed.len() >= UNCONFIRMED_BODIES
    }

    /// A confirmation has come, or will not.
    fn decided(&mut self, decided: Result<Option<Decided>, JoinError>) {
        match decided {
            Ok(Some(Decided { request, verdict: Verdict::Delivered, number })) => {
                self.context.accepted(number);
                self.context.delivered(request);
            }
            Ok(Some(Decided { request, verdict, number: _ })) => {
                self.again.push_back((request, verdict));
            }
            Ok(None) => {}
            Err(error) => self.died(&error),
        }
    }

    fn has_room(&self) -> bool {
        self.queues.len() < WAITING_CHUNKS
    }

    fn take_in(&mut self) {
        while self.has_room() {
            let Ok(chunk) = self.queue.try_recv() else { return };
            self.queues.push(chunk, Instant::now());
        }
    }

    fn send_out(&mut self, open: bool) {
        while self.may_send() {
            if let Some((parts, probe)) = self.suspects.take(Instant::now()) {
                self.spawn(parts, probe, InFlight { queues: Vec::new(), has_suspects: true });
                continue;
            }
            if self.suspects.pauses_sink() {
                return;
            }
            let urgency = if self.in_flight.is_empty() || !open {
                Urgency::Now
            } else {
                Urgency::Within(self.context.settings.linger)
            };
            if let Some((request, verdict)) = self.again.pop_front() {
                let task = InFlight { queues: Vec::new(), has_suspects: false };
                self.spawn(vec![RequestPart::unconfirmed(request, verdict)], Probe::No, task);
                continue;
            }
            let limits = self.context.sink.limits();
            let Some(body) = self.queues.take(limits, Instant::now(), urgency) else { return };
            let mut parts = self.suspects.take_before_later_rows();
            let has_suspects = !parts.is_empty();
            parts.push(RequestPart::new(Request::new(body.chunks)));
            let probe = if has_suspects { Probe::First } else { Probe::No };
            self.spawn(parts, probe, InFlight { queues: body.queues, has_suspects });
        }
    }

    fn may_send(&self) -> bool {
        self.in_flight.len() < self.context.settings.concurrency.max(1)
    }

    fn spawn(&mut self, parts: Vec<RequestPart>, probe: Probe, in_hand: InFlight) {
        let (context, accept) = (Arc::clone(&self.context), self.accept.clone());
        let task = self.in_flight.spawn(search::run(context, accept, parts, probe));
        self.busy.insert(task.id(), in_hand);
    }

    /// When something must go though nothing else happens; `None` if that is not for the clock to say.
    fn next_due(&self) -> Option<Instant> {
        if !self.may_send() {
            return None;
        }
        let paused = self.suspects.pauses_sink();
        let body = if paused { None } else { self.queues.due(self.context.settings.linger) };
        body.into_iter().chain(self.suspects.due()).min()
    }

    fn finish(&mut self, done: Result<(Id, Undecided), JoinError>) {
        let (id, undecided) = match done {
            Ok((id, undecided)) => (id, Some(undecided)),
            Err(error) => {
                self.died(&error);
                (error.id(), None)
            }
        };
        let Some(InFlight { queues, has_suspects }) = self.busy.remove(&id) else { return };
        match undecided {
            Some(undecided) => self.suspects.put(undecided, has_suspects),
            None if has_suspects => self.suspects.forget(),
            None => {}
        }
        for queue in queues {
            self.queues.release(queue);
        }
    }
}

impl Dispatcher {
    /// Its shares are dropped with it, so the shards know that they must start again.
    fn died(&self, error: &JoinError) {
        error!(
            sink = %self.context.name,
            %error,
            "a delivery died (a bug in the forwarder); no data lost, its rows are sent again"
        );
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Resolves once it is time to close, or the sender is gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}
