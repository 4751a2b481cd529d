//! `plugin` → the pipeline's `Transform`: each plugin is found and loaded once, and every compute thread runs a
//! chain of workers of its own.
//!
//! Plugins are loaded side by side while the rest of the program starts. A source joins its group when the
//! plugins that its logs pass through are loaded; one whose plugin is slow to compile, or refused, keeps no
//! other source waiting.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forwarder_pipeline::{
    Halt, MatchWatch, Matcher, Rejected, Transform, TransformFactory, TransformReport,
};
use forwarder_plugin::{
    CompilerProcess, Engine, EngineOptions, HaltCause, Package, Plugin, PluginOptions, Worker,
};
use forwarder_record::{Batch, Condition, Row};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::transform::TransformConfig;
use crate::exit::{Exit, Failure};
use crate::problem::Problem;

/// The command of this program that compiles a plugin, for [`CompilerProcess`].
pub const COMPILE_PLUGIN: &str = "compile-plugin";

/// How long loading may take before the log says that a source waits for it.
const USUAL: Duration = Duration::from_secs(1);

/// How long a stop waits for plugins that are being loaded; their compilers are ended first.
const STOP: Duration = Duration::from_secs(1);

/// The chain, from which every thread makes its own. Its plugins may still be loading.
#[derive(Clone)]
pub struct Chain {
    steps: Arc<[ChainStep]>,
}

struct ChainStep {
    name: Arc<str>,
    when: Option<When>,
    /// Whether the plugin changes anything; not there if it is not loaded or cannot.
    changes: OnceLock<MatchWatch>,
    /// Names of the sources whose logs pass through; empty for all.
    sources: Vec<String>,
    plugin: watch::Sender<PluginState>,
}

/// How far a plugin is.
#[derive(Clone)]
enum PluginState {
    Loading,
    Ready(Plugin),
    Refused(Problem),
}

/// Plugins that are being loaded.
pub struct Loading {
    compiler: Arc<CompilerProcess>,
    tasks: JoinSet<()>,
    chain: Chain,
}

/// Which rows enter the plugin.
struct When {
    condition: Condition,
    watch: MatchWatch,
}

/// Where compiled plugins are kept, below the state directory.
pub fn cache_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("compiled-plugins")
}

/// Begins to find, compile and configure every plugin. Must be called on a runtime.
///
/// # Errors
/// The machine cannot run plugins.
pub fn load(
    transforms: &[TransformConfig],
    folders: &[PathBuf],
    state_dir: &Path,
) -> Result<(Chain, Loading), Failure> {
    let chain = Chain { steps: transforms.iter().map(ChainStep::new).collect() };
    // This very program, also after its file was replaced by another version.
    let compiler = CompilerProcess::new("/proc/self/exe".into(), vec![COMPILE_PLUGIN.into()]);
    let compiler = Arc::new(compiler);
    let mut tasks = JoinSet::new();
    if !transforms.is_empty() {
        let cache_dir = Some(cache_dir(state_dir));
        let compiler = Arc::clone(&compiler);
        let engine = Engine::new(&EngineOptions { cache_dir, compiler: Some(compiler) })
            .map_err(|cause| Failure::new(Exit::Plugin, Problem::new(cause.to_string())))?;
        let folders: Arc<[PathBuf]> = search_path(folders, state_dir).into();
        for (index, transform) in transforms.iter().enumerate() {
            let (engine, folders) = (engine.clone(), Arc::clone(&folders));
            let (transform, chain) = (transform.clone(), chain.clone());
            tasks.spawn_blocking(move || {
                let state = match load_one(&engine, &transform, &folders) {
                    Ok(plugin) => PluginState::Ready(plugin),
                    Err(problem) => PluginState::Refused(problem.at(&transform.plugin.at)),
                };
                if let Some(step) = chain.steps.get(index) {
                    step.set(state);
                }
            });
        }
    }
    let loading = Loading { compiler, tasks, chain: chain.clone() };
    Ok((chain, loading))
}

impl Loading {
    /// Waits for all plugins.
    ///
    /// # Errors
    /// All plugins that cannot be used, at once.
    pub async fn finished(mut self) -> Result<(), Failure> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|cause| Failure::internal("loading a plugin ended in a bug", cause))?;
        }
        refused(self.chain.steps.iter())
    }

    /// Ends what is still being compiled, and waits for it, though not for a guest that does not end.
    pub async fn stop(mut self) {
        self.compiler.stop();
        let _ = timeout(STOP, async { while self.tasks.join_next().await.is_some() {} }).await;
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
) -> Result<Plugin, Problem> {
    let path = find(&transform.plugin.value, folders)?;
    let package = Package::read(&path).map_err(|cause| Problem::new(cause.to_string()))?;
    Plugin::load(engine, &transform.name, &package, options(transform))
        .map_err(|cause| Problem::new(cause.to_string()))
}

