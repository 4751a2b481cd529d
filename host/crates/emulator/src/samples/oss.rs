//! Access logs of object storage.

use super::random::Random;

const OBJECTS: &[&str] = &[
    "reports%2F2026%2F01%2Fsummary.csv",
    "images%2Flogo%402x.png",
    "backup%2Fdb%2Fdump.sql.gz",
    "%E5%90%88%E5%90%8C%2F2026.pdf",
];
const AGENTS: &[&str] = &[
    "aliyun-sdk-java/3.17.4(Linux/5.10/amd64;1.8.0_392)",
    "aliyun-sdk-go/3.0.2 (Linux/5.15.0/x86_64;go1.22)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
];

pub(super) fn fields(random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
    let object = random.pick(OBJECTS);
    let (operation, method) = random.pick(&[
        ("GetObject", "GET"),
        ("GetObject", "GET"),
        ("PutObject", "PUT"),
        ("HeadObject", "HEAD"),
        ("DeleteObject", "DELETE"),
    ]);
    let (status, error) = random.pick(&[
        ("200", "-"),
        ("200", "-"),
        ("200", "-"),
        ("403", "AccessDenied"),
        ("404", "NoSuchKey"),
    ]);
    let bucket = random.pick(&["example-assets", "example-finance-archive", "example-logs"]);
    let size = random.between(200, 5_000_000).to_string();
    let text = |text: &str| text.to_owned();
    vec![
        ("owner_id", text("1234567890123456")),
        ("region", text("cn-hangzhou")),
        ("access_id", format!("LTAIexample{}", random.hex(13))),
        ("time", local_time(second)),
        ("User-Agent", text(random.pick(AGENTS))),
        ("logging_flag", text("true")),
        ("bucket", text(bucket)),
        ("content_length_in", text("-")),
        ("content_length_out", size.clone()),
        ("object", text(object)),
        ("object_size", size.clone()),
        ("operation", text(operation)),
        ("request_uri", format!("/{object}?versionId=null HTTP/1.1")),
        ("error_code", text(error)),
        ("request_length", random.between(300, 900).to_string()),
        ("client_ip", random.address()),
        ("response_body_length", size),
        ("http_method", text(method)),
        ("referer", text("-")),
        ("requester_id", text("298765432109876543")),
        ("request_id", random.hex(24)),
        ("response_time", random.between(1, 900).to_string()),
        ("server_cost_time", random.between(1, 400).to_string()),
        ("http_type", text("https")),
        ("sign_type", text("NormalSign")),
        ("http_status", text(status)),
        ("sync_request", text("-")),
        ("bucket_storage_type", text("standard")),
        ("host", format!("{bucket}.oss-cn-hangzhou.aliyuncs.com")),
        ("vpc_addr", text("-")),
        ("vpc_id", text("-")),
        ("delta_data_size", text("-")),
        ("acc_access_region", text("-")),
        ("bucket_location", text("oss-cn-hangzhou-a")),
    ]
}

/// `02/Jan/2026:11:04:05`, in China's time as the service writes it.
fn local_time(second: u64) -> String {
    let china = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let second = i64::try_from(second).unwrap_or_default();
    let time = jiff::Timestamp::from_second(second).unwrap_or_default().to_zoned(china);
    time.strftime("%d/%b/%Y:%H:%M:%S").to_string()
}
