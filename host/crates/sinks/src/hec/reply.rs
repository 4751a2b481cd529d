//! Splunk's answer to a posted body, and the one table that says what each answer means for the rows.
//!
//! Splunk answers with a JSON object that holds a `code`; proxies, load balancers and wrong addresses
//! answer with whatever they like, and then the HTTP status decides. Codes 0 to 27 are those of Splunk's
//! own reference. What was not foreseen is held, never dropped.

use std::time::Duration;

use forwarder_connector::{Cause, Verdict};
use serde_json::Value;

use super::reason::{self, Reason};
use crate::message::excerpt;

/// How much of a reply's text is worth repeating to a person.
const TEXT_BYTES: usize = 200;

/// Which answers count as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SuccessReply {
    /// A HEC reply with code 0, as Splunk gives it.
    #[default]
    Hec,
    /// That, or a 2xx whose body is empty or the word `OK`: OpenTelemetry collectors up to 0.70 answer so, and
    /// gateways that queue events for a collector.
    Ok,
}

/// What Splunk, or what answered in its place, said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Splunk's own code, if the body was a HEC reply.
    pub code: Option<u16>,
    /// The first words of the reply: Splunk's `text`, or of a foreign body.
    pub text: String,
    /// Position from 0 of the event at which Splunk stopped. Whether those before it were kept is not
    /// dependable, so it is only ever used to single that event out.
    pub invalid_event: Option<usize>,
    /// How long the answering side asks us to wait, at most five minutes.
    pub retry_after: Option<Duration>,
    /// Number under which an indexer would acknowledge the request, for tokens that have that on.
    pub ack_id: Option<u64>,
    /// The body was a web page: this is not an event collector.
    pub web_page: bool,
    /// The body was empty, or the word `OK` in capital or small letters.
    pub plain_ok: bool,
}

