//! Write forwarder plugins in Rust.
//!
//! A plugin is a function that the forwarder runs on every log it pulls, inside a sandbox. This is a
//! whole one:
//!
//! ```
//! use forwarder_guest::{Row, plugin};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     /// Statuses from here on are worth keeping.
//!     least: u16,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { least: 400 }
//!     }
//! }
//!
//! /// Keeps failed requests and hides the client's address.
//! fn failures(row: &mut Row, config: &Config) -> Result<(), std::num::ParseIntError> {
//!     let Some(status) = row.get("status") else { return Ok(()) };
//!     if status.parse::<u16>()? < config.least {
//!         row.drop();
//!     }
//!     row.remove("client_ip");
//!     Ok(())
//! }
//!
//! plugin!(failures);
//!
//! // Its unit test needs no wasm and no forwarder.
//! use forwarder_guest::testing::{self, Log};
//!
//! # fn main() {
//! let outcome = testing::run(failures, r#"{"least": 500}"#, [
//!     Log::new([("status", "404")]),
//!     Log::new([("status", "503"), ("client_ip", "192.0.2.1")]),
//!     Log::new([("status", "?")]),
//! ]);
//! assert_eq!(outcome.dropped, [0]);
//! assert_eq!(outcome.sent[0].event(), serde_json::json!({"status": "503"}));
//! assert_eq!(outcome.rejected[0].reason, "invalid digit found in string");
//! # }
//! ```
//!
//! The function takes [`&mut Row`](Row), one log at a time, or [`&mut Batch`](Batch), a slice of logs as
//! columns, which is faster where many rows are alike; and optionally a config, any type that serde can
//! read, as a value. It returns nothing or a `Result`: an error of a row function puts that row aside as
//! a dead letter, an error of a batch function fails the slice.
//!
//! A plugin has no files, sockets, clock or environment. Its memory may vanish between two slices, so
//! state is a cache at most. [`log`] writes to the forwarder's log; what is printed ends there too.
//!
//! What crosses the border of the sandbox, and what each edit means, is written in `wit/plugin.wit`.

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;

#[doc(hidden)]
pub mod export;
pub mod log;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

mod batch;
mod format;
mod host;
mod outcome;
mod row;
mod row_edits;
mod slice;
mod transform;

pub use batch::Batch;
pub use format::Format;
pub use outcome::Outcome;
pub use row::Row;
pub use slice::Column;
pub use transform::{Bound, Transform};

/// Makes a function the plugin of this crate; see [`Transform`] for its possible shapes.
///
/// Once per crate, at its root; the crate's type must be `cdylib` (and `rlib`, for its tests). In a
/// native build this only checks that the function is a plugin.
///
/// ```
/// fn identity(_: &mut forwarder_guest::Batch) {}
/// forwarder_guest::plugin!(identity);
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// fn identity(text: String) -> String { text }
/// forwarder_guest::plugin!(identity); // not a function of rows or batches
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    ($transform:expr $(,)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::forwarder::plugin::transform::Guest for Component {
                fn configure(config: String) -> Result<(), String> {
                    $crate::export::configure($transform, &config)
                }

                fn process(rows: u32) -> Result<(), String> {
                    $crate::export::process(rows)
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };

        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::export::assert_plugin(&$transform);
    };
}
