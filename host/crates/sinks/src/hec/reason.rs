//! Why Splunk did not take a body: a word for metrics, and what a person can do about it.

/// One line of advice.
pub(super) struct Reason {
    /// For metric labels and dead letters.
    pub(super) label: &'static str,
    /// What to do.
    pub(super) help: &'static str,
}

const fn reason(label: &'static str, help: &'static str) -> Reason {
    Reason { label, help }
}

const BUSY: &str = "Splunk has no room just now; add indexers or lower the load if this lasts";

/// 2xx: not for showing.
pub(super) static ACCEPTED: Reason = reason("accepted", "");
/// 2xx without a HEC reply of code 0: something answered, and nothing says that it has the events.
pub(super) static NO_CONFIRMATION: Reason = reason(
    "no_confirmation",
    "only a HEC reply with code 0 counts as delivered; check that `url` leads to the collector and that no proxy \
     answers in its place; for a collector that answers with an empty body or `OK`, set `success_reply = \"ok\"`",
);
/// The same where a plain 2xx is a confirmation.
pub(super) static NO_PLAIN_OK: Reason = reason(
    "no_confirmation",
    "with `success_reply = \"ok\"` an empty body, `OK`, or a HEC reply with code 0 counts as delivered, and this is \
     none of them; check that `url` leads to the collector and that no proxy answers in its place",
);
/// 413 from Splunk or from a proxy before it.
pub(super) static TOO_LARGE: Reason =
    reason("too_large", "lower `max_body`, or raise max_content_length in Splunk's limits.conf");
/// Codes 1 and 22.
pub(super) static TOKEN_DISABLED: Reason = reason(
    "token_disabled",
    "enable the token in Splunk under Settings > Data inputs > HTTP Event Collector",
);
/// Codes 2 and 3: Splunk saw no usable Authorization header.
pub(super) static TOKEN_MALFORMED: Reason = reason(
    "token_malformed",
    "check that proxies pass the Authorization header on and that `token` is the bare token",
);
/// Codes 4 and 21.
pub(super) static TOKEN_REFUSED: Reason =
    reason("token_refused", "put a token that exists in Splunk into the sink's `token`");
/// Code 5, though we never send an empty body.
pub(super) static NO_DATA: Reason = reason(
    "no_data",
    "something between us and Splunk drops request bodies; `gzip = false` may help",
);
/// Code 6.
pub(super) static INVALID_FORMAT: Reason =
    reason("invalid_format", "the event may be larger than Splunk's maxEventSize");
/// Code 7. Where the index is configured, every event fares the same.
pub(super) static INCORRECT_INDEX: Reason = reason(
    "incorrect_index",
    "create the index in Splunk, allow it for this token, or change the sink's `index`",
);
/// Code 8.
pub(super) static SERVER_ERROR: Reason = reason("server_error", "see splunkd.log");
/// Code 9, with or without an event number: processing stopped there, nothing is wrong with it.
pub(super) static SERVER_BUSY: Reason = reason("server_busy", BUSY);
/// Code 10.
pub(super) static ACKNOWLEDGEMENT_ON: Reason = reason(
    "acknowledgement_on",
    "the token wants indexer acknowledgement, which this sink does not do; turn it off for the token",
);
/// Code 11, though we send no channel.
pub(super) static INVALID_CHANNEL: Reason =
    reason("invalid_channel", "a proxy seems to add X-Splunk-Request-Channel; remove it there");
/// Codes 12 and 13, though we leave blank rows out.
pub(super) static BLANK_EVENT: Reason = reason("blank_event", "look at the dead letter");
/// Code 14, which answers a query that we never send.
pub(super) static ACKNOWLEDGEMENT_OFF: Reason =
    reason("acknowledgement_off", "check the path of `url`");
/// Code 15.
pub(super) static INVALID_FIELDS: Reason =
    reason("invalid_fields", "look at the dead letter, or set `event_id = false`");
/// Code 16, though we send the token as a header.
pub(super) static QUERY_TOKEN: Reason = reason(
    "query_token",
    "a proxy seems to move the token into the address; let it pass the header on",
);
/// Codes 18 to 20.
pub(super) static UNHEALTHY: Reason = reason("unhealthy", BUSY);
/// Code 23.
pub(super) static SHUTTING_DOWN: Reason = reason("shutting_down", "Splunk is restarting");
/// Codes 26 and 27.
pub(super) static AT_CAPACITY: Reason = reason("at_capacity", BUSY);
/// 429 without a code.
pub(super) static THROTTLED: Reason = reason("throttled", BUSY);
/// A proxy's word, or Splunk's own without a code.
pub(super) static UNAVAILABLE: Reason =
    reason("unavailable", "see the logs of Splunk or of the proxy before it");
/// Redirects, missing paths and web pages: commonly the port of Splunk's web interface.
pub(super) static NOT_HEC: Reason = reason(
    "not_hec",
    "this is not an event collector; `url` should name its host and port, usually 8088",
);
/// Access denied by someone who is not Splunk.
pub(super) static FORBIDDEN: Reason = reason(
    "forbidden",
    "ask for access through the proxy; if only some events are refused, exempt this address from its content filter",
);
/// Any other 4xx.
pub(super) static REFUSED: Reason = reason(
    "refused",
    "look at the proxy before Splunk; if only some events are refused, at its content filter and the dead letters",
);
/// No status that HTTP knows.
pub(super) static UNKNOWN: Reason = reason("unknown_reply", "find out who answers at this address");
