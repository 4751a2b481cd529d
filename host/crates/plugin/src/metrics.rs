//! Every metric of this crate. Names are an interface: dashboards and alerts are built on them.

use std::time::Duration;

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::fault::Fault;

/// Calls of `process`, by `plugin` and `outcome` (`ok`, or the kind of fault).
pub const CALLS: &str = "forwarder_plugin_calls_total";
/// CPU time of calls of `process`, by `plugin`.
pub(crate) const CALL_SECONDS: &str = "forwarder_plugin_call_seconds";
/// Instances thrown away, by `plugin` and `reason` (`fault`, `memory`).
pub(crate) const INSTANCES_RETIRED: &str = "forwarder_plugin_instances_retired_total";
/// Rows that a plugin dropped on purpose, by `plugin`.
pub(crate) const ROWS_DROPPED: &str = "forwarder_plugin_rows_dropped_total";
/// Rows that a plugin refused or was at fault for, to be dead-lettered, by `plugin`.
pub(crate) const ROWS_REJECTED: &str = "forwarder_plugin_rows_rejected_total";
/// Rows that a plugin added, by `plugin`.
pub(crate) const ROWS_EMITTED: &str = "forwarder_plugin_rows_emitted_total";
/// Rows at fault that continued unchanged or were dropped, as `on_error` says, by `plugin` and `policy`.
pub(crate) const ROWS_AT_FAULT: &str = "forwarder_plugin_rows_at_fault_total";
/// Values that were to be treated as JSON and are not, by `plugin`; they stayed as they were.
pub(crate) const NOT_JSON: &str = "forwarder_plugin_not_json_total";
/// Lines of a plugin that were left out of the log, by `plugin`.
pub(crate) const LOG_LINES_SUPPRESSED: &str = "forwarder_plugin_log_lines_suppressed_total";
/// 1 while a plugin is suspended after repeated faults, by `plugin`.
pub const SUSPENDED: &str = "forwarder_plugin_suspended";

/// Describes the metrics to the recorder. Call once, after the recorder is installed.
pub fn describe() {
    describe_counter!(CALLS, "Calls of `process`, by outcome.");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "CPU time of calls of `process`.");
    describe_counter!(INSTANCES_RETIRED, "Instances thrown away, by reason.");
    describe_counter!(ROWS_DROPPED, "Rows dropped on purpose.");
    describe_counter!(ROWS_REJECTED, "Rows for the dead letters.");
    describe_counter!(ROWS_EMITTED, "Rows added.");
    describe_counter!(ROWS_AT_FAULT, "Rows that failed and were not dead-lettered, by policy.");
    describe_counter!(NOT_JSON, "Values that were to be JSON and are not; they stayed text.");
    describe_gauge!(SUSPENDED, "1 while the plugin is suspended after repeated faults.");
    describe_counter!(LOG_LINES_SUPPRESSED, "Lines of the plugin left out of the log.");
}

pub(crate) fn call(plugin: &str, result: Result<(), &Fault>, cpu: Duration) {
    let outcome = result.map_or_else(Fault::kind, |()| "ok");
    counter!(CALLS, "plugin" => plugin.to_owned(), "outcome" => outcome).increment(1);
    histogram!(CALL_SECONDS, "plugin" => plugin.to_owned()).record(cpu.as_secs_f64());
}

pub(crate) fn suspended(plugin: &str, is: bool) {
    gauge!(SUSPENDED, "plugin" => plugin.to_owned()).set(f64::from(u8::from(is)));
}

pub(crate) fn instance_retired(plugin: &str, reason: &'static str) {
    counter!(INSTANCES_RETIRED, "plugin" => plugin.to_owned(), "reason" => reason).increment(1);
}

pub(crate) fn log_lines_suppressed(plugin: &str, lines: u64) {
    counter!(LOG_LINES_SUPPRESSED, "plugin" => plugin.to_owned()).increment(lines);
}

pub(crate) fn rows_at_fault(plugin: &str, policy: &'static str) {
    counter!(ROWS_AT_FAULT, "plugin" => plugin.to_owned(), "policy" => policy).increment(1);
}

/// Adds to one of the counters that are labelled by plugin only.
pub(crate) fn rows(name: &'static str, plugin: &str, count: usize) {
    if count > 0 {
        counter!(name, "plugin" => plugin.to_owned()).increment(count as u64);
    }
}
