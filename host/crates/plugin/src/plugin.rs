//! A loaded plugin: checked, compiled, linked, and configured once, so that whatever is wrong with it shows at
//! the start and not at the first log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime::component::{Component, InstancePre};

use crate::abi;
use crate::breaker::Breaker;
use crate::capability::{self, Imports, IncompatibleComponent};
use crate::compile::{CompileError, CompileLimits, MAX_REASON, guarded};
use crate::engine::Engine;
use crate::fault::{Fault, shortened};
use crate::fault_log::FaultLog;
use crate::guest_log::GuestLog;
use crate::instance::{Instance, InstanceTemplate};
use crate::limits::Limits;
use crate::options::{OnError, PluginOptions};
use crate::package::{Digest, Package};
use crate::store_data::StoreData;
use crate::survey::{Cost, Refusal, survey};
use crate::wasi;

/// A plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a component that we can compile.
    #[error(
        "plugin `{plugin}` is not a usable WebAssembly component: {reason}{}",
        malformed_hint(reason)
    )]
    Malformed {
        /// Name of the plugin.
        plugin: String,
        /// The compiler's words.
        reason: String,
    },
    /// An instance of it would take more than a plugin may have. It was not compiled.
    #[error("plugin `{plugin}` is not loaded: {reason}")]
    TooCostly {
        /// Name of the plugin.
        plugin: String,
        /// What, and how much.
        reason: String,
    },
    /// Compiling it took more than it may, or the compiler is not available.
    #[error("plugin `{plugin}` is not loaded: {source}")]
    NotCompiled {
        /// Name of the plugin.
        plugin: String,
        /// Why.
        source: CompileError,
    },
    /// It wants or lacks something that rules it out.
    #[error("plugin `{plugin}` cannot run here: {source}")]
    IncompatibleComponent {
        /// Name of the plugin.
        plugin: String,
        /// What.
        source: IncompatibleComponent,
    },
    /// Its interfaces have the right names and the wrong types.
    #[error(
        "plugin `{plugin}` does not match the contract: {reason}; it may have been built for a newer forwarder"
    )]
    Mismatch {
        /// Name of the plugin.
        plugin: String,
        /// The linker's words.
        reason: String,
    },
    /// It refused its configuration, or failed before its first slice.
    #[error("plugin `{plugin}` did not accept its configuration: {fault}")]
    NotConfigured {
        /// Name of the plugin.
        plugin: String,
        /// What happened.
        fault: Fault,
    },
}

fn malformed_hint(reason: &str) -> &'static str {
    if reason.contains("wasm module") || reason.contains("core module") {
        "; this is a core module, build for `wasm32-wasip2` or run `wasm-tools component new` on it"
    } else {
        ""
    }
}

