//! `forwarder:plugin@0.1`: three interfaces, one file each.
//!
//! The functions are bound by hand rather than generated: generated bindings take and give owned strings, one
//! allocation per cell. What is here must agree with `wit/`; wasmtime compares the types when a plugin is
//! loaded, and a test does it for the whole world.

mod batch;
mod edits;
mod host;

use wasmtime::component::{Linker, WasmList};
use wasmtime::{Result, StoreContextMut};

use crate::store_data::StoreData;

/// The newest release of the series.
pub(super) const VERSION: &str = "0.1.0";

type Cx<'a> = StoreContextMut<'a, StoreData>;

pub(super) fn define(linker: &mut Linker<StoreData>) -> Result<()> {
    batch::define(&mut linker.instance(&format!("forwarder:plugin/batch@{VERSION}"))?)?;
    edits::define(&mut linker.instance(&format!("forwarder:plugin/edits@{VERSION}"))?)?;
    host::define(&mut linker.instance(&format!("forwarder:plugin/host@{VERSION}"))?)
}

/// Row numbers, copied out of guest memory in one piece.
fn row_numbers(cx: &Cx<'_>, rows: &WasmList<u32>) -> Vec<u32> {
    rows.as_le_slice(cx).iter().map(|&row| u32::from_le(row)).collect()
}
