//! What a plugin costs per log, compared with the same edits made natively on the same batches:
//!
//! ```text
//! cargo xtask plugins
//! cargo bench -p forwarder-plugin --profile release -- [1|2|3=PATH …]
//! ```
//!
//! | job | logs | what is done |
//! |---|---|---|
//! | 1 | access logs, 24 fields | filter on `status` (two in five stay), discard three fields |
//! | 2 | audit logs, 2 KB of JSON | drop by a name found by the host inside the JSON, nest the rest |
//! | 3 | access logs, 24 fields | nothing |
//!
//! The guests are `prune`, `audit` and `identity`; further ones, such as the same jobs in another language,
//! are named as `job=path`. Times are CPU time of the thread, best of several rounds, per log: of
//! [`Worker::apply`] alone, and together with a walk over the rows that copies them, which every sink does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench reports and may panic"
)]

mod corpus;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use corpus::Corpus;
use forwarder_plugin::{Engine, EngineOptions, Package, Plugin, PluginOptions, Worker};
use forwarder_record::{Batch, Edits, SliceLimits, json};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 40;
const REMOVED: [&str; 3] = ["user_agent", "referer", "request_id"];
const READ_ONLY: [&str; 4] = ["Describe", "List", "Get", "Query"];

fn main() {
    let engine = Engine::new(&EngineOptions::default()).unwrap();
    println!("{:<28} {:>10} {:>10} {:>12} {:>10}", "", "edit", "+ walk", "raw MB/s", "kept");
    for job in 1..=3 {
        let corpus = corpus(job);
        println!("job {job}");
        measure("native", &corpus, |batch| native(job, batch));
        for (name, path) in guests(job) {
            let plugin = load(&engine, &name, &path, config(job, &name));
            let mut worker = plugin.worker();
            measure(&name, &corpus, |batch| run(&mut worker, batch));
        }
    }
    println!();
    let header = ["compile", "cached", "instance", "first call", "resident"];
    println!("{:<28} {}", "", header.map(|text| format!("{text:>10}")).join(" "));
    for job in 1..=3 {
        for (name, path) in guests(job) {
            life(&engine, &name, &path, job);
        }
    }
}

fn corpus(job: usize) -> Corpus {
    if job == 2 { corpus::trail() } else { corpus::flow() }
}

/// Ours, then those that were named.
fn guests(job: usize) -> Vec<(String, PathBuf)> {
    let ours = ["prune", "audit", "identity"][job - 1];
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/wasm32-wasip2/plugin");
    let mut guests = vec![(ours.to_owned(), built.join(format!("{ours}.wasm")))];
    let prefix = format!("{job}=");
    let named = std::env::args().filter_map(|arg| arg.strip_prefix(&prefix).map(PathBuf::from));
    guests.extend(named.map(|path| (path.display().to_string(), path)));
    guests
}

