//! Whatever happens, in whatever order: no checkpoint runs ahead, and in the end every row has arrived at
//! every sink or is a dead letter.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forwarder_connector::{LeaseState, Verdict};
use forwarder_pipeline::{
    Budget, CheckpointStore, DeliverySettings, Position, Pulled, SafePoint, SaveError, ShardEnd,
    ShardId, ShardRun, Source, SourceLost,
};
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::world::{MemoryDeadLetters, MemorySink, Plot, World, block, divide, hold, pulled};
use crate::world::{reject, retry};

const SINKS: [&str; 2] = ["splunk", "qradar"];

/// What can go wrong, and get well again.
#[derive(Debug, Clone)]
enum Event {
    Sink(usize, Mood),
    SinkTakes(usize, Duration),
    DeadLettersFull(bool),
    Lease(LeaseState),
    Kill,
}

#[derive(Debug, Clone, Copy)]
enum Mood {
    Well,
    Busy,
    Holds,
    RefusesFirst,
    RefusesLarge,
    Moody,
    Panics,
}

fn event() -> impl Strategy<Value = Event> {
    let mood = prop_oneof![
        Just(Mood::Well),
        Just(Mood::Busy),
        Just(Mood::Holds),
        Just(Mood::RefusesFirst),
        Just(Mood::RefusesLarge),
        Just(Mood::Moody),
        Just(Mood::Panics),
    ];
    let lease = prop_oneof![
        Just(LeaseState::Held),
        Just(LeaseState::Suspended),
        Just(LeaseState::HandOver),
        Just(LeaseState::Lost),
    ];
    prop_oneof![
        4 => (0..2_usize, mood).prop_map(|(sink, mood)| Event::Sink(sink, mood)),
        2 => (0..2_usize, 0..2_000_u64)
            .prop_map(|(sink, ms)| Event::SinkTakes(sink, Duration::from_millis(ms))),
        1 => any::<bool>().prop_map(Event::DeadLettersFull),
        2 => lease.prop_map(Event::Lease),
        1 => Just(Event::Kill),
    ]
}

/// A shard as SLS keeps it: its blocks, and the checkpoint.
struct Shard {
    blocks: Vec<Vec<String>>,
    checkpoint: Mutex<Option<u32>>,
    /// Checkpoints that should not have been saved.
    lies: Mutex<Vec<String>>,
    sinks: Vec<Arc<MemorySink>>,
    dead_letters: Arc<MemoryDeadLetters>,
}

impl Shard {
    /// Rows of the first `blocks` blocks that are neither at a sink nor a dead letter.
    fn missing(&self, blocks: u32) -> Vec<String> {
        let letters: HashSet<_> = self.dead_letters.rows().into_iter().collect();
        let mut missing = Vec::new();
        for sink in &self.sinks {
            let received: HashSet<_> = sink.received().into_iter().collect();
            let rows = self.blocks.iter().take(blocks as usize).flatten();
            let wanted = rows.filter(|row| !row.starts_with("drop"));
            missing.extend(
                wanted.filter(|row| !received.contains(*row) && !letters.contains(*row)).cloned(),
            );
        }
        missing
    }
}

impl CheckpointStore for Shard {
    fn save<'a>(&'a self, point: &'a SafePoint) -> BoxFuture<'a, Result<(), SaveError>> {
        Box::pin(async {
            let position = point.next().as_str().parse().unwrap();
            let mut checkpoint = self.checkpoint.lock().unwrap();
            let missing = self.missing(position);
            if !missing.is_empty() || checkpoint.is_some_and(|before| before > position) {
                // Reported at the end: a panic in here would look like one more fault to recover from.
                let lie = format!("{position} after {checkpoint:?}, without {missing:?}");
                self.lies.lock().unwrap().push(lie);
            }
            *checkpoint = Some(position);
            Ok(())
        })
    }
}

/// Reads the shard from a position.
struct Reader {
    shard: Arc<Shard>,
    budget: Budget,
    position: u32,
}

impl Source for Reader {
    fn pull(&mut self) -> BoxFuture<'_, Result<Pulled, SourceLost>> {
        Box::pin(async {
            let Some(rows) = self.shard.blocks.get(self.position as usize) else {
                return Ok(Pulled::End);
            };
            let block = block(rows);
            let permit = self.budget.admit(block.len() as u64).await;
            sleep(Duration::from_millis(50)).await;
            self.position += 1;
            if rows.is_empty() {
                let next = Position::new(self.position.to_string());
                return Ok(Pulled::Empty { next });
            }
            Ok(Pulled::Block(pulled(block, true, 7, self.position, permit)))
        })
    }
}

