//! Lines in the forwarder's log, marked there with the plugin's name.
//!
//! Long lines are cut and frequent ones are left out and counted; logging never fails. Each line is a
//! call out of the sandbox: log what is new, not what every row repeats.

use crate::host::{self, Severity};

/// Writes a line for the plugin's author.
pub fn debug(message: impl AsRef<str>) {
    host::log(Severity::Debug, message.as_ref());
}

/// Writes a line worth knowing; nothing to do.
pub fn info(message: impl AsRef<str>) {
    host::log(Severity::Info, message.as_ref());
}

/// Writes a line about something that is not as it should be, with which the plugin copes.
pub fn warn(message: impl AsRef<str>) {
    host::log(Severity::Warn, message.as_ref());
}

/// Writes a line on which someone should act.
pub fn error(message: impl AsRef<str>) {
    host::log(Severity::Error, message.as_ref());
}
