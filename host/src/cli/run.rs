//! `forwarder`: from a checked configuration to the last checkpoint.
//!
//! Parse, build, join, work, drain. What is pulled is finished: a stop ends the pulling, and then waits
//! for what is in flight while the heartbeats continue.

use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::Sink;
use forwarder_pipeline::Runner;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::admin::{self, Health, Phase};
use crate::config::secret::process;
use crate::config::{self, Config, Request};
use crate::exit::{Exit, Failure};
use crate::instance::Instance;
use crate::problem::Problem;
use crate::shutdown::Signals;
use crate::status;
use crate::telemetry::{self, COMMIT, VERSION};
use crate::wiring::consumer::{Consumer, Sources};
use crate::wiring::transform::{Chain, Loading};
use crate::wiring::{self, Wired};

/// Runs until it is stopped.
pub(super) fn run(request: &Request) -> Result<Exit, Failure> {
    let checked = config::check(request, &process);
    let config = checked.config.map_err(|problems| Failure { exit: Exit::Config, problems })?;
    let unusable =
        |cause: &dyn std::fmt::Display| Failure::new(Exit::Config, Problem::new(cause.to_string()));
    let _log = telemetry::install_log(&config.log).map_err(|cause| unusable(&cause))?;
    for notice in &checked.notices {
        notice.log();
    }
    let metrics = telemetry::install_metrics()
        .map_err(|cause| Failure::internal("cannot collect metrics", cause))?;
    install_tls();
    let instance = Instance::claim(&config.process.state_dir).map_err(|cause| {
        Failure::new(Exit::Config, Problem::new(cause.to_string()).help(cause.help()))
    })?;
    let runtime = runtime()?;
    let exit = runtime.block_on(Box::pin(serve(config, instance, metrics)));
    // A write to a pipe that is not read, or to a disk that hangs, cannot be given up; the process can.
    runtime.shutdown_background();
    exit
}

/// rustls is given its cryptography once per process.
pub(super) fn install_tls() {
    // An error says that another call was faster, with the same provider: there is only one in the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The network's threads. The work on bytes has threads of its own.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(|cause| Failure::internal("no threads for the network", cause))
}

async fn serve(
    config: Config,
    instance: Instance,
    metrics: PrometheusHandle,
) -> Result<Exit, Failure> {
    let mut signals =
        Signals::listen().map_err(|cause| Failure::internal("cannot listen to signals", cause))?;
    let number = instance.number();
    let state_dir = instance.state_dir().display();
    tracing::info!(version = VERSION, commit = COMMIT, instance = number, %state_dir, "starting");
    let health = Arc::new(Health::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(telemetry::keep_metrics_small(metrics.clone()));
    tasks.spawn(status::report(metrics.clone(), config.log.status_interval));
    let port = listen(&config, number).await?;
    let admin = port.map(|port| admin::serve(port, metrics, Arc::clone(&health)));
    let grace = config.process.shutdown_grace;
    // The place among the instances of this host is kept to the end.
    let Some((wired, loading, _instance)) = set_up(config, instance, &mut signals).await? else {
        return Ok(Exit::Success);
    };
    let sinks = wired.sinks.clone();
    tasks.spawn(async move { wiring::sink::report_who_is_down(&sinks).await });
    let exit = work(wired, grace, &health, &mut signals).await;
    loading.stop().await;
    if let Some(admin) = admin {
        admin.close().await;
    }
    // The probes of sinks need not be waited for.
    tasks.shutdown().await;
    exit
}

/// Setting up takes no time unless a file or a service does not answer.
const SLOW_SET_UP: Duration = Duration::from_secs(5);

/// Sets everything up, on a thread of its own: a file of a key or certificate may be on a file system that hangs, and a
/// stop must not wait for it. `None` if the process is stopped meanwhile.
async fn set_up(
    config: Config,
    instance: Instance,
    signals: &mut Signals,
) -> Result<Option<(Wired, Loading, Instance)>, Failure> {
    let runtime = tokio::runtime::Handle::current();
    let mut assembling = tokio::task::spawn_blocking(move || {
        let (wired, loading) = runtime.block_on(wiring::assemble(&config, &instance))?;
        Ok((wired, loading, instance))
    });
    let slow = tokio::time::sleep(SLOW_SET_UP);
    tokio::pin!(slow);
    loop {
        tokio::select! {
            assembled = &mut assembling => {
                let assembled = assembled.map_err(|cause| Failure::internal("set-up ended in a bug", cause))?;
                return assembled.map(Some);
            }
            signal = signals.next() => {
                tracing::info!(signal, "stopped before anything was read");
                return Ok(None);
            }
            () = &mut slow, if !slow.is_elapsed() => tracing::warn!(
                "set-up takes long: the file system of a key or certificate does not answer; nothing is read yet and no \
                 data is lost"
            ),
        }
    }
}

async fn listen(
    config: &Config,
    instance: u32,
) -> Result<Option<tokio::net::TcpListener>, Failure> {
    match admin::bind(&config.admin, instance).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(config.admin.listen);
            tracing::info!("serving http://{address}/metrics, /healthz and /readyz");
            Ok(Some(listener))
        }
        Err(cause) if config.admin.is_chosen => {
            let message = format!("cannot listen on {}: {cause}", config.admin.listen);
            let problem =
                Problem::new(message).help("set `admin.listen` to a free port, or port 0");
            Err(Failure::new(Exit::Config, problem))
        }
        Err(cause) => {
            let address = config.admin.listen;
            tracing::warn!(%address, %cause, "no /metrics: the usual port is taken, set `admin.listen`");
            Ok(None)
        }
    }
}