struct Run {
    lease: watch::Sender<LeaseState>,
    task: JoinHandle<ShardEnd>,
}

fn start(world: &World, shard: &Arc<Shard>) -> Run {
    let stored = *shard.checkpoint.lock().unwrap();
    let (lease, state) = watch::channel(LeaseState::Held);
    let reader = Reader {
        shard: Arc::clone(shard),
        budget: world.budget.clone(),
        position: stored.unwrap_or_default(),
    };
    let run = ShardRun {
        shard: ShardId::new("audit", 7),
        source: Box::new(reader),
        store: Arc::clone(shard) as Arc<dyn CheckpointStore>,
        stored: stored.map(|position| Position::new(position.to_string())),
        damage: None,
        lease: state,
    };
    let runner = world.runner();
    #[expect(clippy::disallowed_methods, reason = "joined or aborted by the story")]
    let task = tokio::spawn(async move { runner.run_shard(run).await });
    Run { lease, task }
}

fn set_mood(sink: &MemorySink, mood: Mood) {
    let mut asked = 0_u32;
    sink.answers(move |rows| {
        asked += 1;
        match mood {
            Mood::Well => Verdict::Delivered,
            Mood::Busy => retry(None),
            Mood::Holds => hold(),
            Mood::RefusesFirst => reject([0]),
            Mood::RefusesLarge if rows.len() > 2 => divide(),
            Mood::RefusesLarge => Verdict::Delivered,
            Mood::Moody if asked.is_multiple_of(3) => Verdict::Delivered,
            Mood::Moody => retry(Some(Duration::from_secs(2))),
            Mood::Panics => panic!("on purpose"),
        }
    });
}

async fn simulate(blocks: Vec<Vec<String>>, script: Vec<(u64, Event)>, ordered: bool) {
    let believe_all = |settings: &mut DeliverySettings| {
        settings.ordered = ordered;
        settings.refusals.max_ratio = 1.0;
    };
    let plot = SINKS.into_iter().fold(Plot::new(), |plot, sink| plot.sink_with(sink, believe_all));
    let world = plot.budget(20_000).start();
    let shard = Arc::new(Shard {
        blocks,
        checkpoint: Mutex::default(),
        lies: Mutex::default(),
        sinks: SINKS.into_iter().map(|sink| Arc::clone(world.sink(sink))).collect(),
        dead_letters: Arc::clone(&world.dead_letters),
    });
    let mut run = start(&world, &shard);
    for (wait, event) in script {
        sleep(Duration::from_millis(wait)).await;
        match event {
            Event::Sink(sink, mood) => set_mood(&shard.sinks[sink], mood),
            Event::SinkTakes(sink, time) => shard.sinks[sink].takes(time),
            Event::DeadLettersFull(full) => {
                world.dead_letters.is_full.store(full, Ordering::SeqCst)
            }
            Event::Lease(state) => {
                run.lease.send_replace(state);
            }
            Event::Kill => run.task.abort(),
        }
        if run.task.is_finished() {
            run = start(&world, &shard);
        }
    }
    world.dead_letters.is_full.store(false, Ordering::SeqCst);
    for sink in &shard.sinks {
        set_mood(sink, Mood::Well);
        sink.takes(Duration::ZERO);
    }
    run.lease.send_replace(LeaseState::Held);
    while !matches!(run.task.await, Ok(ShardEnd::Finished)) {
        run = start(&world, &shard);
    }
    assert_eq!(*shard.lies.lock().unwrap(), [""; 0], "checkpoints that run ahead, or back");
    assert_eq!(shard.missing(shard.blocks.len() as u32), [""; 0], "lost");
    let saved = *shard.checkpoint.lock().unwrap();
    assert_eq!(saved.unwrap_or_default() as usize, shard.blocks.len());
    world.is_at_rest().await;
}

proptest! {
    #[test]
    fn no_checkpoint_runs_ahead_and_no_row_is_lost(
        sizes in proptest::collection::vec((0..12_usize, 0..4_usize), 0..40),
        script in proptest::collection::vec((0..4_000_u64, event()), 0..30),
        ordered in any::<bool>(),
    ) {
        let blocks = sizes
            .iter()
            .enumerate()
            .map(|(block, &(rows, odd))| {
                let name = |row| match (row % 5, odd) {
                    (4, 1) => format!("drop-{block}-{row}"),
                    (4, 2) => format!("huge-{block}-{row}"),
                    _ => format!("{block}-{row}"),
                };
                (0..rows).map(name).collect()
            })
            .collect();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let ends = runtime.unwrap().block_on(async {
            timeout(Duration::from_secs(100_000), simulate(blocks, script, ordered)).await.is_ok()
        });
        prop_assert!(ends, "rows wait without end");
    }
}
