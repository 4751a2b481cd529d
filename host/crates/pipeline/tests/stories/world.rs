//! The world around a pipeline, in memory.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forwarder_connector::{
    Answer, Body, BodyLimits, BoxError, Cause, DeadLetter, DeadLetters, EncodeReport, LeaseState,
    Sink, Verdict,
};
use forwarder_pipeline::{
    Block, Budget, CheckpointStore, Compute, Damage, DeliverySettings, Demand, Drained, Halt,
    Permit, Pipeline, PipelineParts, Position, Pulled, RejectLimit, Rejected, RetryPolicy,
    RouteTable, Rule, Runner, SafePoint, SaveError, ShardEnd, ShardId, ShardRun, ShardSettings,
    Source, SourceLost, Transform, TransformFactory, TransformReport,
};
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, BlockReader, Encoded, Limits, Origin, RowIx, RowState};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Waits until something is true, on whichever clock the test runs. Minutes on a paused one are soon over.
pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(200), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Rows `first..=last` by their numbers.
pub(crate) fn rows(numbers: RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

/// What a pipeline is tested with.
pub(crate) struct Plot {
    sinks: Vec<(Arc<MemorySink>, DeliverySettings)>,
    /// A label, and names of sinks; the last one is for all other rows.
    routes: Vec<(Option<String>, Vec<String>)>,
    shards: ShardSettings,
    budget: Budget,
    demand: Demand,
    threads: usize,
}

impl Plot {
    pub(crate) fn new() -> Self {
        let demand = Demand::default();
        Self {
            sinks: Vec::new(),
            routes: Vec::new(),
            shards: ShardSettings::default(),
            budget: Budget::with_demand(64 << 20, demand.clone()),
            demand,
            threads: 0,
        }
    }

    pub(crate) fn sink(self, name: &'static str) -> Self {
        self.sink_with(name, |_| {})
    }

    pub(crate) fn sink_with(
        mut self,
        name: &'static str,
        change: impl FnOnce(&mut DeliverySettings),
    ) -> Self {
        let mut settings = DeliverySettings::default();
        change(&mut settings);
        self.sinks.push((Arc::new(MemorySink::new(name)), settings));
        self
    }

    pub(crate) fn shards(mut self, change: impl FnOnce(&mut ShardSettings)) -> Self {
        change(&mut self.shards);
        self
    }

    pub(crate) fn budget(mut self, bytes: u64) -> Self {
        self.budget = Budget::with_demand(bytes, self.demand.clone());
        self
    }

    pub(crate) fn route(mut self, label: Option<&str>, to: &[&str]) -> Self {
        let to = to.iter().map(|&name| name.to_owned()).collect();
        self.routes.push((label.map(str::to_owned), to));
        self
    }

    /// Real compute threads; for tests on a real clock.
    pub(crate) fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    fn table(&self) -> RouteTable {
        let numbers = |to: &[String]| {
            let number = |name| self.sinks.iter().position(|(sink, _)| sink.name() == name);
            to.iter().map(|name| number(name).unwrap()).collect()
        };
        let Some(((_, last), rules)) = self.routes.split_last() else {
            return RouteTable { rules: Vec::new(), otherwise: (0..self.sinks.len()).collect() };
        };
        let rules = rules.iter().map(|(label, to)| Rule {
            label: label.clone(),
            when: None,
            to: numbers(to),
        });
        RouteTable { rules: rules.collect(), otherwise: numbers(last) }
    }

    pub(crate) fn start(self) -> World {
        let routes = self.table();
        let dead_letters = Arc::new(MemoryDeadLetters::default());
        let factory: TransformFactory = Arc::new(|| Box::new(Chain));
        let compute = match self.threads {
            0 => Compute::inline(factory),
            threads => Compute::threads(threads, factory).unwrap(),
        };
        let sinks: Vec<_> = self.sinks.iter().map(|(sink, _)| Arc::clone(sink)).collect();
        let pipeline = Pipeline::start(PipelineParts {
            sinks: self
                .sinks
                .into_iter()
                .map(|(sink, settings)| (sink as Arc<dyn Sink>, settings))
                .collect(),
            routes,
            compute,
            dead_letters: Arc::clone(&dead_letters) as Arc<dyn DeadLetters>,
            dead_letter_retry: RetryPolicy::default(),
            plugin_refusals: RejectLimit::default(),
            shards: self.shards,
            demand: self.demand,
        });
        World { pipeline, sinks, dead_letters, budget: self.budget }
    }
}

pub(crate) struct World {
    pipeline: Pipeline,
    sinks: Vec<Arc<MemorySink>>,
    pub(crate) dead_letters: Arc<MemoryDeadLetters>,
    pub(crate) budget: Budget,
}

impl World {
    pub(crate) fn sink(&self, name: &str) -> &Arc<MemorySink> {
        self.sinks.iter().find(|sink| sink.name == name).unwrap()
    }

    /// Runs over a shard.
    pub(crate) fn shard(&self, number: u32) -> ShardHandle {
        self.shard_after(number, None)
    }

    /// The same, after a run that could not read a block.
    pub(crate) fn shard_after(&self, number: u32, damage: Option<Damage>) -> ShardHandle {
        let (feed, fed) = mpsc::channel(4_096);
        let (lease, state) = watch::channel(LeaseState::Held);
        let store = Arc::new(MemoryStore::default());
        let pulls = Arc::new(AtomicUsize::new(0));
        let source = MemorySource {
            shard: number,
            fed,
            waiting: None,
            budget: self.budget.clone(),
            position: 0,
            pulls: Arc::clone(&pulls),
        };
        let run = ShardRun {
            shard: ShardId::new("audit", number),
            source: Box::new(source),
            store: Arc::clone(&store) as Arc<dyn CheckpointStore>,
            stored: None,
            damage,
            lease: state,
        };
        let runner = self.pipeline.runner();
        #[expect(clippy::disallowed_methods, reason = "joined by `ShardHandle::end`")]
        let running = tokio::spawn(async move { runner.run_shard(run).await });
        ShardHandle { feed, lease, store, pulls, running }
    }

    pub(crate) fn runner(&self) -> Runner {
        self.pipeline.runner()
    }

    pub(crate) async fn drain(self, grace: Duration) -> Drained {
        self.pipeline.drain(grace).await
    }

    /// The end of every story: nothing is in flight, so nothing is charged.
    pub(crate) async fn is_at_rest(&self) {
        until("the budget returns to its start", || self.budget.used() == 0).await;
    }
}

pub(crate) struct ShardHandle {
    feed: mpsc::Sender<Fed>,
    lease: watch::Sender<LeaseState>,
    pub(crate) store: Arc<MemoryStore>,
    pulls: Arc<AtomicUsize>,
    running: JoinHandle<ShardEnd>,
}

impl ShardHandle {
    /// One block of rows. Each block moves the position by one, from "0" at the start.
    pub(crate) fn put(&self, rows: impl IntoIterator<Item = impl Into<String>>) -> &Self {
        self.feed(Fed::Rows(rows.into_iter().map(Into::into).collect()))
    }

    /// The same, if the run is still there to pull it.
    pub(crate) fn try_put(&self, rows: impl IntoIterator<Item = impl Into<String>>) {
        let _ = self.feed.try_send(Fed::Rows(rows.into_iter().map(Into::into).collect()));
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    pub(crate) fn put_nothing(&self) -> &Self {
        self.feed(Fed::Nothing)
    }

    /// A pull that found nothing new and leaves the position where it is.
    pub(crate) fn put_idle(&self) -> &Self {
        self.feed(Fed::Idle)
    }

    pub(crate) fn put_garbage(&self) -> &Self {
        self.feed(Fed::Garbage)
    }

    pub(crate) fn put_end(&self) -> &Self {
        self.feed(Fed::End)
    }

    pub(crate) fn break_off(&self) -> &Self {
        self.feed(Fed::Broken)
    }

    pub(crate) fn lease(&self, state: LeaseState) {
        self.lease.send_replace(state);
    }

    /// Blocks pulled so far.
    pub(crate) fn pulled(&self) -> usize {
        self.pulls.load(Ordering::SeqCst)
    }

    pub(crate) async fn until_saved(&self, position: &str) {
        until(position, || self.store.last().as_deref() == Some(position)).await;
    }

    /// Lets the lease go without a word, as a task that holds it does when it dies.
    pub(crate) async fn abandon_lease(self) -> ShardEnd {
        drop(self.lease);
        self.running.await.unwrap()
    }

    pub(crate) async fn end(self) -> ShardEnd {
        timeout(Duration::from_secs(7_200), self.running).await.expect("the run ends").unwrap()
    }

    fn feed(&self, what: Fed) -> &Self {
        self.feed.try_send(what).expect("the run is alive");
        self
    }
}

#[derive(Debug)]
enum Fed {
    Rows(Vec<String>),
    Nothing,
    Idle,
    Garbage,
    End,
    Broken,
}

struct MemorySource {
    shard: u32,
    fed: mpsc::Receiver<Fed>,
    waiting: Option<Fed>,
    budget: Budget,
    position: u32,
    pulls: Arc<AtomicUsize>,
}

impl Source for MemorySource {
    fn pull(&mut self) -> BoxFuture<'_, Result<Pulled, SourceLost>> {
        Box::pin(async {
            if self.waiting.is_none() {
                self.waiting = self.fed.recv().await;
            }
            let block = match &self.waiting {
                Some(Fed::Rows(rows)) => block(rows),
                Some(Fed::Garbage) => Bytes::from_static(b"\xff\xff\xff"),
                _ => Bytes::new(),
            };
            let permit = self.budget.admit(block.len() as u64).await;
            // From here on nothing waits, so an abandoned pull has moved nothing.
            let Some(fed) = self.waiting.take() else { return Ok(Pulled::End) };
            if !matches!(fed, Fed::Idle) {
                self.position += 1;
            }
            self.pulls.fetch_add(1, Ordering::SeqCst);
            let next = Position::new(self.position.to_string());
            let readable = match fed {
                Fed::Rows(_) => true,
                Fed::Garbage => false,
                Fed::Nothing | Fed::Idle => return Ok(Pulled::Empty { next }),
                Fed::End => return Ok(Pulled::End),
                Fed::Broken => return Err(SourceLost("the server is on fire".into())),
            };
            Ok(Pulled::Block(pulled(block, readable, self.shard, self.position, permit)))
        })
    }
}

/// What a source makes of a block that ends at `position`.
pub(crate) fn pulled(
    block: Bytes,
    readable: bool,
    shard: u32,
    position: u32,
    permit: Permit,
) -> Block {
    let raw_bytes = block.len() as u64;
    let origin = Origin {
        source: "audit".into(),
        project: "p".into(),
        logstore: "l".into(),
        shard,
        first_cursor: Some(u64::from(position) * 1_000),
    };
    assert_eq!(Batch::decode(block.clone(), origin.clone(), &Limits::default()).is_ok(), readable);
    let load = Box::new(BlockReader::new(block, origin, Limits::default()));
    Block { load, next: Position::new(position.to_string()), raw_bytes, permit }
}

pub(crate) fn block(rows: &[String]) -> Bytes {
    let log = |row: &String| Log {
        time: 1_700_000_000,
        nanos: None,
        contents: vec![("n".to_owned(), row.clone())],
    };
    let group = LogGroup {
        topic: "actiontrail".to_owned(),
        logs: rows.iter().map(log).collect(),
        ..LogGroup::default()
    };
    Bytes::from(log_group_list([group.encode().as_slice()]))
}

/// Does to each row what the row says.
struct Chain;

impl Transform for Chain {
    fn apply(
        &mut self,
        batch: &mut Batch,
        _: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<TransformReport>, Halt> {
        let plugin: Arc<str> = "audit".into();
        let wishes: Vec<(RowIx, String)> =
            batch.rows().map(|row| (row.ix(), text(batch, row.ix()).to_owned())).collect();
        let mut outcome = TransformReport {
            seen: vec![(Arc::clone(&plugin), wishes.len())],
            ..TransformReport::default()
        };
        for (row, wish) in wishes {
            match wish.split('-').next() {
                Some("drop") => {
                    batch.set_state(row, RowState::Dropped);
                    outcome.dropped += 1;
                }
                Some("forget") => batch.set_state(row, RowState::Dropped),
                Some("bad") => {
                    batch.set_state(row, RowState::Rejected);
                    let (plugin, reason) = (Arc::clone(&plugin), "no good".to_owned());
                    outcome.rejected.push(Rejected { row, plugin, reason });
                }
                Some("halt") => {
                    let reason = "as the row says".to_owned();
                    return Err(Halt { plugin, reason, retry_in: None });
                }
                Some("panic") => panic!("as the row says"),
                _ => {}
            }
        }
        Ok(Some(outcome))
    }
}

fn text(batch: &Batch, row: RowIx) -> &str {
    batch.row(row).get("n").map_or("", |cell| cell.value)
}

type Answering = Box<dyn FnMut(&[String]) -> Answer + Send>;

/// A sink that remembers.
pub(crate) struct MemorySink {
    name: &'static str,
    pub(crate) max_rows: AtomicUsize,
    answer: Mutex<Answering>,
    takes: Mutex<Duration>,
    attempts: Mutex<Vec<(Instant, Vec<String>)>>,
    delivered: Mutex<Vec<Vec<String>>>,
    /// How often it was asked for confirmations.
    pub(crate) asked: AtomicUsize,
    pub(crate) closed: AtomicBool,
}

impl MemorySink {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            max_rows: AtomicUsize::new(usize::MAX),
            answer: Mutex::new(Box::new(|_| Verdict::Delivered.into())),
            takes: Mutex::default(),
            attempts: Mutex::default(),
            delivered: Mutex::default(),
            asked: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// How it answers requests from now on.
    pub(crate) fn answers<A: Into<Answer>>(
        &self,
        mut answer: impl FnMut(&[String]) -> A + Send + 'static,
    ) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) =
            Box::new(move |rows| answer(rows).into());
    }

    /// Answers these, one after the other, and `Delivered` from then on.
    pub(crate) fn answers_first(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        let mut verdicts: VecDeque<_> = verdicts.into_iter().collect();
        self.answers(move |_| verdicts.pop_front().unwrap_or(Verdict::Delivered));
    }

    pub(crate) fn is_down(&self) {
        self.answers(|_| retry(None));
    }

    pub(crate) fn is_well(&self) {
        self.answers(|_| Verdict::Delivered);
    }

    pub(crate) fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    /// Requests that it was sent, whatever came of them.
    pub(crate) fn attempts(&self) -> Vec<(Instant, Vec<String>)> {
        self.attempts.lock().unwrap().clone()
    }

    /// Requests that it took.
    pub(crate) fn requests(&self) -> Vec<Vec<String>> {
        self.delivered.lock().unwrap().clone()
    }

    /// Rows that it took, in the order of their arrival.
    pub(crate) fn received(&self) -> Vec<String> {
        self.requests().concat()
    }

    /// Rows that it took, sorted by number.
    pub(crate) fn received_sorted(&self) -> Vec<String> {
        let mut rows = self.received();
        rows.sort_by_key(|row| (row.len(), row.clone()));
        rows
    }
}

