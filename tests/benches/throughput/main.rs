//! Raw megabytes per CPU-second of the release binary, next to what one thread could do at best.
//!
//! Each job runs the real program against the embedded service and receiver on loopback: several shards, no
//! losses, checkpoints on. The figure is the decompressed bytes it pulled, divided by the user and system time
//! of its process, start included. The limit next to it is the same work on the same bytes in one thread of
//! this process, with no socket, no HTTP and no sandbox. Run by `cargo xtask bench`; asserts nothing about
//! time, but fails if a log is missing.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench reports and may panic")]

mod corpus;
mod jobs;
mod limit;
mod run;

use corpus::Corpus;

/// Raw bytes that each job pulls, in megabytes, unless the environment variable says otherwise.
const MEGABYTES: u64 = 1_000;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "--write-corpus") {
        return corpus::write();
    }
    let megabytes = std::env::var_os("BENCH_MEGABYTES");
    let megabytes = megabytes.and_then(|text| text.to_str()?.parse().ok()).unwrap_or(MEGABYTES);
    let only = std::env::var_os("BENCH_JOB").and_then(|job| job.into_string().ok());

    println!("raw MB per CPU-second; {megabytes} MB a job, {} shards", run::SHARDS);
    println!(
        "{:<34} {:>9} {:>9} {:>7} {:>6} {:>9}",
        "job", "forwarder", "limit", "ratio", "bar", "peak RSS"
    );
    for job in jobs::all() {
        if only.as_ref().is_some_and(|only| !job.name.contains(only.as_str())) {
            continue;
        }
        let corpus = Corpus::read(job.corpus);
        let limit = limit::measure(&job, &corpus);
        let run = run::measure(&job, &corpus, megabytes * 1_000_000).await;
        println!(
            "{:<34} {:>9.0} {:>9.0} {:>6.0}% {:>6} {:>6.0} MB",
            job.name,
            run.megabytes_per_cpu_second,
            limit,
            100.0 * run.megabytes_per_cpu_second / limit,
            job.bar,
            run.peak_rss_megabytes,
        );
    }
}
