//! The HEC client against collectors that answer well, badly or not at all.

use std::time::Duration;

use forwarder_connector::{Body, Cause, Verdict};
use forwarder_sinks::hec::{
    Client, ClientSettings, Encoder, EncoderSettings, Endpoint, SuccessReply, Token,
};
use forwarder_sinks::{TlsSettings, Verify};
use tokio::join;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::collector::{Collector, exchange, read_request};

const SECRET: &str = "11111111-2222-3333-4444-555555555555";
const SUCCESS: &str = "200 OK\n\n{\"text\":\"Success\",\"code\":0}";

fn settings(collector: &Collector, scheme: &str) -> ClientSettings {
    ClientSettings {
        endpoint: Endpoint::parse(&format!("{scheme}://{}", collector.address())).unwrap(),
        token: Token::new(SECRET).unwrap().into(),
        success: SuccessReply::Hec,
        tls: TlsSettings::default(),
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
    }
}

fn client(collector: &Collector) -> Client {
    Client::new(settings(collector, "http")).unwrap()
}

fn plain() -> Body {
    Body::plain(vec!["{\"event\":1}".into(), "{\"event\":2}".into()], 2)
}

fn reason(verdict: &Verdict) -> &'static str {
    verdict.cause().map_or("", Cause::reason)
}

#[tokio::test]
async fn a_plain_body_is_posted_in_one_piece_with_its_length() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let ((request, _), verdict) = join!(collector.answer(SUCCESS), client.send(&body));
    assert_eq!(verdict, Verdict::Delivered);
    assert!(
        request.head.starts_with("POST /services/collector/event HTTP/1.1\r\n"),
        "{}",
        request.head
    );
    assert_eq!(request.header("authorization"), Some(format!("Splunk {SECRET}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some("22"));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-encoding"), None);
    assert_eq!(request.body, b"{\"event\":1}{\"event\":2}");
}

#[tokio::test]
async fn a_compressed_body_says_that_it_is() {
    let collector = Collector::start().await;
    let client = client(&collector);
    let body = Encoder::new(&EncoderSettings::default()).pack(plain().segments().to_vec(), 2);
    let ((request, _), verdict) = join!(collector.answer(SUCCESS), client.send(&body));
    assert_eq!(verdict, Verdict::Delivered);
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.body, body.segments()[0]);
}

#[tokio::test]
async fn the_connection_is_kept_for_the_next_body() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let serving = async {
        let mut stream = collector.accept().await;
        for _request in 0..3 {
            exchange(&mut stream, SUCCESS).await;
        }
    };
    let sending = async {
        for _body in 0..3 {
            assert_eq!(client.send(&body).await, Verdict::Delivered);
        }
    };
    join!(serving, sending);
    assert_eq!(client.send(&Body::plain(Vec::new(), 0)).await, Verdict::Delivered);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Collector::start().await;
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let reply = format!("303 See Other\nlocation: http://{}/\n\n<html>", elsewhere.address());
    let (_, verdict) = join!(collector.answer(&reply), client.send(&body));
    assert_eq!((verdict.label(), reason(&verdict)), ("hold", "not_hec"));
}

#[tokio::test]
async fn a_busy_collector_says_when_to_come_back() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let reply =
        "503 Service Unavailable\nretry-after: 7\n\n{\"text\":\"Server is busy\",\"code\":9}";
    let (_, verdict) = join!(collector.answer(reply), client.send(&body));
    let Verdict::Retry { after, cause } = verdict else { panic!("{verdict:?}") };
    assert_eq!((after, cause.reason()), (Some(Duration::from_secs(7)), "server_busy"));
}

#[tokio::test]
async fn the_event_at_fault_is_named() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let reply = "400 Bad Request\n\n{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":1}";
    let (_, verdict) = join!(collector.answer(reply), client.send(&body));
    assert!(matches!(verdict, Verdict::Reject { ref rows, .. } if rows == &[1]), "{verdict:?}");
}

#[tokio::test]
async fn a_token_that_a_proxy_echoes_is_not_repeated() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let reply = format!("403 Forbidden\n\nno access with Splunk {SECRET}");
    let (_, verdict) = join!(collector.answer(&reply), client.send(&body));
    let text = format!("{verdict:?} {client:?}");
    assert!(text.contains("no access with Splunk ***") && !text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn an_endless_reply_is_not_read_to_its_end() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let reply = format!("400 Bad Request\n\n{}", "x".repeat(1 << 20));
    let answering = async {
        let mut stream = collector.accept().await;
        let _ = read_request(&mut stream).await;
        let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n", 1 << 30);
        let all = head + &reply;
        // The client leaves before this is through, which is the point.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, all.as_bytes()).await;
        stream
    };
    let (_, verdict) = join!(answering, client.send(&body));
    assert_eq!(verdict.label(), "divide");
    assert!(verdict.cause().unwrap().to_string().len() < 600);
}

