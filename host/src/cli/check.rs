//! `forwarder check`: everything that can be wrong before the first log, found without reading one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forwarder_connector::Sink;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::run::{install_tls, runtime};
use super::say;
use crate::config::secret::process;
use crate::config::source::SourceConfig;
use crate::config::{self, Config, Request};
use crate::exit::{Exit, Failure};
use crate::instance::Instance;
use crate::problem::Problem;
use crate::wiring;

/// How long a sink or SLS may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Checks the configuration, then plugins, dead letters, sinks and sources; fails with all problems, and
/// with the exit code of the first kind.
pub(super) fn check(request: &Request) -> Result<Exit, Failure> {
    let checked = config::check(request, &process);
    for notice in &checked.notices {
        say(format_args!("notice: {notice}"));
    }
    let config = checked.config.map_err(|problems| Failure { exit: Exit::Config, problems })?;
    say("config: ok");
    install_tls();
    let mut findings = Findings::default();
    runtime()?.block_on(async {
        match Instance::claim(&config.process.state_dir) {
            Ok(instance) => {
                findings.add("plugins", plugins(&config, instance.state_dir()).await);
                findings.add("dead letters", dead_letters(&config, &instance));
            }
            Err(cause) => {
                let problem = Problem::new(cause.to_string()).help(cause.help());
                findings.add("state directory", Err(Failure::new(Exit::Config, problem)));
            }
        }
        reach(&config, &mut findings).await;
    });
    findings.into_outcome()
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    exit: Option<Exit>,
    problems: Vec<Problem>,
}

impl Findings {
    fn add(&mut self, what: &str, outcome: Result<String, Failure>) {
        match outcome {
            Ok(note) => say(format_args!("{what}: {note}")),
            Err(failure) => {
                say(format_args!("{what}: not ok"));
                let first = self.exit.map_or(failure.exit, |exit| exit.min(failure.exit));
                self.exit = Some(first);
                self.problems.extend(failure.problems);
            }
        }
    }

    fn into_outcome(self) -> Result<Exit, Failure> {
        match self.exit {
            None => Ok(Exit::Success),
            Some(exit) => Err(Failure { exit, problems: self.problems }),
        }
    }
}

async fn plugins(config: &Config, state_dir: &Path) -> Result<String, Failure> {
    let folders = &config.process.plugin_dirs;
    let (_chain, loading) = wiring::transform::load(&config.transforms, folders, state_dir)?;
    loading.finished().await?;
    let names: Vec<_> = config.transforms.iter().map(|transform| transform.name.as_str()).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { format!("ok ({})", names.join(", ")) })
}

fn dead_letters(config: &Config, instance: &Instance) -> Result<String, Failure> {
    let path = wiring::dead_letter_path(&config.dead_letters, instance);
    let is_new = !path.exists();
    wiring::dead_letters(&config.dead_letters, instance)?;
    if is_new {
        // A check should leave no empty file behind; one that stays does no harm.
        let _ = std::fs::remove_file(&path);
    }
    Ok("ok".to_owned())
}

/// Asks every sink and every source at once.
async fn reach(config: &Config, findings: &mut Findings) {
    match wiring::sinks(config) {
        Ok(sinks) => {
            let asked = sinks.iter().map(async |sink| (sink, ask_sink(sink).await));
            for (sink, answer) in join_all(asked).await {
                let what = format!("sink {}", sink.name());
                let (answer, unknown) = match answer {
                    Ok(unknown) => (Ok("ok".to_owned()), unknown),
                    Err(failure) => (Err(failure), Vec::new()),
                };
                findings.add(&what, answer);
                for note in unknown {
                    say(format_args!("{what}: warning: {note}"));
                }
            }
        }
        Err(failure) => findings.add("sinks", Err(failure)),
    }
    let asked = config.sources.iter().map(async |source| (source, ask_source(source).await));
    for (source, answer) in join_all(asked).await {
        findings.add(&format!("source {}", source.name), answer);
    }
}

/// What could not be found out about a sink that seems to be in order.
async fn ask_sink(sink: &Arc<dyn Sink>) -> Result<Vec<String>, Failure> {
    let problem = match timeout(PATIENCE, sink.probe()).await {
        Ok(Ok(unknown)) => return Ok(unknown),
        Ok(Err(cause)) => format!("sink `{}`: {}", sink.name(), cause.fact()),
        Err(_) => format!("sink `{}` did not answer within {PATIENCE:?}", sink.name()),
    };
    Err(Failure::new(Exit::Sink, Problem::new(problem)))
}

async fn ask_source(source: &SourceConfig) -> Result<String, Failure> {
    let client = wiring::source::client(source).await?.trying_once().within(PATIENCE);
    let group = &source.consumer_group;
    match client.list_consumer_groups(&source.logstore).await {
        Ok(groups) if groups.iter().any(|found| found.name == group.as_str()) => {
            Ok(format!("ok (consumer group `{group}` exists)"))
        }
        Ok(_) if source.manage_group => {
            Ok(format!("ok (consumer group `{group}` will be created)"))
        }
        Ok(_) => {
            let message = format!("source `{}`: there is no consumer group `{group}`", source.name);
            let problem = Problem::new(message).help("create it, or set `manage_group = true`");
            Err(Failure::new(Exit::Source, problem))
        }
        Err(cause) => {
            let message = format!("source `{}`: {}", source.name, forwarder_sls::Chain(&cause));
            Err(Failure::new(Exit::Source, Problem::new(message)))
        }
    }
}
