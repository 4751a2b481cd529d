//! How to set up each kind of daemon.

mod rsyslog;
mod syslog_ng;

pub(crate) use rsyslog::rsyslog;
pub(crate) use syslog_ng::syslog_ng;