impl Reply {
    /// Reads a reply. `retry_after` is the header as it came; `now` is what an HTTP date in it is
    /// measured from. Any bytes are acceptable as a body.
    pub fn parse(
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
        now: jiff::Timestamp,
    ) -> Self {
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, now));
        let text = String::from_utf8_lossy(body);
        let reply = Self { status, retry_after, ..Self::default() };
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(said)) if said.contains_key("code") => {
                let number = |key| said.get(key).and_then(Value::as_u64);
                Self {
                    code: number("code").and_then(|code| u16::try_from(code).ok()),
                    text: excerpt(
                        said.get("text").and_then(Value::as_str).unwrap_or(""),
                        TEXT_BYTES,
                    ),
                    invalid_event: number("invalid-event-number")
                        .and_then(|index| usize::try_from(index).ok()),
                    ack_id: number("ackId"),
                    ..reply
                }
            }
            _ => Self {
                web_page: text.trim_start().starts_with('<'),
                plain_ok: matches!(&*text.trim().to_ascii_lowercase(), "" | "ok" | "\"ok\""),
                text: excerpt(&text, TEXT_BYTES),
                ..reply
            },
        }
    }

    /// Whether the connection leads to a collector that works: it accepted the request, or said what is wrong
    /// with it. After anything else the next request goes over another one.
    pub(super) fn shows_working_node(&self, success: SuccessReply) -> bool {
        self.rule(success).0 == Action::Accept
            || matches!(self.code, Some(5 | 6 | 12 | 13 | 15 | 17))
    }

    /// The collector, or a balancer before it, answered the question about its health well.
    pub fn is_healthy(&self) -> bool {
        self.is_success() && !self.web_page && matches!(self.code, None | Some(0 | 17 | 24 | 25))
    }

    /// Splunk took the data and says that it cannot take much more at this rate (codes 24 and 25).
    pub fn nearly_full(&self) -> bool {
        self.is_success() && matches!(self.code, Some(24 | 25))
    }

    /// The body was too large, for Splunk or for a proxy before it.
    pub fn is_too_large(&self) -> bool {
        self.status == 413
    }

    /// The token was refused, by Splunk or by a proxy before it.
    pub(super) fn refuses_us(&self) -> bool {
        matches!(self.code, Some(1..=4 | 21 | 22)) || matches!(self.status, 401 | 403)
    }

    /// What the reply means for a body of `rows` rows. `call` is the method and the address, for the message.
    pub fn verdict(&self, call: &str, rows: usize, success: SuccessReply) -> Verdict {
        let (action, reason) = self.rule(success);
        let cause = || {
            let text = self.sentence(call, rows, reason.help);
            Cause::new(reason.label, text).with_fate(action.fate())
        };
        match (action, self.invalid_event) {
            (Action::Accept, _) => Verdict::Delivered,
            (Action::Retry, _) => Verdict::Retry { after: self.retry_after, cause: cause() },
            (Action::Hold, _) => Verdict::Hold { cause: cause() },
            (Action::Isolate, Some(row)) if row < rows => {
                Verdict::Reject { rows: vec![row], cause: cause() }
            }
            (Action::Isolate, None) if rows == 1 => {
                Verdict::Reject { rows: vec![0], cause: cause() }
            }
            (Action::Isolate | Action::Search | Action::Halve, _) => {
                Verdict::Divide { cause: cause() }
            }
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The whole policy. Splunk's code is more precise than the status (codes 21 and 22 come as 400), so
    /// it is asked first; a body that was too large is so whatever else was said.
    fn rule(&self, success: SuccessReply) -> (Action, &'static Reason) {
        use Action::{Accept, Halve, Hold, Isolate, Retry, Search};
        match (self.status, self.code) {
            (413, _) => (Halve, &reason::TOO_LARGE),
            // 24 and 25 say that the events were accepted and that more would not be.
            (200..=299, Some(0 | 24 | 25)) => (Accept, &reason::ACCEPTED),
            (200..=299, None) if self.web_page => (Search, &reason::NOT_HEC),
            (200..=299, None) if self.plain_ok && success == SuccessReply::Ok => {
                (Accept, &reason::ACCEPTED)
            }
            (200..=299, _) if success == SuccessReply::Ok => (Hold, &reason::NO_PLAIN_OK),
            (200..=299, _) => (Hold, &reason::NO_CONFIRMATION),
            (_, Some(1 | 22)) => (Hold, &reason::TOKEN_DISABLED),
            (_, Some(2 | 3)) => (Hold, &reason::TOKEN_MALFORMED),
            (_, Some(4 | 21)) => (Hold, &reason::TOKEN_REFUSED),
            (_, Some(5)) => (Hold, &reason::NO_DATA),
            (_, Some(6)) => (Isolate, &reason::INVALID_FORMAT),
            (_, Some(7)) => (Search, &reason::INCORRECT_INDEX),
            (_, Some(8)) => (Retry, &reason::SERVER_ERROR),
            (_, Some(9)) => (Retry, &reason::SERVER_BUSY),
            (_, Some(10)) => (Hold, &reason::ACKNOWLEDGEMENT_ON),
            (_, Some(11)) => (Hold, &reason::INVALID_CHANNEL),
            (_, Some(12 | 13)) => (Isolate, &reason::BLANK_EVENT),
            (_, Some(14)) => (Hold, &reason::ACKNOWLEDGEMENT_OFF),
            (_, Some(15)) => (Isolate, &reason::INVALID_FIELDS),
            (_, Some(16)) => (Hold, &reason::QUERY_TOKEN),
            (_, Some(18..=20)) => (Retry, &reason::UNHEALTHY),
            (_, Some(23)) => (Retry, &reason::SHUTTING_DOWN),
            (_, Some(26 | 27)) => (Retry, &reason::AT_CAPACITY),
            (429, _) => (Retry, &reason::THROTTLED),
            (401 | 407, _) => (Hold, &reason::FORBIDDEN),
            // The page of Alibaba Cloud's web application firewall for what a log holds.
            (405, _) if self.web_page => (Search, &reason::FORBIDDEN),
            // Says nothing about an event: the address is wrong, or the node behind it is not in service.
            (300..=399 | 404 | 405 | 501, _) => (Hold, &reason::NOT_HEC),
            (408 | 421 | 423..=425 | 500..=599, _) => (Retry, &reason::UNAVAILABLE),
            (403, _) => (Search, &reason::FORBIDDEN),
            (400..=499, _) => (Search, &reason::REFUSED),
            _ => (Hold, &reason::UNKNOWN),
        }
    }

    fn sentence(&self, call: &str, rows: usize, help: &str) -> String {
        let Self { status, text, .. } = self;
        let code =
            self.code.map_or_else(|| "no HEC code".to_owned(), |code| format!("code {code}"));
        let said = match text.as_str() {
            _ if self.web_page => "a web page",
            "" => "an empty body",
            text => text,
        };
        let place = self
            .invalid_event
            .map_or_else(String::new, |index| format!(" at event {index} of {rows}"));
        format!("{call} answered HTTP {status}, {code}: {said}{place}; {help}")
    }
}

/// What an answer means, before it is known which row to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Accept,
    Retry,
    Hold,
    /// The collector says that an event is bad.
    Isolate,
    /// Refused by a word that fits a single event as well as everything.
    Search,
    Halve,
}

