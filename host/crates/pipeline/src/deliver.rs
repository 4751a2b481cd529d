//! Per sink: a queue, a dispatcher that packs bodies, and a bounded number of requests in flight.
//!
//! Delivery state is per sink and per row: what one sink has delivered is never sent to it again because
//! another sink refused it. The dispatcher is one task; each request is a task of its own, which it joins.

mod attempt;
mod chunk;
mod lanes;
mod part;
mod rate;
mod request;
mod search;
mod suspects;
mod unconfirmed;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use forwarder_connector::{Sink, Verdict};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::error;

pub use self::attempt::Delivered;
pub(crate) use self::chunk::{EncodedBatch, EncodedChunk};
use self::lanes::{LaneId, Lanes, Urgency};
use self::part::RequestPart;
use self::rate::RefusalRate;
use self::request::Request;
use self::search::{Probe, REFUSED_IN_A_ROW, Undecided};
use self::suspects::Suspects;
use self::unconfirmed::{Decided, UNCONFIRMED_BODIES, Unconfirmed};
use crate::alarm::Alarm;
use crate::compute::{Client, Compute, Lane};
use crate::dead_letter::DeadLetterWriter;
use crate::demand::Demand;
use crate::lease_gate::LeaseGates;
use crate::metrics::{self as meters, SinkMeters};
use crate::refusals::{RejectLimit, RejectWatch};
use crate::retry::RetryPolicy;

/// How one sink is served.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Requests in flight at most. Bodies that were accepted and wait for their confirmation do not count.
    pub concurrency: usize,
    /// Whether the far side sees the rows of a shard in order: one request in flight per shard, retries
    /// included.
    pub ordered: bool,
    /// How long a row waits for a body to fill while other requests are in flight.
    pub linger: Duration,
    /// The waits between attempts.
    pub retry: RetryPolicy,
    /// How many refusals by this sink are believed.
    pub refusals: RejectLimit,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            ordered: false,
            linger: Duration::from_millis(20),
            retry: RetryPolicy::default(),
            refusals: RejectLimit::default(),
        }
    }
}

/// Chunks between the shards and the dispatcher. The queue smooths, it does not store.
const QUEUED_CHUNKS: usize = 64;

/// Chunks that the dispatcher takes over at most. Their bytes are bounded by the budget; this bounds the rest
/// when shards with tiny blocks wait for a sink that is down.
const WAITING_CHUNKS: usize = 4_096;

/// What the requests to one sink have in common.
pub(crate) struct SinkContext {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) name: Arc<str>,
    pub(crate) settings: DeliverySettings,
    pub(crate) compute: Lane,
    pub(crate) dead_letters: Arc<DeadLetterWriter>,
    /// Rows that the receiver refused, of those that were sent.
    pub(crate) refusals: RejectWatch,
    /// Rows that could not be written in its protocol, of those that were routed to it. Counted apart, since
    /// they are known long before anything is sent.
    pub(crate) unfit: RejectWatch,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) meters: SinkMeters,
    pub(crate) gates: LeaseGates,
    /// Parts sent so far.
    pub(crate) begun: AtomicU64,
    /// The latest of them of which the rows were delivered, by its number.
    pub(crate) accepted: AtomicU64,
    /// How many the sink has taken, delivered or still to be confirmed.
    pub(crate) taken: AtomicU64,
    /// Different rows that were refused alone since something was accepted.
    pub(crate) refused_in_a_row: AtomicU32,
    /// How often it refuses what it accepts later.
    pub(crate) rate: Arc<RefusalRate>,
}

impl SinkContext {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        settings: DeliverySettings,
        compute: &Compute,
        dead_letters: Arc<DeadLetterWriter>,
        gates: LeaseGates,
    ) -> Arc<Self> {
        let name: Arc<str> = Arc::from(sink.name());
        let compute = compute.lane(Client::Sink(Arc::clone(&name)));
        let meters = SinkMeters::new(&name);
        let alarm = Alarm::new(meters.holding.clone());
        let (refusals, unfit) =
            (RejectWatch::new(settings.refusals), RejectWatch::new(settings.refusals));
        Arc::new(Self {
            sink,
            name,
            settings,
            compute,
            dead_letters,
            refusals,
            unfit,
            alarm,
            meters,
            gates,
            begun: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            refused_in_a_row: AtomicU32::new(0),
            rate: Arc::default(),
        })
    }

    pub(crate) fn last_accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// The rows of this request were delivered: refusals of others can be compared with that.
    fn accepted(&self, number: u64) {
        self.rate.accepted();
        self.accepted.fetch_max(number, Ordering::AcqRel);
        self.refused_in_a_row.store(0, Ordering::Release);
    }

    /// Whether so much was refused since something was accepted that it cannot be the rows.
    pub(crate) fn is_refused_everything(&self) -> bool {
        self.refused_in_a_row.load(Ordering::Acquire) >= REFUSED_IN_A_ROW
    }
}

