//! Access logs of a web server: many short fields, the shape that costs a forwarder most per byte.

use super::random::Random;

const PATHS: &[&str] =
    &["/api/v2/orders", "/api/v2/items/search", "/assets/app.4f2c.js", "/health", "/login"];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/128",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)",
    "okhttp/4.12.0 (Android 14; Pixel 8; build UQ1A.240205.004)",
];

pub(super) fn fields(random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let status = random.pick(&["200", "200", "301", "404", "500"]);
    vec![
        ("time_local", second.to_string()),
        ("remote_addr", random.address()),
        ("remote_port", random.between(1024, 65_535).to_string()),
        ("remote_user", text(random.pick(&["-", "-", "alice", "bob"]))),
        ("request_method", text(random.pick(&["GET", "GET", "POST", "DELETE"]))),
        ("request_uri", text(random.pick(PATHS))),
        ("query_string", format!("page={}&token={}", random.below(90), random.hex(16))),
        ("server_protocol", text("HTTP/1.1")),
        ("status", text(status)),
        ("body_bytes_sent", random.between(100, 90_000).to_string()),
        ("http_referer", text("https://www.example.com/cart")),
        ("http_user_agent", text(random.pick(AGENTS))),
        ("http_x_forwarded_for", random.address()),
        ("request_time", format!("0.{:03}", random.below(1000))),
        ("upstream_addr", format!("192.0.2.{}:8080", random.between(1, 99))),
        ("upstream_status", text(status)),
        ("upstream_response_time", format!("0.{:03}", random.below(1000))),
        ("request_length", random.between(200, 4000).to_string()),
        ("ssl_protocol", text("TLSv1.3")),
        ("ssl_cipher", text("TLS_AES_128_GCM_SHA256")),
        ("host", text("www.example.com")),
        ("request_id", random.hex(24).to_lowercase()),
        ("pod_name", format!("web-7d9c5b6f4-{}", random.hex(5).to_lowercase())),
        ("region", text("cn-hangzhou")),
    ]
}
