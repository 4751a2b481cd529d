//! Forwards Alibaba Cloud audit logs from SLS to a SIEM through sandboxed WASM plugins.
//!
//! | module | answers |
//! |---|---|
//! | [`cli`] | what can be typed, and what happens then? |
//! | [`printable`] | how is foreign text made fit for a terminal or a log? |
//! | [`problem`] | how is a problem reported to a person? |
//! | [`exit`] | what does the process answer when it ends? |
//! | [`config`] | what is configured, and is it right? |
//! | [`first_use`] | what does `start = "end"` mean after a restart? |
//! | [`instance`] | which of several forwarders on this host are we? |
//! | [`telemetry`], [`log_queue`], [`log_file`], [`console`] | where do log lines and metrics go? |
//! | [`admin`] | what can be asked from outside? |
//! | [`status`] | how does it go, in one line a minute? |
//! | [`dead_letter`] | where do logs go that no sink will ever take? |
//! | [`shutdown`] | how is the process stopped? |
//! | [`state_dir`] | is the folder for our state ours alone? |
//! | [`allocator`] | where do large buffers live? |
//! | [`wiring`] | how do source, plugins, sinks and pipeline meet? |

pub mod admin;
pub mod allocator;
pub mod cli;
pub mod config;
pub mod console;
pub mod dead_letter;
pub mod exit;
pub mod first_use;
pub mod instance;
pub mod log_file;
pub mod log_queue;
pub mod printable;
pub mod problem;
pub mod shutdown;
pub mod state_dir;
pub mod status;
pub mod telemetry;
pub mod wiring;