impl Sink for MemorySink {
    fn name(&self) -> &str {
        self.name
    }

    fn encode(&self, batch: &Batch, rows: &[RowIx], out: &mut Encoded) -> EncodeReport {
        let mut report = EncodeReport::default();
        for &row in rows {
            let text = text(batch, row);
            if text.starts_with("huge") {
                report.rejected.push((row, Cause::new("oversize", "larger than max_event_bytes")));
            } else if text.is_empty() {
                report.blank += 1;
            } else {
                out.bytes.extend_from_slice(text.as_bytes());
                out.bytes.push(b'\n');
                out.end_row(row);
            }
        }
        report
    }

    fn packs(&self) -> bool {
        true
    }

    fn pack(&self, segments: Vec<Bytes>, rows: usize) -> Body {
        Body::plain(vec![segments.concat().into()], rows)
    }

    fn limits(&self) -> BodyLimits {
        BodyLimits { max_bytes: 1_000_000, max_rows: self.max_rows.load(Ordering::SeqCst) }
    }

    fn delivered_means(&self) -> &'static str {
        "it is in memory"
    }

    fn probe(&self) -> BoxFuture<'_, Result<Vec<String>, Cause>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn deliver<'a>(&'a self, body: &'a Body) -> BoxFuture<'a, Answer> {
        Box::pin(async {
            let text = String::from_utf8(body.segments().concat()).unwrap();
            let rows: Vec<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(body.rows(), rows.len());
            self.attempts.lock().unwrap().push((Instant::now(), rows.clone()));
            let takes = *self.takes.lock().unwrap();
            sleep(takes).await;
            let answer = (self.answer.lock().unwrap_or_else(PoisonError::into_inner))(&rows);
            if matches!(answer, Answer::Decided(Verdict::Delivered)) {
                self.delivered.lock().unwrap().push(rows);
            }
            answer
        })
    }

    fn confirm(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.closed.store(true, Ordering::SeqCst) })
    }
}