#[tokio::test]
async fn no_receiver_or_one_gone_before_answering_is_worth_another_try() {
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let leaving = async {
        let mut stream = collector.accept().await;
        read_request(&mut stream).await;
    };
    let ((), verdict) = join!(leaving, client.send(&body));
    assert_eq!((verdict.label(), reason(&verdict)), ("retry", "broken_connection"), "{verdict:?}");

    drop(collector);
    let verdict = client.send(&body).await;
    assert_eq!((verdict.label(), reason(&verdict)), ("retry", "connect"), "{verdict:?}");
    assert!(verdict.cause().unwrap().to_string().contains("nothing was lost"));
}

#[tokio::test]
async fn a_collector_that_never_answers_is_given_up() {
    let collector = Collector::start().await;
    let settings =
        ClientSettings { timeout: Duration::from_millis(50), ..settings(&collector, "http") };
    let (client, body) = (Client::new(settings).unwrap(), plain());
    let (_silent, verdict) = join!(collector.accept(), client.send(&body));
    assert_eq!((verdict.label(), reason(&verdict)), ("retry", "timeout"), "{verdict:?}");
}

/// What a probe says of a collector that answers so, request by request.
async fn probed(
    index: Option<&str>,
    replies: &[&str],
) -> (Result<Vec<String>, Cause>, Vec<String>) {
    let collector = Collector::start().await;
    let client = client(&collector);
    let serving = async {
        let mut stream = collector.accept().await;
        let mut asked = Vec::new();
        for reply in replies {
            let request = exchange(&mut stream, reply).await;
            let line = request.head.lines().next().unwrap_or("");
            asked.push(format!("{line} {}", String::from_utf8(request.body).unwrap()));
        }
        asked
    };
    let (asked, result) = join!(serving, client.probe(index));
    (result, asked)
}

const NO_DATA: &str = "400 Bad Request\n\n{\"text\":\"No data\",\"code\":5}";
const HEALTHY: &str = "200 OK\n\n{\"text\":\"HEC is healthy\",\"code\":17}";

