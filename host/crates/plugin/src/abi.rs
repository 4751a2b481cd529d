//! The contract as the host serves it, version by version.
//!
//! A released version of `wit/` is served for as long as plugins of it may exist: it gets a module here that
//! turns its calls into those of the newest (`call.rs`). Within 0.1 functions may be added, so every 0.1.x is
//! one module; a plugin that imports a function we do not have yet does not load.

mod v0_1;

use wasmtime::component::{Instance, Linker, TypedFunc};
use wasmtime::{Engine, Store};

use crate::store_data::StoreData;

/// The interface that a plugin exports, without its version.
pub(crate) const TRANSFORM: &str = "forwarder:plugin/transform";

/// The interfaces that a plugin may import, without their versions.
pub(crate) const INTERFACES: &[&str] =
    &["forwarder:plugin/batch", "forwarder:plugin/edits", "forwarder:plugin/host"];

/// The newest version served of each compatible series.
pub(crate) const SERVED: &[&str] = &[v0_1::VERSION];

/// Whether plugins of a version of the contract may be given what we have.
pub(crate) fn is_served(version: &str) -> bool {
    version.strip_prefix("0.1.").is_some_and(|patch| patch.bytes().all(|c| c.is_ascii_digit()))
}

/// Everything a plugin may call, except the WASI stubs, which depend on the component.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<StoreData>> {
    let mut linker = Linker::new(engine);
    v0_1::define(&mut linker)?;
    Ok(linker)
}

/// What a guest function may answer: nothing, or why it could not.
type Answer = (Result<(), String>,);

/// The functions of a plugin.
pub(crate) struct Transform {
    process: TypedFunc<(u32,), Answer>,
    configure: TypedFunc<(String,), Answer>,
}

impl Transform {
    /// Finds them in an instance; the names were checked when the component was loaded, the types are now.
    pub(crate) fn find(
        store: &mut Store<StoreData>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        // Looked up by a compatible version, whichever the component was built for.
        let name = format!("{TRANSFORM}@{}", v0_1::VERSION);
        let interface = instance
            .get_export_index(&mut *store, None, &name)
            .ok_or_else(|| wasmtime::Error::msg(format!("no export `{name}`")))?;
        let mut function = |name: &str| {
            instance.get_export_index(&mut *store, Some(&interface), name).ok_or_else(|| {
                wasmtime::Error::msg(format!("no function `{name}` in `{TRANSFORM}`"))
            })
        };
        let (process, configure) = (function("process")?, function("configure")?);
        Ok(Self {
            process: instance.get_typed_func(&mut *store, process)?,
            configure: instance.get_typed_func(&mut *store, configure)?,
        })
    }

    pub(crate) fn configure(
        &self,
        store: &mut Store<StoreData>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        self.configure.call(store, (config.to_owned(),)).map(|(answer,)| answer)
    }

    pub(crate) fn process(
        &self,
        store: &mut Store<StoreData>,
        rows: u32,
    ) -> wasmtime::Result<Result<(), String>> {
        self.process.call(store, (rows,)).map(|(answer,)| answer)
    }
}
