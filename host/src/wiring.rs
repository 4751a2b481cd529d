//! The composition root: a checked configuration in, a running pipeline out.
//!
//! The only place where the vocabularies of `sls`, `plugin`, `sinks` and `pipeline` meet. Everything that
//! can be wrong before the first log is pulled is found here, in the order in which a person would fix
//! it: plugins, sinks, dead letters, sources.

pub mod consumer;
pub mod dead_letters;
mod line_limit;
pub mod sink;
pub mod source;
pub mod transform;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use forwarder_connector::Sink;
use forwarder_pipeline::{
    Budget, Compute, Demand, Pipeline, PipelineParts, RejectLimit, RetryPolicy, ShardSettings,
};
use forwarder_sls::ConsumerName;

use self::consumer::Consumer;
use self::dead_letters::FileDeadLetters;
use crate::config::Config;
use crate::config::process::DeadLetterConfig;
use crate::config::source::SourceConfig;
use crate::dead_letter::DeadLetterFile;
use crate::exit::{Exit, Failure};
use crate::instance::{Instance, host_name};
use crate::problem::Problem;

/// What is needed to run, set up and not yet at work.
pub struct Wired {
    /// Sinks are served; no shard is pulled from yet.
    pub pipeline: Pipeline,
    /// The sinks, to ask how they are.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Sources that have not joined their groups.
    pub consumers: Vec<Consumer>,
    /// The plugins; a source may begin when those that its logs pass through are loaded.
    pub chain: transform::Chain,
    /// Consumer names that were chosen by hand, kept from other processes on this host.
    pub reserved: Vec<File>,
}

/// Begins to load plugins, which the caller stops, sets up sinks and sources and starts the pipeline. Must be called on a runtime.
/// Blocks while certificates are read, so nothing else should be waiting for it.
///
/// # Errors
/// A sink, the dead-letter file or a source cannot be used as configured. What is wrong with a plugin is found
/// out later, by the sources that need it.
pub async fn assemble(
    config: &Config,
    instance: &Instance,
) -> Result<(Wired, transform::Loading), Failure> {
    let state_dir = instance.state_dir();
    let folders = &config.process.plugin_dirs;
    let (chain, loading) = transform::load(&config.transforms, folders, state_dir)?;
    let sinks = sinks(config)?;
    let dead_letters = dead_letters(&config.dead_letters, instance)?;
    let demand = Demand::default();
    let (consumers, reserved) = consumers(config, instance, &demand).await?;
    let threads = config.process.threads.unwrap_or_else(cores);
    let compute = Compute::threads(threads, chain.factory())
        .map_err(|cause| Failure::internal("no threads for the work", cause))?;
    let refusals =
        RejectLimit { max_ratio: config.process.max_reject_ratio, ..RejectLimit::default() };
    let pipeline = Pipeline::start(PipelineParts {
        sinks: config
            .sinks
            .iter()
            .zip(&sinks)
            .map(|(config, wired)| {
                let delivery = sink::delivery(&config.delivery, refusals.max_ratio);
                (Arc::clone(wired), delivery)
            })
            .collect(),
        routes: config.routes.clone(),
        compute,
        dead_letters: Arc::new(dead_letters),
        dead_letter_retry: RetryPolicy::default(),
        plugin_refusals: refusals,
        shards: ShardSettings {
            checkpoint_interval: commit_interval(config),
            ..ShardSettings::default()
        },
        demand,
    });
    Ok((Wired { pipeline, sinks, consumers, chain, reserved }, loading))
}

/// Sets up every sink.
///
/// # Errors
/// All sinks that cannot be set up, at once.
pub fn sinks(config: &Config) -> Result<Vec<Arc<dyn Sink>>, Failure> {
    let mut sinks = Vec::with_capacity(config.sinks.len());
    let mut problems = Vec::new();
    for sink in &config.sinks {
        match sink::new(sink) {
            Ok(sink) => sinks.push(sink),
            Err(failure) => problems.extend(failure.problems),
        }
    }
    if problems.is_empty() { Ok(sinks) } else { Err(Failure { exit: Exit::Config, problems }) }
}

/// Where the dead letters of this instance are kept.
pub fn dead_letter_path(config: &DeadLetterConfig, instance: &Instance) -> PathBuf {
    let usual = || instance.state_dir().join("dead-letters.jsonl");
    instance.own_file(&config.path.clone().unwrap_or_else(usual))
}

/// Opens the dead-letter file of this instance.
///
/// # Errors
/// It cannot be written.
pub fn dead_letters(
    config: &DeadLetterConfig,
    instance: &Instance,
) -> Result<FileDeadLetters, Failure> {
    match DeadLetterFile::open(&dead_letter_path(config, instance), config.max_size) {
        Ok(file) => Ok(FileDeadLetters::new(file)),
        Err(cause) => {
            let help = "set `dead_letters.path` to a file that this user may write";
            Err(Failure::new(Exit::Config, Problem::new(cause.to_string()).help(help)))
        }
    }
}

async fn consumers(
    config: &Config,
    instance: &Instance,
    demand: &Demand,
) -> Result<(Vec<Consumer>, Vec<File>), Failure> {
    let budgets = Budget::split(config.process.memory_budget, config.sources.len(), demand);
    let mut consumers = Vec::with_capacity(config.sources.len());
    let mut reserved = Vec::new();
    for (source, budget) in config.sources.iter().zip(budgets) {
        let name = consumer_name(source, instance, &mut reserved)?;
        let state_dir = instance.state_dir();
        consumers.push(Consumer::new(source.clone(), name, budget, state_dir).await?);
    }
    Ok((consumers, reserved))
}

fn consumer_name(
    source: &SourceConfig,
    instance: &Instance,
    reserved: &mut Vec<File>,
) -> Result<ConsumerName, Failure> {
    let Some(chosen) = &source.consumer else {
        let name = instance.consumer_name(&host_name()).parse();
        return name.map_err(|cause| Failure::internal("no name for this consumer", cause));
    };
    let scope = format!("{}-{}-{}", source.project, source.logstore, source.consumer_group);
    match instance.reserve_consumer(&scope, chosen.as_str()) {
        Ok(lock) => {
            reserved.push(lock);
            Ok(chosen.clone())
        }
        Err(cause) => {
            let help = "SLS would give both the same shards; leave `consumer` out, and each gets its own name";
            Err(Failure::new(Exit::Config, Problem::new(cause.to_string()).help(help)))
        }
    }
}

/// The shortest that any source asks for; saving costs a request per shard.
fn commit_interval(config: &Config) -> std::time::Duration {
    let intervals = config.sources.iter().map(|source| source.commit_interval);
    intervals.min().unwrap_or(ShardSettings::default().checkpoint_interval)
}

/// A plugin may use this much of the stack of the thread that runs it.
const _: () = assert!(
    forwarder_pipeline::COMPUTE_STACK_BYTES >= 2 * forwarder_plugin::MIN_THREAD_STACK,
    "compute threads need room for a plugin's stack and for what calls it"
);

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
