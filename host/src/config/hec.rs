//! `type = "hec"`: Splunk's HTTP Event Collector.

use std::time::Duration;

use forwarder_sinks::hec::{
    ClientSettings, EncoderSettings, Endpoint, EventFormat, HecSettings, SuccessReply, Token,
    TokenSource,
};

use super::address::{self, HTTP, Schemes};
use super::legacy::{self, Script};
use super::raw::{Context, Found, Section};
use super::timeouts::Timeouts;
use super::{template, tls};

/// Reads the settings of a HEC sink.
pub(super) fn check(section: &mut Section, cx: &mut Context<'_>) -> Option<HecSettings> {
    legacy::rename(Script::Splunk, section, cx);
    let allow_plaintext = section.flag("allow_plaintext", cx).is_some_and(|found| found.value);
    let endpoint = endpoint(section, allow_plaintext, cx);
    if !section.has("token") {
        let help = "add `token = \"${NAME_OF_A_VARIABLE}\"` or `token = \"file:/path/to/it\"`";
        cx.error(&section.at_key("token"), "`token` is missing", help);
    }
    let token = section.secret("token", cx).and_then(|found| {
        let token = Token::new(found.value.expose());
        let token = token
            .map_err(|reason| cx.error(&found.at, reason.to_string(), "copy it from Splunk"))
            .ok()?;
        // What the file holds was checked; the sink reads it again whenever it changes.
        Some(match found.value.file() {
            Some(path) => TokenSource::File(path.to_path_buf()),
            None => TokenSource::Fixed(token),
        })
    });
    // An empty string means "not set", as in the vendor's sample: Splunk would take it at its word.
    let mut metadata = |key| template::read(section, key, cx).unwrap_or_default();
    let index = metadata("index");
    let source = metadata("source");
    let sourcetype = metadata("sourcetype");
    let host = metadata("event_host");
    let time_field = template::time_field(section, cx);
    let formats = [("object", EventFormat::Object), ("json_string", EventFormat::JsonString)];
    let event_format = section.choice("event_format", &formats, cx);
    let replies = [("hec", SuccessReply::Hec), ("ok", SuccessReply::Ok)];
    let success_reply = section.choice("success_reply", &replies, cx);
    let event_id = section.flag("event_id", cx).is_none_or(|found| found.value);
    let gzip = section.flag("gzip", cx).is_none_or(|found| found.value);
    let timeouts = Timeouts::read(section, DEFAULT_TIMEOUT, cx);
    let tls = tls::check(section, cx);
    Some(HecSettings {
        events: EncoderSettings {
            host,
            source,
            sourcetype,
            index,
            time_field,
            event_format: event_format.map_or(EventFormat::Object, |found| found.value),
            event_id,
            gzip,
        },
        collector: ClientSettings {
            endpoint: endpoint?,
            token: token?,
            success: success_reply.map_or(SuccessReply::Hec, |found| found.value),
            tls,
            connect_timeout: timeouts.connect,
            timeout: timeouts.request,
        },
    })
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads `url`, or the sample's `host`, `port` and `https`.
fn endpoint(
    section: &mut Section,
    allow_plaintext: bool,
    cx: &mut Context<'_>,
) -> Option<Endpoint> {
    let in_parts = section.has("host") && !section.has("url");
    let (key, found) = if in_parts {
        ("https", url_of_parts(section, cx)?)
    } else {
        for part in ["host", "port", "https"] {
            let message = format!("`{part}` is part of `url` here");
            section.refuse(part, &message, "write `url = \"https://HOST:PORT\"`", cx);
        }
        ("url", section.required("url", cx)?)
    };
    match Endpoint::parse(&found.value) {
        Ok(endpoint) => {
            let (origin, exposed) = (endpoint.origin(), endpoint.is_exposed());
            let authority = origin.split_once("://").map_or(origin.as_str(), |(_, rest)| rest);
            let allowed = !exposed
                || address::plaintext_allowed(key, authority, &found.at, allow_plaintext, HTTP, cx);
            allowed.then_some(endpoint)
        }
        Err(reason) => {
            let message = format!("`url` is not the address of an event collector: {reason}");
            cx.error(&found.at, message, HELP);
            None
        }
    }
}

const HELP: &str = "write `https://HOST:PORT`, or the whole address as Splunk shows it, ending in `/services/collector/event`";

/// The URL that the sample's `host`, `port` and `https` mean.
fn url_of_parts(section: &mut Section, cx: &mut Context<'_>) -> Option<Found<String>> {
    let host = section.text("host", cx)?;
    let port = section.whole::<u16>("port", 1..=65_535, cx);
    let https = section.flag("https", cx);
    if https.is_none() {
        let message =
            "`https` is not written, so this sends https; the vendor's sample would send http";
        let help =
            "write `url = \"https://HOST:PORT\"`, or `https = false` if that is what Splunk speaks";
        cx.notice(&host.at, message, help);
    }
    let Schemes { tls, plain } = HTTP;
    let scheme = if https.is_some_and(|found| !found.value) { plain } else { tls };
    let parsed = match address::parse(&host.value, HTTP) {
        Ok(parsed) if parsed.port.is_none() && !host.value.contains("://") => parsed,
        _ => {
            let help = "write the name or address alone, or `url = \"https://HOST:PORT\"` instead";
            cx.error(&host.at, "`host` is not the name of a host", help);
            return None;
        }
    };
    let port = port.map_or_else(String::new, |port| format!(":{}", port.value));
    Some(Found { value: format!("{scheme}://{}{port}", parsed.authority()), at: host.at })
}
