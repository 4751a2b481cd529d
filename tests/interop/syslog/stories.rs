//! The stories, which run with any daemon.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::Duration;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::state::logstore::Placement;
use forwarder_record::encode::{Log, LogGroup};
use forwarder_tests::{Fingerprint, LOGSTORE, Logs, PATIENCE, PROJECT, World};
use tokio::time::{sleep, timeout};

use crate::awkward;
use crate::daemon::{Daemon, Recipe};
use crate::sinks::{self, HOST, PRIORITY, Sink};
use crate::transcript::{Fields, Message, from_json};

/// How often to look whether a daemon has written something down.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a message says, apart from its id.
#[derive(Debug, PartialEq)]
struct Event {
    host: String,
    priority: (String, String),
    /// Seconds since 1970 and the microseconds that follow.
    time: (u64, u32),
    fields: Fields,
}

impl Event {
    fn heard(message: &Message, read: fn(&str) -> Fields) -> Self {
        Self {
            host: message.host.clone(),
            priority: (message.facility.clone(), message.severity.clone()),
            time: (message.seconds.parse().unwrap(), message.micros.parse().unwrap()),
            fields: read(&message.text),
        }
    }

    fn sent(number: u64) -> Self {
        Self {
            host: HOST.to_owned(),
            priority: (PRIORITY.0.to_owned(), PRIORITY.1.to_owned()),
            time: awkward::time(number),
            fields: awkward::fields(number),
        }
    }
}

/// Collects what the daemon has understood until there is enough of it, or patience ends; whatever is missing
/// then shows when it is compared.
async fn listen(daemon: &mut Daemon, mut enough: impl FnMut(Vec<Message>) -> bool) {
    let heard = timeout(PATIENCE, async {
        while !enough(daemon.news()) {
            sleep(LOOK_AGAIN).await;
        }
    });
    if heard.await.is_err() {
        eprintln!("the daemon has not heard enough; it says:\n{}", daemon.log());
    }
}

/// Logs that have everything in them arrive as they were, however they travel.
pub(crate) async fn every_transport_framing_and_text(recipe: Recipe) {
    let world = World::new(1).await;
    world.sls.put(PROJECT, LOGSTORE, Placement::Shard(0), [awkward::group()]).unwrap();
    let mut daemon = Daemon::start(recipe, world.folder()).await;
    let settings = sinks::EVERY
        .iter()
        .fold(world.settings(), |settings, sink| sink.add(settings, daemon.setup(), ""));
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    assert_eq!(world.dead_letters().len(), 0);

    let mut messages = Vec::new();
    listen(&mut daemon, |news| {
        messages.extend(news);
        messages.len() >= awkward::COUNT as usize * sinks::EVERY.len()
    })
    .await;
    let sent: BTreeMap<String, Event> =
        world.event_ids().into_iter().map(|(id, number)| (id, Event::sent(number))).collect();
    for Sink { name, read, .. } in sinks::EVERY {
        let of_this = messages.iter().filter(|message| message.app == name);
        let heard: Vec<_> =
            of_this.map(|message| (&message.id, Event::heard(message, read))).collect();
        for (id, event) in &heard {
            assert_eq!(Some(event), sent.get(*id), "{name}: {id} was changed");
        }
        let ids: BTreeSet<_> = heard.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), sent.len(), "{name}: some were lost");
        assert_eq!(heard.len(), sent.len(), "{name}: some came twice, for no reason");
    }
}

/// What came by each sink: the id of each event, and a fingerprint of it that changes with any field.
#[derive(Default)]
struct Heard(HashMap<String, HashMap<String, String>>);

impl Heard {
    fn add(&mut self, news: Vec<Message>) {
        for message in news {
            let fields = from_json(&message.text);
            let seconds = message.seconds.parse().unwrap();
            let fingerprint = Fingerprint::of_received(seconds, fields).unwrap();
            self.0.entry(message.app).or_default().insert(message.id, fingerprint);
        }
    }

    /// How many different events came by a sink.
    fn by(&self, sink: &Sink) -> usize {
        self.0.get(sink.name).map_or(0, HashMap::len)
    }
}

/// A daemon that dies takes along what its kernel had acknowledged; the resend window makes up for it.
pub(crate) async fn killed_while_it_receives(recipe: Recipe) {
    const LOGS: u64 = 100_000;
    const SINKS: [Sink; 2] = [sinks::TCP, sinks::TLS];
    let world = World::new(2).await;
    world.put(&Logs(0..LOGS), 100);
    let mut daemon = Daemon::start(recipe, world.folder()).await;
    let settings = SINKS
        .iter()
        .fold(world.settings(), |settings, sink| sink.add(settings, daemon.setup(), ""));
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);

    let mut heard = Heard::default();
    for target in [5_000, 10_000, 15_000] {
        listen(&mut daemon, |news| {
            heard.add(news);
            SINKS.iter().any(|sink| heard.by(sink) >= target)
        })
        .await;
        daemon.kill().await;
        assert!(world.backlog() > 0, "the kill after {target} came too late to matter");
        daemon.restart().await;
    }
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    listen(&mut daemon, |news| {
        heard.add(news);
        SINKS.iter().all(|sink| heard.by(sink) >= LOGS as usize)
    })
    .await;

    let fingerprint = |number| Logs(number..number + 1).fingerprints().next().unwrap();
    let sent = world.event_ids().into_iter().map(|(id, number)| (id, fingerprint(number)));
    let sent: HashMap<String, String> = sent.collect();
    for Sink { name, .. } in SINKS {
        let heard = heard.0.remove(name).unwrap_or_default();
        let wrong = sent.iter().filter(|(id, event)| heard.get(*id) != Some(*event));
        let (wrong, known) = (wrong.count(), heard.len());
        assert_eq!((wrong, known), (0, sent.len()), "{name}: lost or changed, and heard at all");
    }
}

/// Messages of every length up to our default, the longest that rsyslog takes where it is not configured otherwise: 8096
/// bytes, which its manual calls 8k. Of a longer one it would make two.
pub(crate) async fn the_longest_messages(recipe: Recipe) {
    const LENGTHS: RangeInclusive<usize> = 7_700..=8_200;
    let world = World::new(1).await;
    let field = |key: &str, value| (key.to_owned(), value);
    let log = |length: usize| Log {
        time: 1_767_323_045,
        nanos: None,
        contents: vec![field("number", length.to_string()), field("text", "x".repeat(length))],
    };
    let group = LogGroup { logs: LENGTHS.map(log).collect(), ..LogGroup::default() };
    world.sls.put(PROJECT, LOGSTORE, Placement::Shard(0), [EncodedGroup::from(&group)]).unwrap();
    let mut daemon = Daemon::start(recipe, world.folder()).await;
    // To refuse a third of all would be held for a mistake otherwise, which it is not here.
    let settings = world.settings().process("max_reject_ratio", "1");
    let settings = sinks::TCP.add(settings, daemon.setup(), "");
    let forwarder = world.start(&settings.write("forwarder.toml"), &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));

    let refused = world.dead_letters().len();
    let all = LENGTHS.count();
    assert!((1..all).contains(&refused), "{refused} of {all} were refused: no limit was seen");
    let mut messages = Vec::new();
    listen(&mut daemon, |news| {
        messages.extend(news);
        messages.len() >= all - refused
    })
    .await;
    let lengths = messages.iter().map(|message| from_json(&message.text)["text"].len());
    let mut lengths: Vec<_> = lengths.collect();
    lengths.sort_unstable();
    let expected: Vec<_> = LENGTHS.take(all - refused).collect();
    assert_eq!(lengths, expected);
}
