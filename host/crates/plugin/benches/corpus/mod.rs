//! Logs of the two shapes of the performance bar, 1,024 of each: access logs of 24 short fields (0.75 KB) and
//! audit logs whose field `event` holds 2 KB of JSON. Made up, always the same.

use bytes::Bytes;
use forwarder_record::encode::{Log, LogGroup, log_group_list};
use forwarder_record::{Batch, Origin};

/// A block, to be decoded as often as needed.
pub(crate) struct Corpus {
    block: Bytes,
    /// Logs in it.
    pub(crate) rows: usize,
    /// Keys and values in it.
    pub(crate) bytes: usize,
}

const ROWS: usize = 1024;

impl Corpus {
    fn of(make: impl Fn(usize) -> Vec<(String, String)>) -> Self {
        let logs: Vec<_> = (0..ROWS)
            .map(|n| Log { time: 1_767_323_045 + n as u32 / 50, nanos: None, contents: make(n) })
            .collect();
        let cells = logs.iter().flat_map(|log| &log.contents);
        let bytes = cells.map(|(key, value)| key.len() + value.len()).sum();
        let group =
            LogGroup { topic: "topic".into(), source: "192.0.2.1".into(), tags: vec![], logs };
        let block = log_group_list([group.encode().as_slice()]).into();
        Self { block, rows: ROWS, bytes }
    }

    /// A fresh batch.
    pub(crate) fn batch(&self) -> Batch {
        Batch::decode(self.block.clone(), Origin::default(), &Default::default()).unwrap()
    }
}

/// Access logs; two in five have a status that begins with 4.
pub(crate) fn flow() -> Corpus {
    const NAMES: [&str; 24] = [
        "remote_addr",
        "remote_user",
        "time_local",
        "method",
        "uri",
        "protocol",
        "status",
        "body_bytes",
        "referer",
        "user_agent",
        "request_time",
        "upstream_time",
        "upstream_addr",
        "request_id",
        "host",
        "scheme",
        "region",
        "vpc_id",
        "tls_version",
        "cipher",
        "cache",
        "trace_id",
        "span_id",
        "bytes_in",
    ];
    Corpus::of(|n| {
        let fields = NAMES.iter().enumerate().map(|(i, &name)| {
            let value = match name {
                "status" => ["200", "404", "301", "403", "200"][n % 5].to_owned(),
                "user_agent" => {
                    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126".to_owned()
                }
                _ => format!("{name}-{:0width$}", n * (i + 7), width = 4 + i % 14),
            };
            (name.to_owned(), value)
        });
        fields.collect()
    })
}

/// Audit logs; half of them are calls that only read.
pub(crate) fn trail() -> Corpus {
    const CALLS: [&str; 4] = ["DescribeInstances", "RunInstances", "ListUsers", "DeleteBucket"];
    Corpus::of(|n| {
        let event = serde_json::json!({
            "eventId": format!("{n:032x}"),
            "eventVersion": 1,
            "userIdentity": {
                "type": "ram-user", "principalId": format!("2{n:015}"), "userName": "ops",
                "sessionContext": {"attributes": {"mfaAuthenticated": "true"}},
            },
            "eventSource": "ecs.aliyuncs.com",
            "sourceIpAddress": format!("192.0.2.{}", n % 256),
            "eventName": CALLS[n % 4],
            "eventType": "ApiCall",
            "requestParameters": {
                "RegionId": "cn-beijing", "Filter": "a \"quoted\" text\n".repeat(20),
                "Ids": (0..40).map(|i| format!("i-{:016x}", n * 40 + i)).collect::<Vec<_>>(),
            },
            "additionalEventData": {"isMFAChecked": "true", "note": "0123456789 abcdef ".repeat(12)},
        });
        let fields = [
            ("event", event.to_string()),
            ("__source_name__", "actiontrail".to_owned()),
            ("owner_id", format!("{n:016}")),
            ("region", "cn-beijing".to_owned()),
            ("service", "Ecs".to_owned()),
            ("rw", "Write".to_owned()),
            ("trail", "default-trail".to_owned()),
            ("account", "1234567890123456".to_owned()),
        ];
        fields.map(|(key, value)| (key.to_owned(), value)).to_vec()
    })
}