#[tokio::test]
async fn a_probe_asks_what_delivery_asks_and_sends_no_event() {
    let (result, asked) = probed(None, &[NO_DATA, HEALTHY]).await;
    assert_eq!(result, Ok(Vec::new()));
    assert_eq!(asked[0], "POST /services/collector/event HTTP/1.1 ");
    assert_eq!(asked[1], "GET /services/collector/health HTTP/1.1 ");

    for (reply, reason) in [
        ("403 Forbidden\n\n{\"text\":\"Invalid token\",\"code\":4}", "token_refused"),
        (
            "400 Bad Request\n\n{\"text\":\"Data channel is missing\",\"code\":10}",
            "acknowledgement_on",
        ),
        ("404 Not Found\n\n<html>", "not_hec"),
        ("503 Service Unavailable\n\n{\"text\":\"Server is busy\",\"code\":9}", "server_busy"),
    ] {
        let (result, _) = probed(Some("audit"), &[reply]).await;
        assert_eq!(result.unwrap_err().reason(), reason);
    }

    let wrong = "400 Bad Request\n\n{\"text\":\"Incorrect index\",\"code\":7}";
    let (result, asked) = probed(Some("audit"), &[NO_DATA, wrong]).await;
    assert_eq!(result.unwrap_err().reason(), "incorrect_index");
    assert!(asked[1].ends_with(r#" {"index":"audit"}"#), "no event: {asked:?}");
}

#[tokio::test]
async fn a_probe_says_what_it_could_not_find_out() {
    let silent = "400 Bad Request\n\n{\"text\":\"Event field is required\",\"code\":12,\"invalid-event-number\":0}";
    let (result, _) = probed(Some("audit"), &[NO_DATA, silent, HEALTHY]).await;
    let notes = result.unwrap();
    assert!(notes.len() == 1 && notes[0].contains("index `audit`"), "{notes:?}");

    // Balancers forward the events and not the health page; some collectors take anything.
    for page in
        ["404 Not Found\n\n<html>", "503 Service Unavailable\n\n<html>", "403 Forbidden\n\n<html>"]
    {
        let success = "200 OK\n\n{\"text\":\"Success\",\"code\":0}";
        let (result, _) = probed(Some("audit"), &[success, page]).await;
        let notes = result.unwrap();
        assert!(
            notes[0].contains("token and index") && notes[1].contains("health page"),
            "{notes:?}"
        );
    }
}

/// Sends one body over TLS.
async fn over_tls(server: &Authority, verify: Verify) -> Verdict {
    let collector = Collector::start().await;
    let tls = TlsSettings { verify, ..TlsSettings::default() };
    let client = Client::new(ClientSettings { tls, ..settings(&collector, "https") }).unwrap();
    let acceptor = TlsAcceptor::from(server.server(false));
    let serving = async {
        if let Ok(mut stream) = acceptor.accept(collector.accept().await).await {
            exchange(&mut stream, SUCCESS).await;
        }
    };
    let body = plain();
    join!(serving, client.send(&body)).1
}

#[tokio::test]
async fn tls_wants_a_certificate_of_the_authority_we_named() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    assert_eq!(over_tls(&ours, Verify::CaFile(ours.ca_file())).await, Verdict::Delivered);
    assert_eq!(over_tls(&theirs, Verify::Nothing).await, Verdict::Delivered);
    let verdict = over_tls(&theirs, Verify::CaFile(ours.ca_file())).await;
    assert_eq!((verdict.label(), reason(&verdict)), ("hold", "tls_refused"), "{verdict:?}");
}

#[tokio::test]
async fn what_is_too_large_once_is_not_tried_again() {
    const TOO_LARGE: &str = "413 Request Entity Too Large\n\n<html>too large</html>";
    let collector = Collector::start().await;
    let client = client(&collector);
    assert_eq!(client.body_limit(), usize::MAX);
    let serving = async {
        for _request in 0..5 {
            collector.answer(TOO_LARGE).await;
        }
    };
    let rows =
        |count: usize, bytes: usize| Body::plain(vec!["x".repeat(bytes).into(); count], count);
    let sending = async {
        for (body, limit) in [
            (rows(1, 90_000), usize::MAX), // a single row says nothing about bodies
            (rows(10, 10_000), 50_000),
            (rows(10, 20_000), 50_000), // was under way meanwhile
            (rows(4, 10_000), 20_000),
            (rows(2, 10), 4_096),
        ] {
            let verdict = client.send(&body).await;
            assert_eq!((reason(&verdict), client.body_limit()), ("too_large", limit));
        }
    };
    join!(serving, sending);
}

#[tokio::test]
async fn after_anything_but_an_acceptance_another_connection_is_used() {
    const REFUSALS: [&str; 5] = [
        "503 Service Unavailable\n\n{\"text\":\"Server is busy\",\"code\":9}",
        "429 Too Many Requests\n\nslow down",
        "500 Internal Server Error\n\n",
        "403 Forbidden\n\n<html>",
        "200 OK\n\nok",
    ];
    let collector = Collector::start().await;
    let (client, body) = (client(&collector), plain());
    let serving = async {
        let mut open = Vec::new();
        for refusal in REFUSALS {
            // Stays open: it is the client that must leave it.
            open.push(collector.answer(refusal).await.1);
        }
        let mut last = collector.accept().await;
        exchange(&mut last, SUCCESS).await;
        exchange(&mut last, SUCCESS).await;
        let mut left = Vec::new();
        for stream in &mut open {
            left.push(tokio::io::AsyncReadExt::read(stream, &mut [0; 1]).await.unwrap());
        }
        left
    };
    let sending = async {
        for _refusal in REFUSALS {
            assert_ne!(client.send(&body).await, Verdict::Delivered);
        }
        assert_eq!(client.send(&body).await, Verdict::Delivered);
        assert_eq!(client.send(&body).await, Verdict::Delivered);
    };
    let (left, ()) = join!(serving, sending);
    assert_eq!(left, [0; 5], "closed, not kept idle");
}

#[tokio::test]
async fn a_success_whose_body_never_ends_is_not_a_delivery_and_not_waited_for() {
    let collector = Collector::start().await;
    let settings =
        ClientSettings { timeout: Duration::from_millis(400), ..settings(&collector, "http") };
    let (client, body) = (Client::new(settings).unwrap(), plain());
    let answering = async {
        let mut stream = collector.accept().await;
        let _ = read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"tex\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        stream
    };
    let (_open, verdict) = join!(answering, client.send(&body));
    assert_eq!((verdict.label(), reason(&verdict)), ("hold", "no_confirmation"), "{verdict:?}");
}

#[tokio::test]
async fn a_body_that_breaks_the_connection_three_times_is_divided_and_a_single_row_suspected() {
    let collector = Collector::start().await;
    let client = client(&collector);
    let rows = |count: usize| Body::plain(vec!["x".repeat(10_000).into(); count], count);
    let serving = async {
        for _request in 0..10 {
            let mut stream = collector.accept().await;
            read_request(&mut stream).await;
        }
    };
    let sending = async {
        for expected in ["retry", "retry", "divide"] {
            let verdict = client.send(&rows(10)).await;
            assert_eq!((verdict.label(), reason(&verdict)), (expected, "broken_connection"));
        }
        assert_eq!(client.body_limit(), 50_000);
        let verdict = client.send(&rows(8)).await;
        assert_eq!(verdict.label(), "divide", "larger than what is known to break");
        assert!(verdict.cause().unwrap().to_string().contains("its size may be the reason"));
        for expected in ["retry", "retry", "divide", "retry", "retry", "divide"] {
            let verdict = client.send(&rows(1)).await;
            assert_eq!(verdict.label(), expected);
            if expected == "divide" {
                let cause = verdict.cause().unwrap().to_string();
                assert!(cause.contains("this row alone has failed repeatedly"), "{cause}");
            }
        }
    };
    join!(serving, sending);
}
