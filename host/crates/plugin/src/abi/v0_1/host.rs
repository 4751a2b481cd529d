//! `host`: services.

use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmStr};

use super::Cx;
use crate::guest_log::Severity;
use crate::store_data::StoreData;

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by wasmtime, from the guest's number")]
enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// What a line counts besides its text.
const LINE_BYTES: usize = 64;

pub(super) fn define(host: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    host.func_wrap("log", |mut cx: Cx<'_>, (level, message): (Level, WasmStr)| {
        cx.data().look()?;
        let message = message.to_str(&cx)?;
        let bytes = message.len() + LINE_BYTES;
        cx.data().log.line(level.into(), &message);
        drop(message); // borrows the guest's memory
        // During `configure` there is no slice to measure by; the allowance of the log is enough.
        if cx.data().is_in_call() {
            cx.data_mut().call_mut()?.charge_line(bytes)?;
        }
        Ok(())
    })
}
