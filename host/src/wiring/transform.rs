//! `plugin` → the pipeline's `Transform`: plugins are found and loaded once, and every compute thread
//! runs a chain of workers of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forwarder_pipeline::{Halt, Outcome, Rejected, Transform, TransformFactory};
use forwarder_plugin::{Engine, EngineOptions, Package, Plugin, PluginOptions, Worker};
use forwarder_record::{Batch, Condition, Pattern};

use crate::config::condition::ConditionConfig;
use crate::config::transform::TransformConfig;
use crate::exit::{Exit, Failure};
use crate::problem::Problem;

/// The loaded chain, from which every thread makes its own.
#[derive(Clone)]
pub struct Chain {
    links: Arc<Vec<Loaded>>,
}

struct Loaded {
    name: Arc<str>,
    plugin: Plugin,
    when: Option<Condition>,
    /// Names of the sources whose logs pass through; empty for all.
    sources: Vec<String>,
}

/// Where compiled plugins are kept, below the state directory.
pub fn cache_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("compiled-plugins")
}

/// Finds, compiles and configures every plugin. Blocks, for seconds where a large one is new.
///
/// # Errors
/// All plugins that cannot be used, at once.
pub fn load(
    transforms: &[TransformConfig],
    folders: &[PathBuf],
    state_dir: &Path,
) -> Result<Chain, Failure> {
    if transforms.is_empty() {
        return Ok(Chain { links: Arc::default() });
    }
    let engine = Engine::new(&EngineOptions { cache_dir: Some(cache_dir(state_dir)) })
        .map_err(|cause| Failure::new(Exit::Plugin, Problem::new(cause.to_string())))?;
    let folders = search_path(folders, state_dir);
    let mut links = Vec::with_capacity(transforms.len());
    let mut problems = Vec::new();
    for transform in transforms {
        match load_one(&engine, transform, &folders) {
            Ok(link) => links.push(link),
            Err(problem) => problems.push(problem.at(&transform.plugin.at)),
        }
    }
    if problems.is_empty() {
        Ok(Chain { links: Arc::new(links) })
    } else {
        Err(Failure { exit: Exit::Plugin, problems })
    }
}

/// The configured folders, then `plugins` here, then `plugins` in the state directory.
fn search_path(folders: &[PathBuf], state_dir: &Path) -> Vec<PathBuf> {
    let usual = [PathBuf::from("plugins"), state_dir.join("plugins")];
    folders.iter().cloned().chain(usual).collect()
}

fn load_one(
    engine: &Engine,
    transform: &TransformConfig,
    folders: &[PathBuf],
) -> Result<Loaded, Problem> {
    let path = find(&transform.plugin.value, folders)?;
    let package = Package::read(&path).map_err(|cause| Problem::new(cause.to_string()))?;
    let plugin = Plugin::load(engine, &transform.name, &package, options(transform))
        .map_err(|cause| Problem::new(cause.to_string()))?;
    Ok(Loaded {
        name: transform.name.as_str().into(),
        plugin,
        when: transform.when.as_ref().map(condition),
        sources: transform.sources.iter().map(|found| found.value.clone()).collect(),
    })
}

/// The file a plugin reference means: a path, or a name with or without `.wasm` in one of the folders.
fn find(reference: &str, folders: &[PathBuf]) -> Result<PathBuf, Problem> {
    let direct = PathBuf::from(reference);
    if direct.is_file() {
        return Ok(direct);
    }
    let is_path = reference.contains('/');
    if !is_path {
        let names = [reference.to_owned(), format!("{reference}.wasm")];
        let candidates = folders.iter().flat_map(|dir| names.iter().map(|name| dir.join(name)));
        if let Some(found) = candidates.into_iter().find(|path| path.is_file()) {
            return Ok(found);
        }
    }
    let problem = Problem::new(format!("there is no plugin `{reference}`"));
    if is_path {
        return Err(problem.help("the path is taken as written, from the current directory"));
    }
    let looked: Vec<_> = folders.iter().map(|dir| format!("`{}`", dir.display())).collect();
    Err(problem.help(format!(
        "looked for a file of that name here and in {}; set `plugin_dirs` or write a path",
        looked.join(", ")
    )))
}

fn options(transform: &TransformConfig) -> PluginOptions {
    PluginOptions {
        config: transform.config.to_string(),
        limits: transform.limits.clone(),
        grants: transform.grants,
        on_error: transform.on_error,
    }
}

/// A checked condition in the words of the log model.
pub fn condition(config: &ConditionConfig) -> Condition {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
    Condition {
        topic: patterns(&config.topic),
        source: patterns(&config.source),
        project: patterns(&config.project),
        logstore: patterns(&config.logstore),
        fields: config.fields.iter().map(|(name, texts)| (name.clone(), patterns(texts))).collect(),
    }
}

impl Chain {
    /// What each compute thread makes its transform with.
    pub fn factory(&self) -> TransformFactory {
        let chain = self.clone();
        Arc::new(move || {
            let workers = chain.links.iter().map(|link| link.plugin.worker()).collect();
            Box::new(ThreadChain { chain: chain.clone(), workers })
        })
    }
}

/// The chain of one thread: a worker per link, in the same order.
struct ThreadChain {
    chain: Chain,
    workers: Vec<Worker>,
}

impl Transform for ThreadChain {
    fn apply(&mut self, batch: &mut Batch) -> Result<Outcome, Halt> {
        let mut whole = Outcome::default();
        for (link, worker) in self.chain.links.iter().zip(&mut self.workers) {
            if !link.takes(batch) {
                continue;
            }
            let seen = match &link.when {
                None => batch.live_rows(),
                Some(when) => batch.rows().filter(|row| when.matches(row)).count(),
            };
            let halt = |halt: forwarder_plugin::Halt| Halt {
                plugin: Arc::clone(&link.name),
                reason: halt.cause.to_string(),
            };
            let outcome = worker.apply(batch, link.when.as_ref()).map_err(halt)?;
            whole.dropped += outcome.dropped;
            whole.emitted += outcome.emitted;
            whole.seen.push((Arc::clone(&link.name), seen));
            whole.rejected.extend(outcome.rejected.into_iter().map(|(row, reason)| Rejected {
                row,
                plugin: Arc::clone(&link.name),
                reason,
            }));
        }
        Ok(whole)
    }
}

impl Loaded {
    fn takes(&self, batch: &Batch) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|name| **name == *batch.origin().source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_a_file_or_a_name_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("audit.wasm");
        std::fs::write(&file, b"").unwrap();
        let folders = [PathBuf::from("/no/such/folder"), dir.path().to_owned()];
        assert_eq!(find(file.to_str().unwrap(), &[]).unwrap(), file);
        assert_eq!(find("audit", &folders).unwrap(), file);
        assert_eq!(find("audit.wasm", &folders).unwrap(), file);
        let problem = find("nope", &folders).unwrap_err().to_string();
        assert!(
            problem.contains("/no/such/folder") && problem.contains("plugin_dirs"),
            "{problem}"
        );
        assert!(find("./audit", &folders).is_err(), "a path is not looked up in folders");
    }
}
