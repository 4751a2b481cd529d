//! Every option of the vendor's sample scripts, so that moving over is copying values.
//!
//! An option either means the same here, or is read under its new name, or is one part of a new
//! setting (`host`, `port` and `https` make a `url`). What cannot be kept is refused by the check of
//! its section with an error that names the new key. Whole numbers are read as seconds wherever a
//! duration is meant, as the sample writes them.

use super::raw::{Context, Section};

/// Which of the sample's dictionaries an option comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The consumer's options, common to all samples.
    Consumer,
    /// The settings of the Splunk sample.
    Splunk,
    /// The settings of the syslog sample.
    Syslog,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Same name, same meaning.
    Same,
    /// Read under this name.
    Renamed(&'static str),
    /// Part of this setting.
    PartOf(&'static str),
}

/// All options of the three dictionaries.
pub const OPTIONS: &[(Script, &str, Fate)] = &[
    (Script::Consumer, "cursor_start_time", Fate::Renamed("start")),
    (Script::Consumer, "heartbeat_interval", Fate::Same),
    (Script::Consumer, "data_fetch_interval", Fate::Renamed("idle_poll")),
    (Script::Consumer, "query", Fate::Same),
    (Script::Consumer, "consumer_name", Fate::Renamed("consumer")),
    (Script::Consumer, "consumer_group", Fate::Same),
    (Script::Splunk, "host", Fate::PartOf("url")),
    (Script::Splunk, "port", Fate::PartOf("url")),
    (Script::Splunk, "https", Fate::PartOf("url")),
    (Script::Splunk, "token", Fate::Same),
    (Script::Splunk, "timeout", Fate::Same),
    (Script::Splunk, "ssl_verify", Fate::PartOf("tls.verify")),
    (Script::Splunk, "sourcetype", Fate::Same),
    (Script::Splunk, "index", Fate::Same),
    (Script::Splunk, "source", Fate::Same),
    (Script::Syslog, "host", Fate::PartOf("address")),
    (Script::Syslog, "port", Fate::PartOf("address")),
    (Script::Syslog, "protocol", Fate::PartOf("address")),
    (Script::Syslog, "sep", Fate::Renamed("separator")),
    (Script::Syslog, "cert_path", Fate::PartOf("tls.ca_file")),
    (Script::Syslog, "timeout", Fate::Same),
    (Script::Syslog, "facility", Fate::Same),
    (Script::Syslog, "severity", Fate::Same),
    (Script::Syslog, "hostname", Fate::Same),
    (Script::Syslog, "tag", Fate::Renamed("app_name")),
];

/// Reads renamed options under their new names.
pub(super) fn rename(script: Script, section: &mut Section, cx: &mut Context<'_>) {
    for (of, old, fate) in OPTIONS {
        if let (true, Fate::Renamed(new)) = (*of == script, fate) {
            section.rename(old, new, cx);
        }
    }
}
