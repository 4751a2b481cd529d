//! What the requests to one sink have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use forwarder_connector::Sink;

use crate::alarm::Alarm;
use crate::compute::{Client, Compute, Lane};
use crate::dead_letter::DeadLetterWriter;
use crate::deliver::rate::RefusalRate;
use crate::lease_gate::LeaseGates;
use crate::metrics::SinkMeters;
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

/// So many different rows refused alone, with nothing accepted meanwhile, are a state of the receiver.
pub(super) const REFUSED_IN_A_ROW: u32 = 8;

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
    pub(super) fn accepted(&self, number: u64) {
        self.rate.accepted();
        self.accepted.fetch_max(number, Ordering::AcqRel);
        self.refused_in_a_row.store(0, Ordering::Release);
    }

    /// Whether so much was refused since something was accepted that it cannot be the rows.
    pub(crate) fn is_refused_everything(&self) -> bool {
        self.refused_in_a_row.load(Ordering::Acquire) >= REFUSED_IN_A_ROW
    }
}