pub(crate) fn retry(after: Option<Duration>) -> Verdict {
    Verdict::Retry { after, cause: Cause::new("busy", "server is busy") }
}

pub(crate) fn hold() -> Verdict {
    Verdict::Hold { cause: Cause::new("token_disabled", "token disabled") }
}

pub(crate) fn reject(rows: impl Into<Vec<usize>>) -> Verdict {
    Verdict::Reject { rows: rows.into(), cause: Cause::new("blank", "event field is blank") }
}

pub(crate) fn divide() -> Verdict {
    Verdict::Divide { cause: Cause::new("too_large", "request entity too large") }
}

/// A checkpoint store that remembers every save.
#[derive(Default)]
pub(crate) struct MemoryStore {
    saved: Mutex<Vec<(Instant, String)>>,
    pub(crate) is_unavailable: AtomicBool,
    pub(crate) belongs_to_another: AtomicBool,
}

impl MemoryStore {
    pub(crate) fn saves(&self) -> Vec<(Instant, String)> {
        self.saved.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Option<String> {
        self.saved.lock().unwrap().last().map(|(_, position)| position.clone())
    }
}

impl CheckpointStore for MemoryStore {
    fn save<'a>(&'a self, point: &'a SafePoint) -> BoxFuture<'a, Result<(), SaveError>> {
        Box::pin(async {
            if self.belongs_to_another.load(Ordering::SeqCst) {
                return Err(SaveError::LeaseLost("ConsumerNotMatch".into()));
            }
            if self.is_unavailable.load(Ordering::SeqCst) {
                return Err(SaveError::Unavailable("connection refused".into()));
            }
            let save = (Instant::now(), point.next().to_string());
            self.saved.lock().unwrap().push(save);
            Ok(())
        })
    }
}

/// Dead letters that remember, and can be full.
#[derive(Default)]
pub(crate) struct MemoryDeadLetters {
    letters: Mutex<Vec<DeadLetter>>,
    pub(crate) is_full: AtomicBool,
}

impl MemoryDeadLetters {
    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap().clone()
    }

    /// The rows they are about, by their original number.
    pub(crate) fn rows(&self) -> Vec<String> {
        let number = |letter: DeadLetter| {
            letter.fields.into_iter().find(|(key, ..)| key == "n").map(|(_, value, _)| value)
        };
        self.letters().into_iter().filter_map(number).collect()
    }
}

impl DeadLetters for MemoryDeadLetters {
    fn write<'a>(&'a self, letters: &'a [DeadLetter]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async {
            if self.is_full.load(Ordering::SeqCst) {
                return Err("file is at its cap of 1 GiB".into());
            }
            self.letters.lock().unwrap().extend_from_slice(letters);
            Ok(())
        })
    }
}
