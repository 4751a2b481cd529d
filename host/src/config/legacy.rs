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

/// Where an option of the sample is found here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionMapping {
    /// Same name, same meaning.
    Same,
    /// Read under this name.
    Renamed(&'static str),
    /// Part of this setting.
    PartOf(&'static str),
}

/// All options of the three dictionaries.
pub const OPTIONS: &[(Script, &str, OptionMapping)] = &[
    (Script::Consumer, "cursor_start_time", OptionMapping::Renamed("start")),
    (Script::Consumer, "heartbeat_interval", OptionMapping::Same),
    (Script::Consumer, "data_fetch_interval", OptionMapping::Renamed("idle_poll")),
    (Script::Consumer, "query", OptionMapping::Same),
    (Script::Consumer, "consumer_name", OptionMapping::Renamed("consumer")),
    (Script::Consumer, "consumer_group", OptionMapping::Same),
    (Script::Splunk, "host", OptionMapping::PartOf("url")),
    (Script::Splunk, "port", OptionMapping::PartOf("url")),
    (Script::Splunk, "https", OptionMapping::PartOf("url")),
    (Script::Splunk, "token", OptionMapping::Same),
    (Script::Splunk, "timeout", OptionMapping::Same),
    (Script::Splunk, "ssl_verify", OptionMapping::PartOf("tls.verify")),
    (Script::Splunk, "sourcetype", OptionMapping::Same),
    (Script::Splunk, "index", OptionMapping::Same),
    (Script::Splunk, "source", OptionMapping::Same),
    (Script::Syslog, "host", OptionMapping::PartOf("address")),
    (Script::Syslog, "port", OptionMapping::PartOf("address")),
    (Script::Syslog, "protocol", OptionMapping::PartOf("address")),
    (Script::Syslog, "sep", OptionMapping::Renamed("separator")),
    (Script::Syslog, "cert_path", OptionMapping::PartOf("tls.ca_file")),
    (Script::Syslog, "timeout", OptionMapping::Same),
    (Script::Syslog, "facility", OptionMapping::Same),
    (Script::Syslog, "severity", OptionMapping::Same),
    (Script::Syslog, "hostname", OptionMapping::Same),
    (Script::Syslog, "tag", OptionMapping::Renamed("app_name")),
];

/// Reads renamed options under their new names.
pub(super) fn rename(script: Script, section: &mut Section, cx: &mut Context<'_>) {
    for (of, old, mapping) in OPTIONS {
        if let (true, OptionMapping::Renamed(new)) = (*of == script, mapping) {
            section.rename(old, new, cx);
        }
    }
}
