//! Logs with everything in them that has ever broken a syslog parser.

use std::iter;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_record::encode::{Log, LogGroup};

use crate::transcript::Fields;

/// Values. Each stands in a log of its own, and next to others.
const VALUES: &[&str] = &[
    "",
    " ",
    "  spaces around  ",
    r#"say "hi", or 'hi'"#,
    r"C:\new\table\\server\share\",
    "one line\nand another\r\n\nand an end\n",
    "\n<14>1 2026-01-01T00:00:00Z host app - - - forged after a line break",
    "x\n99 <14>1 - - - - - forged with a length",
    r#"] [forged@32473 id="1"]"#,
    "a||b|c|||d||",
    "||",
    "a=b==c=",
    "tab\there, bell\u{7}, escape\u{1b}[31m, delete\u{7f}",
    "a\0b",
    "\0",
    "审计日志:用户「张三」登录成功",
    "naïve café, Ελληνικά, עברית, 🚀👩‍💻, e\u{301}",
    "\u{feff}a mark of byte order, \u{2028}a separator of lines, \u{85}a next line",
    "%s %n %d $!all %msg% ${MESSAGE} `id` $(id)",
    r#"{"nested": [1, 2.50, {"deep": "a \"quote\" and \\ and \n"}], "n": null}"#,
    "#011 #012 are what rsyslog makes of control characters",
];

/// Keys in addition to the plain one.
const KEYS: &[&str] =
    &["a=b", "a||b", r#"quote"back\slash"#, "键", "with space", "line\nbreak", "MSG"];

const TIME: u32 = 1_767_323_045;
const TOPIC: &str = "topic || \"with\" everything = 话题";
const SOURCE: &str = "192.0.2.7";

/// So many different logs.
pub(crate) const COUNT: u64 = (VALUES.len() * KEYS.len()) as u64;

/// All logs in one group, in the order of their numbers.
pub(crate) fn group() -> EncodedGroup {
    let logs = (0..COUNT).map(|number| Log {
        time: TIME + number as u32,
        nanos: nanos(number),
        contents: contents(number),
    });
    let group = LogGroup {
        topic: TOPIC.to_owned(),
        source: SOURCE.to_owned(),
        logs: logs.collect(),
        ..LogGroup::default()
    };
    EncodedGroup::from(&group)
}

/// A log as it is once flattened, without its time.
pub(crate) fn fields(number: u64) -> Fields {
    let metadata = [("__topic__", TOPIC), ("__source__", SOURCE)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    contents(number).into_iter().chain(metadata).collect()
}

/// Seconds since 1970 and the microseconds that follow, which is all that syslog carries.
pub(crate) fn time(number: u64) -> (u64, u32) {
    (u64::from(TIME) + number, nanos(number).unwrap_or(0) / 1_000)
}

/// Some logs have a time to the nanosecond, others to the second.
fn nanos(number: u64) -> Option<u32> {
    number.is_multiple_of(2).then_some(1_999_999 + number as u32)
}

/// Every value meets every key; the last one is long, and other in each log.
fn contents(number: u64) -> Vec<(String, String)> {
    let nth = |list: &'static [&str], n: u64| list[(n % list.len() as u64) as usize];
    let pairs = [
        ("number", number.to_string()),
        ("value", nth(VALUES, number).to_owned()),
        (nth(KEYS, number / VALUES.len() as u64), nth(VALUES, number).to_owned()),
        ("next", nth(VALUES, number + 1).to_owned()),
        ("long", iter::repeat_n("长 ", (number % 9 * 200) as usize).collect()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