/// The problems of those that were refused, as one failure.
fn refused<'a>(steps: impl Iterator<Item = &'a ChainStep>) -> Result<(), Failure> {
    let problem = |step: &ChainStep| match &*step.plugin.borrow() {
        PluginState::Refused(problem) => Some(problem.clone()),
        PluginState::Loading | PluginState::Ready(_) => None,
    };
    let problems: Vec<_> = steps.filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Plugin, problems }) }
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
    if direct.exists() {
        let problem = Problem::new(format!("plugin `{reference}` is not a file"));
        return Err(problem.help("name the component itself, a file that ends with `.wasm`"));
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

impl Chain {
    /// What each compute thread makes its transform with.
    pub fn factory(&self) -> TransformFactory {
        let chain = self.clone();
        Arc::new(move || {
            let workers = chain.steps.iter().map(|_| None).collect();
            Box::new(ThreadChain { chain: chain.clone(), workers })
        })
    }

    /// Waits until every plugin that a source's logs pass through is loaded.
    ///
    /// # Errors
    /// Those of them that cannot be used, all at once.
    pub async fn ready_for(&self, source: &str) -> Result<(), Failure> {
        let concerned = || self.steps.iter().filter(|step| step.takes(source));
        for step in concerned() {
            let is_settled = |state: &PluginState| !matches!(state, PluginState::Loading);
            let mut state = step.plugin.subscribe();
            if timeout(USUAL, state.wait_for(is_settled)).await.is_err() {
                tracing::info!(source, plugin = %step.name, "waiting until the plugin is compiled");
                // An error would say that the sender is gone, which the chain holds.
                let _ = state.wait_for(is_settled).await;
            }
        }
        refused(concerned())
    }
}

/// The chain of one thread: a worker per step, in the same order, made when its plugin is first needed.
struct ThreadChain {
    chain: Chain,
    workers: Vec<Option<Worker>>,
}

impl Transform for ThreadChain {
    fn apply(
        &mut self,
        batch: &mut Batch,
        bears: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<TransformReport>, Halt> {
        let mut whole = TransformReport::default();
        for (step, worker) in self.chain.steps.iter().zip(&mut self.workers) {
            if !step.takes(&batch.origin().source) {
                continue;
            }
            let worker = match worker {
                Some(worker) => worker,
                None => worker.insert(step.worker()?),
            };
            let seen = match &step.when {
                None => batch.live_rows(),
                Some(when) => when.matching(batch),
            };
            let changes = step.changes.get();
            let counts = changes.is_some_and(MatchWatch::is_counting);
            let topics = if counts { step.topics(batch) } else { Vec::new() };
            let halt =
                |halt: forwarder_plugin::Halt| step.halt(halt.cause.to_string(), halt.retry_in);
            let outcome = match worker.apply(batch, step.condition(), bears) {
                Err(forwarder_plugin::Halt { cause: HaltCause::TooLarge, .. }) => return Ok(None),
                other => other.map_err(halt)?,
            };
            if let Some(changes) = changes {
                changes.note(outcome.changed, topics.iter().map(String::as_str));
            }
            whole.dropped += outcome.dropped;
            whole.emitted += outcome.emitted;
            whole.seen.push((Arc::clone(&step.name), seen));
            whole.rejected.extend(outcome.rejected.into_iter().map(|(row, reason)| Rejected {
                row,
                plugin: Arc::clone(&step.name),
                reason,
            }));
        }
        Ok(Some(whole))
    }
}

impl When {
    fn new(condition: Condition, plugin: &str) -> Self {
        Self { condition, watch: MatchWatch::new(Matcher::When, plugin) }
    }

    /// How many rows of a batch fulfil the condition.
    fn matching(&self, batch: &Batch) -> usize {
        let matching = batch.rows().filter(|row| self.condition.matches(row)).count();
        self.watch.note(matching > 0, batch.rows().map(|row| row.topic()));
        matching
    }
}

impl ChainStep {
    fn new(transform: &TransformConfig) -> Self {
        let when = |when: &Condition| When::new(when.clone(), &transform.name);
        Self {
            name: transform.name.as_str().into(),
            when: transform.when.as_ref().map(when),
            changes: OnceLock::new(),
            sources: transform.sources.iter().map(|found| found.value.clone()).collect(),
            plugin: watch::Sender::new(PluginState::Loading),
        }
    }

    /// What loading came to.
    fn set(&self, state: PluginState) {
        if let PluginState::Ready(plugin) = &state
            && plugin.imports().can_edit()
        {
            self.changes.get_or_init(|| MatchWatch::new(Matcher::Plugin, &*self.name));
        }
        self.plugin.send_replace(state);
    }

    fn condition(&self) -> Option<&Condition> {
        self.when.as_ref().map(|when| &when.condition)
    }

    /// The topics of the rows that enter the plugin, one per row: it may take rows out.
    fn topics(&self, batch: &Batch) -> Vec<String> {
        let enters = |row: &Row<'_>| self.condition().is_none_or(|when| when.matches(row));
        batch.rows().filter(enters).map(|row| row.topic().to_owned()).collect()
    }

    /// Whether the logs of a source pass through.
    fn takes(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|name| name == source)
    }

    fn worker(&self) -> Result<Worker, Halt> {
        match &*self.plugin.borrow() {
            PluginState::Ready(plugin) => Ok(plugin.worker()),
            // No source is pulled from before its plugins are loaded. Should that ever change, nothing may
            // pass by a plugin.
            PluginState::Loading | PluginState::Refused(_) => {
                Err(self.halt("is not loaded".to_owned(), None))
            }
        }
    }

    fn halt(&self, reason: String, retry_in: Option<Duration>) -> Halt {
        Halt { plugin: Arc::clone(&self.name), reason, retry_in }
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