fn config(job: usize, guest: &str) -> String {
    match (job, guest) {
        (1, "prune") => {
            let remove = serde_json::json!(REMOVED);
            format!(r#"{{"keep_if":[{{"field":"status","prefix":"4"}}],"remove":{remove}}}"#)
        }
        (2, "audit") => {
            let names: Vec<String> = READ_ONLY.iter().map(|name| format!("{name}*")).collect();
            format!(r#"{{"topics":["*"],"drop_events":{}}}"#, serde_json::json!(names))
        }
        _ => "{}".to_owned(),
    }
}

fn load(engine: &Engine, name: &str, path: &Path, config: String) -> Plugin {
    let package = Package::read(path).unwrap_or_else(|error| {
        println!("{error}; run `cargo xtask plugins` first");
        std::process::exit(1)
    });
    Plugin::load(engine, name, &package, PluginOptions { config, ..Default::default() }).unwrap()
}

fn run(worker: &mut Worker, batch: &mut Batch) {
    let outcome = worker.apply(batch, None, &mut |_| true).unwrap();
    assert_eq!((outcome.rejected.len(), outcome.faults), (0, 0));
}

/// The job without a sandbox, with what the sandbox's host functions use.
fn native(job: usize, batch: &mut Batch) {
    for slice in batch.slices(SliceLimits::default(), |_| true) {
        let mut edits = Edits::new(slice.len());
        match job {
            1 => {
                let status = batch.column(&slice, "status");
                let drop = rows(status.map(|status| !status.is_some_and(|s| s.starts_with('4'))));
                edits.drop_rows(drop).unwrap();
                edits.remove(REMOVED.map(str::to_owned).to_vec());
            }
            2 => {
                let names = batch.column(&slice, "event").map(|event| {
                    let name = json::text_of(json::find(event?, &["eventName"])?);
                    Some(READ_ONLY.iter().any(|prefix| name.starts_with(prefix)))
                });
                edits.drop_rows(rows(names.map(|read_only| read_only == Some(true)))).unwrap();
                edits.nest("event".to_owned());
            }
            _ => {}
        }
        batch.apply(&slice, &edits).unwrap();
    }
}

fn rows(drop: impl Iterator<Item = bool>) -> Vec<u32> {
    (0..).zip(drop).filter(|&(_, drop)| drop).map(|(row, _)| row).collect()
}

fn measure(name: &str, corpus: &Corpus, mut job: impl FnMut(&mut Batch)) {
    let mut out = Vec::with_capacity(corpus.bytes * 2);
    let (mut edit, mut walk, mut kept) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let mut batch = corpus.batch();
        let began = cpu();
        job(&mut batch);
        edit = edit.min(cpu() - began);
        let began = cpu();
        out.clear();
        for cell in batch.rows().flat_map(|row| row.cells()) {
            out.extend_from_slice(cell.key.as_bytes());
            out.extend_from_slice(cell.value.as_bytes());
        }
        walk = walk.min(cpu() - began);
        kept = batch.live_rows();
    }
    let per_log = |time: Duration| time.as_nanos() as f64 / corpus.rows as f64;
    let rate = corpus.bytes as f64 / (edit + walk).as_secs_f64() / 1e6;
    println!(
        "  {:<26} {:>7.0} ns {:>7.0} ns {:>12.0} {:>10}",
        shown(name),
        per_log(edit),
        per_log(edit + walk),
        rate,
        kept
    );
}

/// What it costs to have a plugin: compiling it, loading it from the cache, another instance.
fn life(engine: &Engine, name: &str, path: &Path, job: usize) {
    const INSTANCES: u32 = 20;
    let (config, corpus) = (config(job, name), corpus(job));
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let cache_dir = Some(dir.path().join("cache"));
        let engine = Engine::new(&EngineOptions { cache_dir, ..EngineOptions::default() }).unwrap();
        let began = Instant::now();
        load(&engine, name, path, config.clone());
        began.elapsed()
    };
    let (compiled, cached) = (start(), start());

    let plugin = load(engine, name, path, config.clone());
    let mut first = plugin.worker();
    run(&mut first, &mut corpus.batch());
    let reused = {
        let mut batch = corpus.batch();
        let began = cpu();
        run(&mut first, &mut batch);
        cpu() - began
    };
    let before = resident();
    let mut fresh = Duration::ZERO;
    let workers: Vec<Worker> = (0..INSTANCES)
        .map(|_| {
            let (mut worker, mut batch) = (plugin.worker(), corpus.batch());
            let began = cpu();
            run(&mut worker, &mut batch);
            fresh += cpu() - began;
            worker
        })
        .collect();
    let resident = (resident() - before) / f64::from(INSTANCES);
    drop(workers);
    let fresh = fresh / INSTANCES;
    println!(
        "{:<28} {:>7} ms {:>7.1} ms {:>7} us {:>7} us {:>7.2} MB",
        shown(name),
        compiled.as_millis(),
        cached.as_secs_f64() * 1e3,
        fresh.saturating_sub(reused).as_micros(),
        fresh.as_micros(),
        resident
    );
}

fn shown(name: &str) -> &str {
    name.get(name.len().saturating_sub(26)..).unwrap_or(name)
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Resident memory of the process in megabytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1e6
}
