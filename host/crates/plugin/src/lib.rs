//! Plugins: WebAssembly components that edit batches of logs, and the sandbox they run in.
//!
//! **What a plugin may do**: during `process`, read the slice in hand by column and ask for edits (`wit/`). With
//! a grant, label rows for routing, and add rows. Write a few lines to the log.
//!
//! **What it may not**: anything else. There is no file, socket, environment, clock or randomness behind its
//! imports, and a component that imports more than it can have does not load ([`IncompatibleComponent`]). What an instance would
//! cost is counted before anything is compiled, and compiling is done by a process of its own
//! ([`CompilerProcess`]). Memory, time and output are bounded per call ([`Limits`]), and everything it hands over
//! is checked.
//!
//! **What happens when it misbehaves**: whatever it asked for in that call is discarded, its instance is
//! replaced, the slice is tried again and cut up until the rows that it cannot cope with are alone, and
//! [`OnError`] decides about exactly those. If they are many, the batch is held ([`Halt`]). Other rows, other
//! plugins and the process continue.
//!
//! An [`Engine`] is shared by the process. [`Plugin::load`] takes a [`Package`] and makes sure that it works;
//! each compute thread then calls a [`Worker`] of its own.

mod abi;
mod breaker;
mod cache;
mod call;
mod capability;
mod compile;
mod compiler_process;
mod engine;
mod fault;
mod fault_log;
mod features;
mod guest_log;
mod halt;
mod instance;
mod limits;
pub mod metrics;
mod options;
mod package;
mod plugin;
mod repair;
mod settings;
mod slot;
mod store_data;
mod survey;
mod wasi;
mod wasi_state;
mod work;
mod worker;

pub use capability::{Imports, IncompatibleComponent};
pub use compile::{CompileError, CompileLimits, Compiler, serve};
pub use compiler_process::CompilerProcess;
pub use engine::{Engine, EngineError, EngineOptions, MIN_THREAD_STACK};
pub use fault::Fault;
pub use halt::{Halt, HaltCause};
pub use limits::Limits;
pub use options::{Grants, OnError, PluginOptions};
pub use package::{Digest, Package, PackageError};
pub use plugin::{LoadError, Plugin};
pub use worker::{Outcome, Worker};
