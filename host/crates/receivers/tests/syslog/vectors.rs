//! The project's syslog vectors, most of them confirmed by rsyslog and syslog-ng: this server must read
//! them as those do.

use forwarder_receivers::syslog::{Format, Framing, Message, SyslogReceiver, rfc5424};
use serde_json::{Map, Value, json};

use crate::sender::{SOON, counted, lines, send};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/syslog.json");

fn vectors(format: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(VECTORS).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let vectors = document.get("vectors").and_then(Value::as_array).unwrap();
    vectors.iter().filter(|vector| vector["format"] == format).cloned().collect()
}

fn text_of(vector: &Value, key: &str) -> String {
    vector[key].as_str().unwrap_or_default().to_owned()
}

async fn receive(format: Format, framing: Framing, stream: Vec<u8>, count: usize) -> Vec<Message> {
    let receiver = SyslogReceiver::builder().format(format).framing(framing).start().await.unwrap();
    send(&receiver, stream).await;
    receiver.wait_for(count as u64, SOON).await.unwrap();
    let received = receiver.stop().await;
    assert_eq!(received.malformed, []);
    received.messages.to_vec()
}

/// A message in the words of the vectors, but for its time.
fn in_words_of_5424(message: &Message) -> Value {
    let elements = message.structured_data.iter().map(|element| {
        let params = element.params.iter().map(|(name, value)| (name.clone(), json!(value)));
        (element.id.clone(), Value::Object(params.collect()))
    });
    let elements: Map<String, Value> = elements.collect();
    json!({
        "pri": message.pri,
        "hostname": message.hostname,
        "appname": message.app_name,
        "procid": message.procid,
        "msgid": message.msgid,
        "sd": if elements.is_empty() { Value::Null } else { Value::Object(elements) },
        "msg": message.text(),
    })
}

#[tokio::test]
async fn rfc_5424_vectors_are_read_as_the_real_servers_read_them() {
    let vectors = vectors("rfc5424");
    assert!(vectors.len() >= 18, "the file holds fewer vectors than it did: {}", vectors.len());
    let sent: Vec<_> = vectors.iter().map(|vector| text_of(vector, "expected")).collect();
    let messages = receive(Format::Rfc5424, Framing::Detect, counted(&sent), vectors.len()).await;

    for (vector, message) in vectors.iter().zip(&messages) {
        let name = &vector["name"];
        let mut parsed = vector["parsed"].clone();
        let time = parsed.as_object_mut().unwrap().shift_remove("timestamp").unwrap();
        assert_eq!(in_words_of_5424(message), parsed, "{name}");
        assert_eq!(message.bom, vector["bom"] == true, "{name}");
        let expected = time.as_str().map(|time| {
            let message = format!("<14>1 {time} - - - - -");
            rfc5424(message.as_bytes()).unwrap().timestamp.unwrap().unix_micros.unwrap()
        });
        assert_eq!(message.unix_micros, expected, "{name}");
    }
}

#[tokio::test]
async fn rfc_3164_vectors_are_read_as_the_real_servers_read_them() {
    let vectors = vectors("rfc3164");
    assert_eq!(vectors.len(), 4, "the file holds other vectors than it did");
    let sent: Vec<_> = vectors.iter().map(|vector| text_of(vector, "expected")).collect();
    let stream = lines(&sent).into_bytes();
    let messages = receive(Format::Rfc3164, Framing::LineFeed, stream, vectors.len()).await;

    for (vector, message) in vectors.iter().zip(&messages) {
        let app_name = message.app_name.clone().unwrap();
        let tag = match &message.procid {
            Some(pid) => format!("{app_name}[{pid}]:"),
            None => format!("{app_name}:"),
        };
        let seen = json!({
            "pri": message.pri,
            "timestamp3164": in_numbers(message.timestamp.as_deref().unwrap()),
            "hostname": message.hostname,
            "tag": tag,
            "appname": app_name,
            "procid": message.procid,
            "msg": message.text(),
        });
        assert_eq!(seen, vector["parsed"], "{}", vector["name"]);
    }
}

/// `Nov 14 22:13:20` as `11-14T22:13:20`.
fn in_numbers(stamp: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(&stamp[..3]).unwrap() / 3 + 1;
    format!("{month:02}-{}T{}", stamp[4..6].replace(' ', "0"), &stamp[7..])
}

#[tokio::test]
async fn cef_behind_an_rfc_3164_header_arrives_whole() {
    let vectors = vectors("cef");
    let carried = vectors.iter().find(|vector| vector["name"] == "cef-in-3164").unwrap();
    let sent = text_of(carried, "expected");
    let stream = lines([&sent]).into_bytes();
    let messages = receive(Format::Rfc3164, Framing::LineFeed, stream, 1).await;

    assert_eq!(messages[0].app_name, None);
    assert_eq!(messages[0].text(), sent.split_once("fwd-1 ").unwrap().1);
}

#[tokio::test]
async fn framing_vectors_are_cut_into_their_frames() {
    for vector in vectors("framing") {
        let framing = match vector["input"]["framing"].as_str() {
            Some("octet") => Framing::OctetCounting,
            _ => Framing::LineFeed,
        };
        let frames = vector["input"]["frames"].as_array().unwrap();
        let stream = text_of(&vector, "expected").into_bytes();
        let messages = receive(Format::Rfc5424, framing, stream, frames.len()).await;

        for (frame, message) in frames.iter().zip(&messages) {
            let frame = frame.as_str().unwrap();
            assert!(frame.ends_with(&*message.text()), "{}", vector["name"]);
        }
    }
}
