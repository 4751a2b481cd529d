//! Signatures of the official Python client, recorded, against the strict check.

use std::time::Duration;

use crate::wire::{Answer, Connection};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forwarder_emulator::Emulator;
use forwarder_emulator::clock::Timestamp;
use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_sls::AccessKey;
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/sls-signatures.json");
    let text = std::fs::read_to_string(path).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    document["cases"].as_array().unwrap().clone()
}

fn key(case: &Value) -> AccessKey {
    let text = |name: &str| case["input"][name].as_str().unwrap_or_default().to_owned();
    let key = AccessKey::new(text("access_key_id"), text("access_key_secret"));
    match case["input"]["security_token"].as_str() {
        Some(token) => key.with_token(token),
        None => key,
    }
}

/// An emulator whose clock stands where the recording's stood.
async fn emulator(case: &Value) -> Emulator {
    let builder = Emulator::builder().signatures(SignatureCheck::Strict(key(case)));
    let emulator = builder.start().await.unwrap();
    let recorded = Timestamp::from_seconds(case["input"]["time_unix"].as_u64().unwrap());
    let ahead = emulator.clock().now().since(recorded);
    emulator.clock().set_back(ahead);
    emulator
}

/// Sends the recorded request with some headers changed.
async fn replay(emulator: &Emulator, case: &Value, changed: &[(&str, &str)]) -> Answer {
    let url = case["expected"]["url"].as_str().unwrap();
    let mut head = format!("{} {url} HTTP/1.1\r\n", case["input"]["method"].as_str().unwrap());
    for (name, value) in case["expected"]["headers"].as_object().unwrap() {
        let change = changed.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = change.map_or(value.as_str().unwrap(), |(_, value)| *value);
        if !value.is_empty() || change.is_none() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let body = case["input"]["body_base64"].as_str().unwrap_or_default();
    let body = STANDARD.decode(body).unwrap();
    Connection::open(emulator.address()).await.send(&head, &body).await.unwrap()
}

/// Whether the service looked at the request; it has no such project, and says so.
fn passed(answer: &Answer) -> bool {
    assert!(answer.header("x-log-requestid").is_some(), "not even read: {answer:?}");
    answer.status == 200
        || !["Unauthorized", "SignatureNotMatch", "InvalidAccessKeyId"]
            .iter()
            .chain(&[
                "RequestTimeTooSkewed",
                "MissingAPIVersion",
                "InvalidDateFormat",
                "MissingDate",
            ])
            .any(|code| answer.error().1 == *code)
}

#[tokio::test]
async fn every_recorded_request_is_accepted_and_refused_under_another_key() {
    for case in vectors() {
        let emulator = emulator(&case).await;
        let answer = replay(&emulator, &case, &[]).await;
        assert!(passed(&answer), "{}: {:?}", case["id"], String::from_utf8_lossy(&answer.body));

        let id = case["input"]["access_key_id"].as_str().unwrap();
        let mut other = AccessKey::new(id, "another secret");
        if let Some(token) = case["input"]["security_token"].as_str() {
            other = other.with_token(token);
        }
        emulator.accept(SignatureCheck::Strict(other));
        let answer = replay(&emulator, &case, &[]).await;
        assert_eq!(answer.error(), (401, "SignatureNotMatch".into()), "{}", case["id"]);
        let message = answer.json()["errorMessage"].to_string();
        assert!(message.contains("string to sign"), "{message}");
    }
}

#[tokio::test]
async fn what_was_signed_may_not_be_changed() {
    for case in vectors() {
        let emulator = emulator(&case).await;
        for (header, value) in [("x-log-apiversion", "0.6.1"), ("Content-Type", "text/plain")] {
            if case["expected"]["headers"].get(header).is_some() {
                let answer = replay(&emulator, &case, &[(header, value)]).await;
                assert_eq!(
                    answer.error(),
                    (401, "SignatureNotMatch".into()),
                    "{} {header}",
                    case["id"]
                );
            }
        }
    }
}

#[tokio::test]
async fn a_clock_may_be_fifteen_minutes_off_and_no_more() {
    let case = &vectors()[0];
    let emulator = emulator(case).await;
    emulator.clock().advance(Duration::from_secs(14 * 60));
    assert!(passed(&replay(&emulator, case, &[]).await));
    emulator.clock().advance(Duration::from_secs(2 * 60));
    let answer = replay(&emulator, case, &[]).await;
    assert_eq!(answer.error(), (400, "RequestTimeTooSkewed".into()));
    emulator.clock().set_back(Duration::from_secs(32 * 60));
    let answer = replay(&emulator, case, &[]).await;
    assert_eq!(answer.error(), (400, "RequestTimeTooSkewed".into()));
}

#[tokio::test]
async fn missing_and_foreign_credentials_have_different_errors() {
    let case = &vectors()[0];
    let emulator = emulator(case).await;
    for (changed, status, code) in [
        (("Authorization", ""), 401, "Unauthorized"),
        (("Authorization", "Basic abc"), 401, "Unauthorized"),
        (("Authorization", "LOG someone:c2ln"), 401, "InvalidAccessKeyId"),
        (("x-log-apiversion", ""), 400, "MissingAPIVersion"),
        (("x-log-date", "yesterday"), 400, "InvalidDateFormat"),
    ] {
        let answer = replay(&emulator, case, &[changed]).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{changed:?}");
    }
    emulator.accept(SignatureCheck::Strict(key(case).with_token("token")));
    assert_eq!(replay(&emulator, case, &[]).await.error(), (401, "Unauthorized".into()));
    emulator.accept(SignatureCheck::AnyKey);
    let foreign = replay(&emulator, case, &[("Authorization", "LOG someone:c2ln")]).await;
    assert!(passed(&foreign));
    let none = replay(&emulator, case, &[("Authorization", "")]).await;
    assert_eq!(none.error(), (401, "Unauthorized".into()));
}
