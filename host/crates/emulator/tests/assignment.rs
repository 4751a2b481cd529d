//! Properties of shard assignment, over arbitrary histories of consumers that follow the protocol.
//!
//! The model is the client's half of the contract: a consumer works on what it was given until it has
//! wound it down, reports what it works on, drops everything when it has heard nothing for a timeout,
//! and comes back with an empty report when the service does not know it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test should stop where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forwarder_emulator::clock::Timestamp;
use forwarder_emulator::state::ShardId;
use forwarder_emulator::state::assignment::{Assignment, ShardHolding};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const TIMEOUT: Duration = Duration::from_secs(10);
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Beat(usize),
    WindDown(usize),
    Crash(usize),
    Wait(u64),
    Born { shard: ShardId, waits: bool },
    StopWaiting(ShardId),
    Finish(ShardId),
    Revive(ShardId),
    Expel(usize),
}

/// Histories, with or without finished shards that come back to life.
fn steps(revival: bool) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..NAMES.len();
    let shard = 0u32..12;
    let step = prop_oneof![
        8 => who.clone().prop_map(Step::Beat),
        4 => who.clone().prop_map(Step::WindDown),
        1 => who.clone().prop_map(Step::Crash),
        3 => (0u64..6000).prop_map(Step::Wait),
        2 => (shard.clone(), any::<bool>()).prop_map(|(shard, waits)| Step::Born { shard, waits }),
        1 => shard.clone().prop_map(Step::StopWaiting),
        1 => shard.clone().prop_map(Step::Finish),
        u32::from(revival) => shard.prop_map(Step::Revive),
        1 => who.prop_map(Step::Expel),
    ];
    proptest::collection::vec(step, 1..120)
}

#[derive(Debug, Default)]
struct Consumer {
    working: BTreeSet<ShardId>,
    allowed: BTreeSet<ShardId>,
    last_success: Option<Timestamp>,
}

#[derive(Debug)]
struct World {
    server: Assignment,
    consumers: BTreeMap<&'static str, Consumer>,
    now: Timestamp,
}

impl World {
    fn new(shards: u32) -> Self {
        let mut server = Assignment::new(TIMEOUT);
        (0..shards).for_each(|shard| server.add_shard(shard, false));
        let consumers = NAMES.iter().map(|name| (*name, Consumer::default())).collect();
        Self { server, consumers, now: Timestamp::from_seconds(1_000) }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Beat(who) => self.beat(NAMES[who]),
            Step::WindDown(who) => self.wind_down(NAMES[who]),
            Step::Crash(who) => *self.consumer(NAMES[who]) = Consumer::default(),
            Step::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Step::Born { shard, waits } => self.server.add_shard(shard, waits),
            Step::StopWaiting(shard) => self.server.stop_waiting(shard),
            Step::Finish(shard) => self.server.finish(shard),
            Step::Revive(shard) => self.server.revive(shard),
            // An expelled consumer finds out at its next heartbeat; until then both may work, as in
            // any service that takes a lease away early. So the model lets it crash at the same time.
            Step::Expel(who) => {
                self.server.expel(NAMES[who]);
                *self.consumer(NAMES[who]) = Consumer::default();
            }
        }
    }

    fn beat(&mut self, name: &'static str) {
        let reported = self.consumer(name).working.clone();
        let answer = self.server.heartbeat(name, &reported, self.now);
        let now = self.now;
        let consumer = self.consumer(name);
        match answer {
            Ok(held) => {
                consumer.allowed = held.into_iter().collect();
                consumer.working.extend(&consumer.allowed);
                consumer.last_success = Some(now);
            }
            Err(_) => *consumer = Consumer::default(),
        }
    }

    fn wind_down(&mut self, name: &'static str) {
        let consumer = self.consumer(name);
        consumer.working = &consumer.working & &consumer.allowed;
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        let now = self.now;
        for consumer in self.consumers.values_mut() {
            if consumer.last_success.is_some_and(|last| now.since(last) >= TIMEOUT) {
                *consumer = Consumer::default();
            }
        }
    }

    fn consumer(&mut self, name: &'static str) -> &mut Consumer {
        self.consumers.get_mut(name).unwrap()
    }

    /// Everyone beats and winds down until nothing is left to hand over.
    fn settle(&mut self) {
        for _ in 0..20 {
            for name in NAMES {
                self.beat(name);
                self.wind_down(name);
            }
            self.wait(Duration::from_secs(1));
        }
    }

    fn counts(&self) -> Vec<usize> {
        self.server.members().map(|name| self.server.held_by(name).len()).collect()
    }
}

fn saving_regressions() -> ProptestConfig {
    let next_to_this_file = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { failure_persistence: Some(Box::new(next_to_this_file)), ..Default::default() }
}

