//! Requests through a layer 7 load balancer.

use super::random::Random;

const PATHS: &[&str] = &[
    "/api/v1/checkout?coupon=%E6%98%A5%E8%8A%82",
    "/api/v1/items?page=2&sort=price",
    "/login",
    "/static/app.js?v=20260102",
];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36",
    "curl/8.5.0",
];

pub(super) fn fields(random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
    let client = random.address();
    let status = random.pick(&["200", "200", "200", "304", "404", "502"]);
    let spent = random.between(1, 900);
    let text = |text: &str| text.to_owned();
    vec![
        ("owner_id", text("1234567890123456")),
        ("region", text("cn-hangzhou")),
        ("instance_id", text("lb-bp1example00000001")),
        ("instance_name", text("web-prod")),
        ("network_type", text("vpc")),
        ("vpc_id", text("vpc-bp1example0000001")),
        ("body_bytes_sent", random.between(100, 90_000).to_string()),
        ("client_ip", client.clone()),
        ("client_port", random.between(1024, 65_535).to_string()),
        ("host", text("www.example.com")),
        ("http_host", text("www.example.com")),
        ("http_referer", text("https://www.example.com/cart?step=2")),
        ("http_user_agent", text(random.pick(AGENTS))),
        ("http_x_forwarded_for", format!("{client}, 198.51.100.3")),
        ("http_x_real_ip", client),
        ("read_request_time", text("0")),
        ("request_length", random.between(200, 4000).to_string()),
        ("request_method", text(random.pick(&["GET", "GET", "POST", "PUT"]))),
        ("request_time", format!("0.{:03}", spent + 3)),
        ("request_uri", text(random.pick(PATHS))),
        ("scheme", text("https")),
        ("server_protocol", text("HTTP/1.1")),
        ("slb_vport", text("443")),
        ("slbid", text("lb-bp1example00000001")),
        ("ssl_cipher", text("ECDHE-RSA-AES128-GCM-SHA256")),
        ("ssl_protocol", text("TLSv1.2")),
        ("status", text(status)),
        ("tcpinfo_rtt", random.between(900, 90_000).to_string()),
        ("time", time(second)),
        ("upstream_addr", format!("192.0.2.{}:8080", random.between(70, 99))),
        ("upstream_response_time", format!("0.{spent:03}")),
        ("upstream_status", text(status)),
        ("vip_addr", text("192.0.2.250")),
        ("write_response_time", text("0")),
    ]
}

/// `2026-01-02T11:04:05+08:00`
fn time(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or_default();
    let time = jiff::Timestamp::from_second(second).unwrap_or_default();
    time.display_with_offset(jiff::tz::offset(8)).to_string()
}