/// Joins every group, works, and drains. Each source begins when its plugins are loaded and it has joined, so
/// that one whose SLS is out of reach keeps neither the others waiting nor the shards that they were granted from
/// other processes. What SLS or the check of a plugin refuses ends the process only when no other source is left.
async fn work(
    wired: Wired,
    grace: Duration,
    health: &Health,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let Wired { mut pipeline, consumers, chain, sinks, reserved: _reserved } = wired;
    let stop = CancellationToken::new();
    let count = consumers.len();
    let sources = Arc::new(Sources::new(count));
    let (joined, mut joining) = mpsc::channel(count.max(1));
    let mut members: JoinSet<Result<(), Failure>> = JoinSet::new();
    for consumer in consumers {
        let span = consumer.span();
        let (chain, runner) = (chain.clone(), pipeline.runner());
        let (stop, joined, sources) = (stop.clone(), joined.clone(), Arc::clone(&sources));
        let work = async move {
            let ended = member(consumer, chain, runner, stop, joined, &sources).await;
            sources.gone();
            ended
        };
        members.spawn(work.instrument(span));
    }
    let all_at_work = async {
        for _source in 0..count {
            joining.recv().await;
        }
        health.enter(Phase::Ready);
        tracing::info!("at work");
        std::future::pending().await
    };
    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, ?grace, "stopping: finishing what is in flight");
            Ok(Exit::Success)
        }
        () = reader_left(&sinks) => {
            tracing::warn!(
                "stopping: the reader of standard output closed it; no data lost, undelivered logs will be re-read"
            );
            Ok(Exit::ReaderLeft)
        }
        died = pipeline.failed() => Err(Failure::internal("the pipeline stopped", died)),
        ended = all_ended(&mut members) => ended.map(|()| Exit::Success),
        never = all_at_work => never,
    };
    health.enter(Phase::Stopping);
    stop.cancel();
    let grace = match outcome {
        Ok(Exit::ReaderLeft) => grace_without_reader(grace, &sinks),
        _ => grace,
    };
    let drain = async {
        let (drained, ended) = tokio::join!(pipeline.drain(grace), all_ended(&mut members));
        ended.map(|()| drained)
    };
    let drained = tokio::select! {
        drained = drain => drained?,
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: exiting now; logs in flight will be re-read");
            return Ok(Exit::DrainTimedOut);
        }
    };
    let exit = outcome?;
    if exit == Exit::ReaderLeft {
        return Ok(exit);
    }
    if drained.in_time {
        tracing::info!("stopped, everything in flight was settled");
        Ok(Exit::Success)
    } else {
        tracing::warn!("stopped with logs in flight; no data lost, they will be re-read");
        Ok(Exit::DrainTimedOut)
    }
}

/// How long the other sinks get to finish what is in flight when standard output has no reader.
const READER_LEFT_GRACE: Duration = Duration::from_secs(5);

/// What standard output has not taken cannot be delivered any more, so the full grace would always pass in vain.
fn grace_without_reader(grace: Duration, sinks: &[Arc<dyn Sink>]) -> Duration {
    let others = sinks.iter().any(|sink| sink.receiver_left().now_or_never().is_none());
    if others { grace.min(READER_LEFT_GRACE) } else { Duration::ZERO }
}

/// Resolves once the receiver of a sink has left for good: the reader of standard output.
async fn reader_left(sinks: &[Arc<dyn Sink>]) {
    let mut watched: FuturesUnordered<_> = sinks.iter().map(|sink| sink.receiver_left()).collect();
    if watched.next().await.is_none() {
        std::future::pending().await
    }
}

/// One source from joining its group to leaving it.
async fn member(
    consumer: Consumer,
    chain: Chain,
    runner: Runner,
    stop: CancellationToken,
    joined: mpsc::Sender<()>,
    sources: &Sources,
) -> Result<(), Failure> {
    tokio::select! {
        ready = chain.ready_for(consumer.source()) => {
            ready.inspect_err(report_refused)?;
        }
        () = stop.cancelled() => return Ok(()),
    }
    let member = tokio::select! {
        member = consumer.join(sources) => member?,
        () = stop.cancelled() => return Ok(()),
    };
    // The receiver is gone if the process is about to stop.
    let _ = joined.send(()).await;
    member.work(runner, stop).await
}

fn report_refused(refused: &Failure) {
    for problem in &refused.problems {
        let cause = problem.message();
        tracing::error!(
            "source does not start: {cause}; nothing was pulled and no data is lost; fix the plugin or its \
             `[[transform]]` and restart; other sources continue"
        );
    }
}

/// Waits for every source, or for the first that fails otherwise than by being refused; all refusals are reported when
/// nothing else is left to do.
async fn all_ended(members: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    let mut refused: Option<Failure> = None;
    while let Some(ended) = members.join_next().await {
        match ended.map_err(|cause| Failure::internal("a source ended in a bug", cause))? {
            Err(failure) if matches!(failure.exit, Exit::Plugin | Exit::Source) => {
                let first = || Failure { exit: failure.exit, problems: vec![] };
                let all = refused.get_or_insert_with(first);
                // Sources share plugins, and each of them says what is wrong.
                let news = failure.problems.into_iter();
                let news: Vec<_> = news.filter(|problem| !all.problems.contains(problem)).collect();
                all.problems.extend(news);
            }
            other => other?,
        }
    }
    refused.map_or(Ok(()), Err)
}