proptest! {
    #![proptest_config(saving_regressions())]

    // Without revival: a shard that was finished while someone still worked on it may be revived and
    // given to another before the first one noticed, and the service's protocol has no guard against it.
    #[test]
    fn two_consumers_never_work_on_one_shard(steps in steps(false), shards in 0u32..10) {
        let mut world = World::new(shards);
        for step in &steps {
            world.apply(step);
            let mut seen = BTreeSet::new();
            for (name, consumer) in &world.consumers {
                for shard in &consumer.working {
                    prop_assert!(seen.insert(*shard), "{name} shares shard {shard} after {step:?}");
                }
            }
        }
    }

    #[test]
    fn a_shard_leaves_a_living_holder_only_once_it_is_no_longer_reported(steps in steps(true)) {
        let mut world = World::new(8);
        for step in &steps {
            let before: Vec<_> = world.server.shards().map(|(id, h)| (id, h.clone())).collect();
            let reports = match step {
                Step::Beat(who) => Some((NAMES[*who], world.consumers[NAMES[*who]].working.clone())),
                _ => None,
            };
            world.apply(step);
            for (id, holding) in before {
                let after = world.server.holding(id).unwrap();
                let Some(holder) = holding.holder() else { continue };
                let lives = world.server.is_member(holder);
                if !lives || *after == ShardHolding::Over || after.holder() == Some(holder) {
                    continue;
                }
                let (name, reported) = reports.as_ref().expect("only a heartbeat moves a shard");
                prop_assert_eq!(*name, holder);
                prop_assert!(!reported.contains(&id), "{} took {id} from {holder}", after.holder().unwrap_or("none"));
            }
        }
    }

    #[test]
    fn counts_level_out_when_nothing_changes(steps in steps(true), shards in 0u32..30) {
        let mut world = World::new(shards);
        steps.iter().for_each(|step| world.apply(step));
        world.settle();

        let counts = world.counts();
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        prop_assert!(most - least <= 1, "{counts:?}");
        for (id, holding) in world.server.shards() {
            let done = matches!(holding, ShardHolding::AlreadyAlloc { .. } | ShardHolding::Wait | ShardHolding::Over);
            prop_assert!(done, "shard {id} is left {holding:?}");
        }
        let settled: Vec<_> = world.server.shards().map(|(id, h)| (id, h.clone())).collect();
        world.settle();
        let later: Vec<_> = world.server.shards().map(|(id, h)| (id, h.clone())).collect();
        prop_assert_eq!(settled, later, "a level group must not move shards");
    }

    #[test]
    fn a_consumer_silent_beyond_the_timeout_frees_its_shards(steps in steps(true), shards in 1u32..10) {
        let mut world = World::new(shards);
        steps.iter().for_each(|step| world.apply(step));
        world.wait(TIMEOUT + Duration::from_millis(1));
        world.beat("a");

        prop_assert_eq!(world.server.members().collect::<Vec<_>>(), ["a"]);
        for (id, holding) in world.server.shards() {
            let free_or_mine = holding.holder().is_none_or(|holder| holder == "a");
            prop_assert!(free_or_mine, "shard {id} is {holding:?}");
            prop_assert_ne!(holding, &ShardHolding::NotAlloc);
        }
    }
}

fn beat(server: &mut Assignment, name: &str, reported: &[ShardId], second: u64) -> Vec<ShardId> {
    let reported = reported.iter().copied().collect();
    server.heartbeat(name, &reported, Timestamp::from_seconds(second)).unwrap()
}

#[test]
fn the_recorded_rebalance_plays_back() {
    let mut server = Assignment::new(TIMEOUT);
    (0..4).for_each(|shard| server.add_shard(shard, false));
    assert_eq!(beat(&mut server, "D", &[], 0), [0, 1, 2, 3]);

    assert_eq!(beat(&mut server, "E", &[], 6), [] as [u32; 0]);
    assert_eq!(beat(&mut server, "D", &[0, 1, 2, 3], 8), [2, 3]);
    assert_eq!(beat(&mut server, "D", &[0, 1, 2, 3], 10), [2, 3], "0 and 1 are still winding down");
    assert_eq!(beat(&mut server, "E", &[], 12), [] as [u32; 0]);
    assert_eq!(beat(&mut server, "D", &[2, 3], 14), [2, 3]);
    assert_eq!(beat(&mut server, "E", &[], 14), [0, 1]);
}

#[test]
fn an_unknown_consumer_that_reports_shards_is_refused_and_may_join_empty_handed() {
    let mut server = Assignment::new(TIMEOUT);
    server.add_shard(0, false);
    let now = Timestamp::from_seconds(1);
    assert!(server.heartbeat("a", &BTreeSet::from([0]), now).is_err());
    assert_eq!(beat(&mut server, "a", &[], 1), [0]);
}

#[test]
fn a_restart_under_the_same_name_finds_its_shards_again() {
    let mut server = Assignment::new(TIMEOUT);
    (0..2).for_each(|shard| server.add_shard(shard, false));
    assert_eq!(beat(&mut server, "a", &[], 0), [0, 1]);
    assert_eq!(beat(&mut server, "a", &[], 1), [0, 1]);
}

#[test]
fn a_transfer_goes_back_when_the_heir_dies_and_on_when_the_holder_dies() {
    let start = || {
        let mut server = Assignment::new(TIMEOUT);
        (0..2).for_each(|shard| server.add_shard(shard, false));
        beat(&mut server, "holder", &[], 0);
        beat(&mut server, "heir", &[], 1);
        let transfer = ShardHolding::Transfer { holder: "holder".into(), heir: "heir".into() };
        assert_eq!(server.holding(0), Some(&transfer));
        server
    };
    let mut heir_dies = start();
    assert_eq!(beat(&mut heir_dies, "holder", &[0, 1], 9), [1]);
    assert_eq!(beat(&mut heir_dies, "holder", &[0, 1], 12), [0, 1]);

    let mut holder_dies = start();
    assert_eq!(beat(&mut holder_dies, "heir", &[], 9), [] as [u32; 0]);
    assert_eq!(beat(&mut holder_dies, "heir", &[], 11), [0, 1]);
}

#[test]
fn a_frozen_assignment_hands_out_nothing() {
    let mut server = Assignment::new(TIMEOUT);
    server.add_shard(0, false);
    server.set_frozen(true);
    assert_eq!(beat(&mut server, "a", &[], 0), [] as [u32; 0]);
    server.set_frozen(false);
    assert_eq!(beat(&mut server, "a", &[], 1), [0]);
}
