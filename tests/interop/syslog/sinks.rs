//! Sinks that lead to a daemon.

use forwarder_tests::Settings;

use crate::daemon::{Ports, Setup};
use crate::transcript::{Fields, from_json, from_pairs};

/// The host that messages name as their origin.
pub(crate) const HOST: &str = "collector-1";

/// Facility `local3` and severity `notice`, by number.
pub(crate) const PRIORITY: (&str, &str) = ("19", "5");

/// One way to send.
pub(crate) struct Sink {
    /// Name, which the daemon finds in APP-NAME.
    pub(crate) name: &'static str,
    /// Reads what it wrote.
    pub(crate) read: fn(&str) -> Fields,
    address: fn(&Ports) -> String,
    framing: &'static str,
    payload: &'static str,
}

/// Lengths in front, text as JSON, over TCP.
pub(crate) const TCP: Sink = sink("tcp-json", tcp, "octet_counting", "json", from_json);

/// The same over TLS.
pub(crate) const TLS: Sink = sink("tls-json", tls, "octet_counting", "json", from_json);

/// Both transports, both framings, both texts; TLS knows lengths in front only (RFC 5425).
pub(crate) const EVERY: [Sink; 6] = [
    TCP,
    sink("tcp-kv", tcp, "octet_counting", "kv", from_pairs),
    sink("lines-json", lines, "lf", "json", from_json),
    sink("lines-kv", lines, "lf", "kv", from_pairs),
    TLS,
    sink("tls-kv", tls, "octet_counting", "kv", from_pairs),
];

const fn sink(
    name: &'static str,
    address: fn(&Ports) -> String,
    framing: &'static str,
    payload: &'static str,
    read: fn(&str) -> Fields,
) -> Sink {
    Sink { name, read, address, framing, payload }
}

fn tcp(ports: &Ports) -> String {
    format!("tcp://127.0.0.1:{}", ports.counted)
}

fn lines(ports: &Ports) -> String {
    format!("tcp://127.0.0.1:{}", ports.lines)
}

fn tls(ports: &Ports) -> String {
    format!("tls://127.0.0.1:{}", ports.tls)
}

impl Sink {
    /// Adds this sink to the configuration of the forwarder; `more` are further keys in TOML.
    pub(crate) fn add(&self, settings: Settings, daemon: &Setup, more: &str) -> Settings {
        let Self { name, framing, payload, .. } = self;
        let authority = daemon.certificates.authority.display();
        let more = format!(
            "hostname = \"{HOST}\"\napp_name = \"{name}\"\nfacility = \"local3\"\nseverity = \"notice\"\n\
             framing = \"{framing}\"\npayload = \"{payload}\"\ntls = {{ ca_file = \"{authority}\" }}\n{more}"
        );
        settings.syslog(name, &(self.address)(&daemon.ports), &more)
    }
}