/// The way to one sink.
#[derive(Clone)]
pub(crate) struct SinkQueue {
    context: Arc<SinkContext>,
    chunks: mpsc::Sender<EncodedChunk>,
}

impl SinkQueue {
    /// The queue, and the dispatcher that empties it. It runs until `closing` says so, then sends what it
    /// has left and closes the sink.
    pub(crate) fn new(
        context: Arc<SinkContext>,
        closing: watch::Receiver<bool>,
        demand: &Demand,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (chunks, queue) = mpsc::channel(QUEUED_CHUNKS);
        let dispatcher = Dispatcher::new(Arc::clone(&context), queue, closing, demand.listen());
        (Self { context, chunks }, dispatcher.run())
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.context.name
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.context.sink
    }

    /// Counts the rows that do not fit the sink's protocol.
    pub(crate) fn unfit(&self) -> &RejectWatch {
        &self.context.unfit
    }

    pub(crate) fn meters(&self) -> &SinkMeters {
        &self.context.meters
    }

    /// Waits for a place in the queue. A chunk that cannot be queued, because the dispatcher is gone, is
    /// dropped: its shard hears of that through the ledger.
    pub(crate) async fn put(&self, chunk: EncodedChunk) {
        if let Err(mpsc::error::TrySendError::Full(chunk)) = self.chunks.try_send(chunk) {
            let _waiting = meters::Waiting::since(Instant::now(), meters::STAGE_SINK);
            let _ = self.chunks.send(chunk).await;
        }
    }
}

/// Bodies between their requests and those that wait for confirmation.
const ACCEPTED_BODIES: usize = 16;

/// Packs bodies and keeps requests in flight.
struct Dispatcher {
    context: Arc<SinkContext>,
    queue: mpsc::Receiver<EncodedChunk>,
    closing: watch::Receiver<bool>,
    demand: watch::Receiver<usize>,
    lanes: Lanes,
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
    /// The lanes that it keeps busy.
    lanes: Vec<LaneId>,
    /// It has the parts that were in doubt.
    has_suspects: bool,
}

impl Dispatcher {
    fn new(
        context: Arc<SinkContext>,
        queue: mpsc::Receiver<EncodedChunk>,
        closing: watch::Receiver<bool>,
        demand: watch::Receiver<usize>,
    ) -> Self {
        let lanes = Lanes::new(context.settings.ordered);
        let suspects = Suspects::new(Arc::clone(&context));
        let (accept, accepted) = mpsc::channel(ACCEPTED_BODIES);
        Self {
            context,
            queue,
            closing,
            demand,
            lanes,
            suspects,
            in_flight: JoinSet::new(),
            busy: HashMap::new(),
            accept,
            accepted,
            unconfirmed: JoinSet::new(),
            again: VecDeque::new(),
        }
    }

    async fn run(mut self) {
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
                        self.lanes.push(chunk, Instant::now());
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
                    self.lanes.drop_closed();
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
            && self.lanes.len() == 0
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
        self.lanes.len() < WAITING_CHUNKS
    }

    fn take_in(&mut self) {
        while self.has_room() {
            let Ok(chunk) = self.queue.try_recv() else { return };
            self.lanes.push(chunk, Instant::now());
        }
    }

    fn send_out(&mut self, open: bool) {
        while self.may_send() {
            if let Some((parts, probe)) = self.suspects.take(Instant::now()) {
                self.spawn(parts, probe, InFlight { lanes: Vec::new(), has_suspects: true });
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
                let task = InFlight { lanes: Vec::new(), has_suspects: false };
                self.spawn(vec![RequestPart::unconfirmed(request, verdict)], Probe::No, task);
                continue;
            }
            let limits = self.context.sink.limits();
            let Some(body) = self.lanes.take(limits, Instant::now(), urgency) else { return };
            let mut parts = self.suspects.take_before_later_rows();
            let has_suspects = !parts.is_empty();
            parts.push(RequestPart::new(Request::new(body.chunks)));
            let probe = if has_suspects { Probe::First } else { Probe::No };
            self.spawn(parts, probe, InFlight { lanes: body.lanes, has_suspects });
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
        let body = if paused { None } else { self.lanes.due(self.context.settings.linger) };
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
        let Some(InFlight { lanes, has_suspects }) = self.busy.remove(&id) else { return };
        match undecided {
            Some(undecided) => self.suspects.put(undecided, has_suspects),
            None if has_suspects => self.suspects.forget(),
            None => {}
        }
        for lane in lanes {
            self.lanes.release(lane);
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