/// A plugin, ready to run. Cheap to clone; each compute thread takes a [`Worker`] of its own.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) template: InstanceTemplate,
    pub(crate) on_error: OnError,
    pub(crate) breaker: Breaker,
    pub(crate) fault_log: FaultLog,
    digest: Digest,
    imports: Imports,
    /// The instance that was made to try out the configuration; the first worker takes it.
    first: Mutex<Option<Instance>>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.shared.name)
            .field("digest", &self.shared.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Compiles a component or takes its code from the engine's cache, checks what it imports and exports,
    /// and configures a first instance. Blocks, for seconds if a large component is new.
    ///
    /// `name` is what logs, metrics and errors call the plugin.
    ///
    /// # Errors
    ///
    /// The component is not one, asks for what no plugin is given, or refuses its configuration.
    pub fn load(
        engine: &Engine,
        name: &str,
        package: &Package,
        options: PluginOptions,
    ) -> Result<Self, LoadError> {
        let began = Instant::now();
        let loaded = Compiled::get(engine, name, package, &options.limits)?;
        let Compiled { cost, imports, prepared, cached } = loaded;
        let config = if options.config.is_empty() { "{}".to_owned() } else { options.config };
        let template = InstanceTemplate {
            prepared,
            config,
            fixed_memory: cost.host_bytes(),
            limits: options.limits,
            grants: options.grants,
            log: Arc::new(GuestLog::new(name)),
        };
        let first = Instance::new(&template).map_err(|fault| {
            // One that is content with another configuration need not be compiled again for that.
            if let (false, Some(cache)) = (matches!(fault, Fault::Refused(_)), engine.cache()) {
                cache.remove(engine.wasm(), package.digest());
            }
            LoadError::NotConfigured { plugin: name.to_owned(), fault }
        })?;
        tracing::info!(
            plugin = name,
            digest = %package.digest(),
            contract = imports.contract,
            cached,
            took = ?began.elapsed(),
            "plugin loaded"
        );
        let shared = Shared {
            name: name.to_owned(),
            template,
            on_error: options.on_error,
            breaker: Breaker::new(name),
            fault_log: FaultLog::default(),
            digest: package.digest(),
            imports,
            first: Mutex::new(Some(first)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Compiles a component and says what it imports and what it was built for, without running it.
    ///
    /// # Errors
    ///
    /// As for [`Plugin::load`], except that nothing is configured.
    pub fn inspect(engine: &Engine, name: &str, package: &Package) -> Result<Imports, LoadError> {
        Compiled::get(engine, name, package, &Limits::default()).map(|compiled| compiled.imports)
    }

    /// What the plugin is called.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Identity of the component.
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// What the component imports, and the contract it was built for.
    pub fn imports(&self) -> &Imports {
        &self.shared.imports
    }
}

impl Shared {
    /// A configured instance.
    pub(crate) fn instance(&self) -> Result<Instance, Fault> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.map_or_else(|| Instance::new(&self.template), Ok)
    }
}

/// A component that is known to fit, and not yet configured.
struct Compiled {
    cost: Cost,
    imports: Imports,
    prepared: InstancePre<StoreData>,
    cached: bool,
}

impl Compiled {
    /// Counts what a component costs, then takes its code from the cache or has it compiled, then links it. What
    /// is refused at any step leaves nothing in the cache.
    fn get(
        engine: &Engine,
        name: &str,
        package: &Package,
        limits: &Limits,
    ) -> Result<Self, LoadError> {
        let cost = survey(package.bytes())
            .and_then(|cost| cost.check(limits.memory).map(|()| cost))
            .map_err(|refusal| refused(name, refusal))?;
        let digest = package.digest();
        let turn = engine.turn(digest);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = cached(engine, digest) {
            let (imports, prepared) = link(engine, name, &component)?;
            return Ok(Self { cost, imports, prepared, cached: true });
        }
        let bytes = package.bytes();
        let bounds = CompileLimits::of(bytes.len(), limits.compile_cpu, limits.compile_memory);
        let code = engine.compiler().compile(bytes, &bounds).map_err(|error| {
            let plugin = name.to_owned();
            match error {
                CompileError::Refused(reason) => LoadError::Malformed { plugin, reason },
                source => LoadError::NotCompiled { plugin, source },
            }
        })?;
        let component = guarded(|| engine.deserialize(&code))
            .map_err(|reason| LoadError::Malformed { plugin: name.to_owned(), reason })?;
        let (imports, prepared) = link(engine, name, &component)?;
        if let Some(cache) = engine.cache() {
            cache.store(engine.wasm(), digest, &code);
        }
        Ok(Self { cost, imports, prepared, cached: false })
    }
}

fn refused(name: &str, refusal: Refusal) -> LoadError {
    let plugin = name.to_owned();
    match refusal {
        Refusal::Malformed(reason) => {
            LoadError::Malformed { plugin, reason: shortened(&reason, MAX_REASON) }
        }
        refusal => LoadError::TooCostly { plugin, reason: refusal.to_string() },
    }
}

/// A component that was compiled before, for the same engine on the same machine.
fn cached(engine: &Engine, digest: Digest) -> Option<Component> {
    let code = engine.cache()?.load(engine.wasm(), digest)?;
    match guarded(|| engine.deserialize(&code)) {
        Ok(component) => Some(component),
        Err(reason) => {
            tracing::warn!(%digest, reason, "cached code does not fit; compiling again");
            None
        }
    }
}

fn link(
    engine: &Engine,
    name: &str,
    component: &Component,
) -> Result<(Imports, InstancePre<StoreData>), LoadError> {
    let imports = capability::inspect(engine.wasm(), component)
        .map_err(|source| LoadError::IncompatibleComponent { plugin: name.to_owned(), source })?;
    let prepared = guarded(|| {
        let mut linker = abi::linker(engine.wasm())?;
        wasi::define(&mut linker, component)?;
        linker.instantiate_pre(component)
    })
    .map_err(|reason| LoadError::Mismatch { plugin: name.to_owned(), reason })?;
    Ok((imports, prepared))
}
