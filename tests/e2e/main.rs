//! The promises of the README and of `docs/`, kept by the real binary over real sockets. One module per theme.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod audit;
mod certificates;
mod check;
mod command_line;
mod compiling;
mod crash;
mod damage;
mod dead_letters;
mod delivery;
mod envelope;
mod fairness;
mod faulty_plugins;
mod file_sink;
mod filtered;
mod hec;
mod hec_refusals;
mod memory;
mod pipes;
mod plugins;
mod positions;
mod printable;
mod proxies;
mod ram_role;
mod refusals;
mod rotation;
mod routes;
mod scale;
mod secrets;
mod seen;
mod several_sinks;
mod sharing;
mod start_and_end;
mod stopping;
mod syslog;
mod unmatched;
