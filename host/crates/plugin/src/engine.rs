//! The engine that all plugins of the process share, with its cache, its compiler, and the clock that interrupts
//! guests.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::component::Component;

use crate::cache::Cache;
use crate::compile::{Compiler, InPlace};
use crate::package::Digest;
use crate::settings;

/// Time between two ticks of the engine's clock; a guest that must stop does so at the next one.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The stack that a thread must have to call a [`crate::Worker`]: the guest's share, and the host functions
/// that it calls from the depth of it.
pub const MIN_THREAD_STACK: usize = 2 << 20;

/// What the engine needs to know.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Where compiled code is kept; without it every start compiles from scratch (0.2 CPU seconds for a Rust
    /// plugin, 2 to 11 for JavaScript and Python). The directory is made, for this user alone.
    pub cache_dir: Option<PathBuf>,
    /// What compiles components that are not in the cache; without it they are compiled in this process,
    /// and nothing bounds what that takes.
    pub compiler: Option<Arc<dyn Compiler>>,
}

/// A lock per component.
type Turns = Mutex<HashMap<Digest, Arc<Mutex<()>>>>;

/// Compiles and runs plugins. Cheap to clone; one per process is enough.
#[derive(Clone)]
pub struct Engine {
    wasm: wasmtime::Engine,
    cache: Option<Arc<Cache>>,
    compiler: Arc<dyn Compiler>,
    turns: Arc<Turns>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// The engine could not be set up. Nothing that a plugin did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// wasmtime refused its configuration: this machine lacks something it relies on.
    #[error("the WebAssembly engine does not run on this machine: {0}")]
    Unsupported(String),
    /// The thread that interrupts guests could not be started.
    #[error("no thread for the plugin clock: {0}")]
    Clock(#[source] std::io::Error),
}

impl Engine {
    /// Sets up the engine and starts its clock, a thread that ends with the last clone of the engine.
    ///
    /// A cache directory that cannot be used is reported in the log and done without: it costs time only.
    ///
    /// # Errors
    ///
    /// The machine does not support the engine, or has no thread left.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let wasm = wasmtime::Engine::new(&settings::config())
            .map_err(|error| EngineError::Unsupported(format!("{error:#}")))?;
        start_clock(&wasm).map_err(EngineError::Clock)?;
        let cache = options.cache_dir.as_deref().and_then(|dir| match Cache::open(dir) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!(%error, "compiled plugins are not cached; every start compiles them again");
                None
            }
        });
        let compiler = options.compiler.clone().unwrap_or_else(|| Arc::new(InPlace));
        Ok(Self { wasm, cache, compiler, turns: Arc::default() })
    }

    pub(crate) const fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_deref()
    }

    /// Held while a component is looked up and compiled: where several plugins are made of the same one and
    /// load side by side, the first compiles it and the others find it in the cache.
    pub(crate) fn turn(&self, digest: Digest) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(digest).or_default())
    }

    pub(crate) fn compiler(&self) -> &dyn Compiler {
        &*self.compiler
    }

    /// Makes a component of native code that our compiler wrote, just now or for the cache.
    pub(crate) fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        #[expect(unsafe_code, reason = "compiled code can only be loaded by trusting it")]
        // SAFETY: these bytes are what this program's compiler wrote: they come from its pipe, or from the
        // cache, which returns nothing whose keyed digest is wrong. No other user can change them, they are in
        // our memory. wasmtime itself compares version, settings and CPU features with what it finds inside.
        unsafe {
            Component::deserialize(&self.wasm, code)
        }
    }
}

/// Ticks until the engine is gone.
fn start_clock(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("plugin-clock".into()).spawn(tick).map(drop)
}
