//! The one door to the forwarder: the functions of the contract, by explicit list.
//!
//! In a plugin they are the component's imports. In a native build they are the stub of
//! [`testing`](crate::testing), so that a plugin's unit tests need no runtime and link no import.

#[cfg(target_family = "wasm")]
mod imports {
    use crate::bindings::forwarder::plugin;
    use crate::format::Format;

    pub(crate) use plugin::batch::{
        cell, column, column_at, json, json_at, keys, row, times, topics,
    };
    pub(crate) use plugin::edits::{
        Format as Wire, drop, emit, json_remove, json_set, keep, nest, nest_at, reject, remove,
        remove_at, rename, route, set, set_all,
    };
    pub(crate) use plugin::host::{Level as Severity, log};

    /// A format as the bindings spell it.
    pub(crate) fn wire(format: Format) -> Wire {
        match format {
            Format::Text => Wire::Text,
            Format::Json => Wire::Json,
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    pub(crate) use crate::format::Format as Wire;
    pub(crate) use crate::testing::stub::{
        Severity, cell, column, column_at, drop, emit, json, json_at, json_remove, json_set, keep,
        keys, log, nest, nest_at, reject, remove, remove_at, rename, route, row, set, set_all,
        times, topics,
    };

    /// A format as the stub spells it, which is as we do.
    pub(crate) fn wire(format: Wire) -> Wire {
        format
    }
}

pub(crate) use imports::*;