impl Action {
    /// What becomes of the events, for a person.
    const fn fate(self) -> &'static str {
        match self {
            Self::Accept => "accepted",
            Self::Retry => "nothing was lost, will send it again",
            Self::Hold => "nothing was lost, the records are held",
            Self::Isolate | Self::Search => {
                "nothing was lost, an event is set aside only if it is refused alone while others are accepted"
            }
            Self::Halve => "nothing was lost, will send it in halves",
        }
    }
}

/// Longest pause we let a receiver impose; a proxy that asks for a day must not stop delivery for one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// `Retry-After` as whole seconds or as an HTTP date (RFC 9110 §10.2.3), capped.
fn parse_retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            Duration::from_secs(u64::try_from(at.as_second() - now.as_second()).unwrap_or(0))
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "POST https://splunk:8088/services/collector/event";
    const ROWS: usize = 10;

    fn reply(status: u16, body: &str) -> Reply {
        Reply::parse(status, None, body.as_bytes(), jiff::Timestamp::UNIX_EPOCH)
    }

    /// Status, code, text, number of the event at fault if one is given, verdict, metric label.
    type Case = (u16, u16, &'static str, Option<usize>, &'static str, &'static str);

    /// What Splunk documents for each code, and what it means here.
    #[rustfmt::skip]
    const TABLE: &[Case] = &[
        (200, 0, "Success", None, "delivered", ""),
        (403, 1, "Token disabled", None, "hold", "token_disabled"),
        (401, 2, "Token is required", None, "hold", "token_malformed"),
        (401, 3, "Invalid authorization", None, "hold", "token_malformed"),
        (403, 4, "Invalid token", None, "hold", "token_refused"),
        (400, 5, "No data", None, "hold", "no_data"),
        (400, 6, "Invalid data format", Some(3), "reject", "invalid_format"),
        (400, 6, "Invalid data format", None, "divide", "invalid_format"),
        (400, 6, "Invalid data format", Some(10), "divide", "invalid_format"),
        (400, 7, "Incorrect index", Some(0), "divide", "incorrect_index"),
        (500, 8, "Internal server error", None, "retry", "server_error"),
        (503, 9, "Server is busy", None, "retry", "server_busy"),
        (503, 9, "Server is busy", Some(4), "retry", "server_busy"),
        (400, 10, "Data channel is missing", None, "hold", "acknowledgement_on"),
        (400, 11, "Invalid data channel", None, "hold", "invalid_channel"),
        (400, 12, "Event field is required", Some(0), "reject", "blank_event"),
        (400, 13, "Event field cannot be blank", Some(9), "reject", "blank_event"),
        (400, 14, "ACK is disabled", None, "hold", "acknowledgement_off"),
        (400, 15, "Error in handling indexed fields", Some(1), "reject", "invalid_fields"),
        (400, 15, "Error in handling indexed fields", None, "divide", "invalid_fields"),
        (400, 16, "Query string authorization is not enabled", None, "hold", "query_token"),
        (200, 17, "HEC is healthy", None, "hold", "no_confirmation"),
        (503, 18, "HEC is unhealthy, queues are full", None, "retry", "unhealthy"),
        (503, 19, "HEC is unhealthy, ack service unavailable", None, "retry", "unhealthy"),
        (503, 20, "HEC is unhealthy, queues are full, ack service unavailable", None, "retry", "unhealthy"),
        (400, 21, "Invalid token", None, "hold", "token_refused"),
        (400, 22, "Token disabled", None, "hold", "token_disabled"),
        (503, 23, "Server is shutting down", None, "retry", "shutting_down"),
        (200, 24, "Queue is approaching its capacity limit", None, "delivered", ""),
        (200, 25, "ACK is approaching its capacity limit", None, "delivered", ""),
        (429, 26, "Queue is at capacity", None, "retry", "at_capacity"),
        (429, 27, "ACK channel is at capacity", None, "retry", "at_capacity"),
        (413, 6, "too large", Some(3), "divide", "too_large"),
    ];

    #[test]
    fn every_code_that_splunk_documents_has_its_verdict() {
        for &(status, code, text, number, expected, reason) in TABLE {
            let mut body = serde_json::json!({ "text": text, "code": code });
            if let Some(number) = number {
                body["invalid-event-number"] = number.into();
            }
            let reply = reply(status, &body.to_string());
            let verdict = reply.verdict(CALL, ROWS, SuccessReply::Hec);
            assert_eq!(verdict.label(), expected, "{status} {body}");
            assert_eq!(verdict.cause().map_or("", Cause::reason), reason, "{status} {body}");
            if let Verdict::Reject { rows, .. } = verdict {
                assert_eq!(rows, Vec::from_iter(number), "{status} {body}");
            }
        }
        let listed: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.1).collect();
        assert!(listed.into_iter().eq(0..=27), "the table leaves a code out");
    }

    #[test]
    fn without_a_code_the_status_decides() {
        #[rustfmt::skip]
        let table = [
            (200, "hold"), (201, "hold"), (202, "hold"), (204, "hold"),
            (301, "hold"), (303, "hold"), (307, "hold"), (404, "hold"), (405, "hold"), (501, "hold"),
            (401, "hold"), (403, "divide"), (407, "hold"),
            (408, "retry"), (421, "retry"), (424, "retry"), (425, "retry"), (429, "retry"),
            (500, "retry"), (502, "retry"), (503, "retry"), (504, "retry"), (599, "retry"),
            (413, "divide"), (400, "divide"), (418, "divide"), (422, "divide"),
            (199, "hold"), (600, "hold"),
        ];
        for (status, expected) in table {
            for body in ["", "upstream unavailable", "[1]", "{\"error\":1}"] {
                assert_eq!(
                    reply(status, body).verdict(CALL, ROWS, SuccessReply::Hec).label(),
                    expected,
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn only_a_hec_reply_of_code_0_is_a_delivery() {
        for (status, body) in [
            (202, ""),
            (204, ""),
            (200, "ok"),
            (200, "OK"),
            (200, "{}"),
            (200, "[]"),
            (200, "{\"error\":\"no route\"}"),
            (200, "{\"text\":\"Success\"}"),
            (200, "{\"text\":\"Success\",\"code\":\"0\"}"),
            (200, "{\"text\":\"Success\",\"code\":-1}"),
            (200, "{\"text\":\"Success\",\"code\":0"),
            (200, "[{\"text\":\"Success\",\"code\":0}]"),
            (200, "{\"text\":\"Invalid token\",\"code\":4}"),
            (200, "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":0}"),
            (200, "{\"text\":\"Server is busy\",\"code\":9}"),
        ] {
            let verdict = reply(status, body).verdict(CALL, ROWS, SuccessReply::Hec);
            assert_eq!(verdict.label(), "hold", "{status} {body}");
            assert_eq!(verdict.cause().unwrap().reason(), "no_confirmation", "{status} {body}");
        }
        let seen = reply(200, "{\"error\":\"no route\"}").verdict(CALL, ROWS, SuccessReply::Hec);
        assert!(seen.cause().unwrap().to_string().contains("no route"), "{seen:?}");
    }

    #[test]
    fn a_plain_ok_is_a_delivery_where_the_operator_has_said_so() {
        for (status, body, expected) in [
            (202, "", "delivered"),
            (204, "", "delivered"),
            (200, "OK", "delivered"),
            (200, "\"OK\"", "delivered"),
            (200, "ok\n", "delivered"),
            (200, "{\"text\":\"Success\",\"code\":0}", "delivered"),
            (200, "{\"error\":1}", "hold"),
            (200, "{\"text\":\"Invalid token\",\"code\":4}", "hold"),
            (200, "<html>", "divide"),
            (503, "OK", "retry"),
        ] {
            let verdict = reply(status, body).verdict(CALL, ROWS, SuccessReply::Ok);
            assert_eq!(verdict.label(), expected, "{status} {body}");
        }
        let seen = reply(200, "{\"error\":1}").verdict(CALL, ROWS, SuccessReply::Ok);
        assert!(seen.cause().unwrap().to_string().contains("this is none of them"), "{seen:?}");
    }

    #[test]
    fn one_row_refused_alone_is_the_row_at_fault() {
        let verdict = reply(400, r#"{"text":"Invalid data format","code":6}"#).verdict(
            CALL,
            1,
            SuccessReply::Hec,
        );
        assert!(matches!(verdict, Verdict::Reject { ref rows, .. } if rows == &[0]), "{verdict:?}");
        // A number that cannot be is no verdict on the row.
        let odd = r#"{"text":"Invalid data format","code":6,"invalid-event-number":7}"#;
        assert_eq!(reply(400, odd).verdict(CALL, 1, SuccessReply::Hec).label(), "divide");
    }

    #[test]
    fn a_friendly_web_page_is_not_a_delivery() {
        let verdict = reply(200, "<!doctype html><title>Splunk</title>");
        let verdict = verdict.verdict(CALL, ROWS, SuccessReply::Hec);
        assert_eq!(verdict.label(), "divide");
        assert!(verdict.cause().unwrap().to_string().contains("8088"));
    }

    #[test]
    fn a_cause_says_where_what_and_what_next() {
        let verdict = reply(403, r#"{"text":"Invalid token","code":4}"#).verdict(
            CALL,
            ROWS,
            SuccessReply::Hec,
        );
        assert_eq!(
            verdict.cause().unwrap().to_string(),
            "POST https://splunk:8088/services/collector/event answered HTTP 403, code 4: Invalid token; \
             put a token that exists in Splunk into the sink's `token`; nothing was lost, the records \
             are held"
        );
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date_and_capped() {
        let now: jiff::Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let seconds = |value| parse_retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("86400"), Some(300));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("Mon, 07 Nov 1994 08:49:37 GMT"), Some(300));
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn a_busy_receiver_passes_on_how_long_to_wait() {
        let busy = Reply::parse(503, Some("2"), b"", jiff::Timestamp::UNIX_EPOCH);
        let Verdict::Retry { after, .. } = busy.verdict(CALL, ROWS, SuccessReply::Hec) else {
            panic!("{busy:?}")
        };
        assert_eq!(after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_queue_that_is_nearly_full_is_noticed() {
        assert!(reply(200, r#"{"text":"x","code":24}"#).nearly_full());
        assert!(!reply(200, r#"{"text":"Success","code":0}"#).nearly_full());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_a_reply(
            status in 100u16..700,
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            header in ".{0,40}",
        ) {
            let reply = Reply::parse(status, Some(&header), &body, jiff::Timestamp::UNIX_EPOCH);
            proptest::prop_assert!(reply.text.len() <= TEXT_BYTES + 3);
            if let Verdict::Reject { rows, .. } = reply.verdict(CALL, ROWS, SuccessReply::Hec) {
                proptest::prop_assert!(rows.iter().all(|row| *row < ROWS));
            }
        }
    }
}
