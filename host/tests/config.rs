//! The configuration from outside: every problem in one run, with its place and a hint; the
//! vendor's sample accepted as it stands; no secret in any message.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot continue should stop"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use forwarder::config::sink::SinkKind;
use forwarder::config::source::Credentials;
use forwarder::config::{Checked, Config, Request, check};
use forwarder_record::Pattern;
use forwarder_sinks::Verify;
use forwarder_sinks::hec::HecSettings;
use forwarder_sinks::syslog::{HeaderFormat, SyslogSettings, rfc5424};
use forwarder_sls::api::Filter;
use forwarder_sls::group::Start;
use forwarder_sls::sign::Signature;

const SECRET: &str = "s3cret-7f1c";

fn environment(name: &str) -> Option<String> {
    let known = HashMap::from([("KEY_ID", "LTAIexample"), ("KEY", SECRET), ("TOKEN", SECRET)]);
    known.get(name).map(|value| (*value).to_owned())
}

/// Checks a file of `tests/config/`, by the path as seen from the package.
fn check_file(name: &str) -> Checked {
    let file = Some(PathBuf::from("tests/config").join(name));
    check(&Request { file, ..Request::default() }, &environment)
}

fn check_text(text: &str) -> Checked {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let request = Request { file: Some(file.path().to_owned()), ..Request::default() };
    check(&request, &environment)
}

fn accepted(text: &str) -> Config {
    check_text(text).config.unwrap_or_else(|problems| panic!("{}", printed(&problems)))
}

fn printed(problems: &[forwarder::problem::Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n\n")).collect()
}

#[test]
fn a_whole_config_is_understood() {
    let checked = check_file("whole.toml");
    let config = checked.config.unwrap_or_else(|problems| panic!("{}", printed(&problems)));
    insta::assert_snapshot!("whole", format!("{config:#?}"));
    insta::assert_snapshot!("whole_notices", printed(&checked.notices));
}

#[test]
fn every_problem_is_reported_in_one_run() {
    let checked = check_file("broken.toml");
    insta::assert_snapshot!("broken", printed(&checked.config.unwrap_err()));
}

#[test]
fn routes_have_to_be_total_reachable_and_to_name_sinks() {
    let checked = check_file("routes.toml");
    insta::assert_snapshot!("routes", printed(&checked.config.unwrap_err()));
}

#[test]
fn a_file_that_is_not_toml_is_reported_by_line() {
    let checked = check_file("not_toml.toml");
    insta::assert_snapshot!("not_toml", printed(&checked.config.unwrap_err()));
}

#[test]
fn the_samples_environment_is_a_source() {
    let env = |name: &str| {
        let value = match name {
            "SLS_ENDPOINT" => "cn-beijing.log.aliyuncs.com",
            "SLS_AK_ID" => "LTAIexample",
            "SLS_AK_KEY" => SECRET,
            "SLS_PROJECT" => "my-project",
            "SLS_LOGSTORE" => "actiontrail",
            "SLS_CG" => "siem",
            "SLS_REGION" => "cn-beijing",
            "SPLUNK" => SECRET,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let request = Request {
        plugins: vec!["audit.wasm".to_owned()],
        sinks: vec![
            "hec+https://10.1.2.3?token_env=SPLUNK&index=audit&gzip=false&timeout=5".to_owned(),
            "syslog+tls://siem.example.org".to_owned(),
            "stdout:".to_owned(),
            "file:/var/log/copy.jsonl".to_owned(),
            "stdout:".to_owned(),
        ],
        ..Request::default()
    };
    let checked = check(&request, &env);
    let config = checked.config.unwrap();
    let source = &config.sources[0];
    assert_eq!(source.name, "actiontrail");
    assert_eq!(source.endpoint.to_string(), "https://cn-beijing.log.aliyuncs.com");
    let Credentials::Key { secret, .. } = &source.credentials else { panic!("no key") };
    assert_eq!(secret.expose(), SECRET);
    assert_eq!(source.signature, Signature::V4 { region: "cn-beijing".to_owned() });
    let names: Vec<_> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(names, ["hec", "syslog", "stdout", "file", "stdout-2"]);
    let SinkKind::Hec(hec) = &config.sinks[0].kind else { panic!("not HEC") };
    assert_eq!(
        (hec.collector.endpoint.origin().as_str(), hec.events.gzip),
        ("https://10.1.2.3:8088", false)
    );
    assert_eq!(hec.collector.timeout, Duration::from_secs(5));
    let SinkKind::Syslog(syslog) = &config.sinks[1].kind else { panic!("not syslog") };
    assert_eq!(syslog.receiver.target.to_string(), "tls://siem.example.org:6514");
    assert_eq!(config.routes.otherwise, [0, 1, 2, 3, 4].into());
    assert_eq!(config.transforms[0].name, "audit");
    insta::assert_snapshot!("environment_notices", printed(&checked.notices));
}

#[test]
fn half_an_environment_names_the_other_half() {
    let env = |name: &str| (name == "SLS_PROJECT").then(|| "p".to_owned());
    let checked = check(&Request::default(), &env);
    insta::assert_snapshot!("half_environment", printed(&checked.config.unwrap_err()));
}

#[test]
fn without_anything_the_first_steps_are_printed() {
    let checked = check(&Request::default(), &|_: &str| None);
    insta::assert_snapshot!("nothing", printed(&checked.config.unwrap_err()));
}

#[test]
fn a_secret_is_in_no_message_and_in_no_debug_output() {
    for name in ["whole.toml", "broken.toml", "not_toml.toml"] {
        let checked = check_file(name);
        let debug = format!("{checked:?}");
        assert!(!debug.contains(SECRET) && !debug.contains("literal-secret"), "{name}: {debug}");
        let text = printed(&checked.notices)
            + &checked.config.err().map_or_else(String::new, |e| printed(&e));
        assert!(!text.contains(SECRET) && !text.contains("literal-secret"), "{name}: {text}");
    }
}

const SOURCE: &str = r#"
[[source]]
endpoint = "https://cn-beijing.log.aliyuncs.com"
project = "p"
logstore = "ls"
consumer_group = "g"
[source.credentials]
access_key_id = "${KEY_ID}"
access_key_secret = "${KEY}"
"#;

fn with_sink(sink: &str) -> String {
    format!("{SOURCE}\n[[sink]]\nname = \"s\"\n{sink}\n")
}

#[test]
fn sources_that_would_move_each_others_checkpoints_are_refused() {
    let twins =
        format!("{SOURCE}\n{}", SOURCE.replace("[[source]]", "[[source]]\nname = \"twin\""));
    let sink = "\n[[sink]]\nname = \"s\"\ntype = \"stdout\"\n";
    let problems = printed(&check_text(&format!("{twins}{sink}")).config.unwrap_err());
    assert!(problems.contains("sources `ls` and `twin` read one logstore in one"), "{problems}");
    let apart = twins.replacen("\"g\"", "\"g2\"", 1);
    assert_eq!(accepted(&format!("{apart}{sink}")).sources.len(), 2);
}

#[test]
fn a_word_that_is_no_log_level_does_not_silence_the_log() {
    let with_level = |level: &str| {
        check_text(&format!("{}[log]\nlevel = \"{level}\"\n", with_sink("type = \"stdout\"")))
    };
    for level in ["info", "WARN", "off", "info, forwarder_sls=debug", "forwarder_sls=debug"] {
        assert!(with_level(level).config.is_ok(), "{level}");
    }
    for level in [
        "inof",
        ",",
        "info,forwarder_sls",
        "info,forwarder_sls=loud",
        "info,[shard]=debug",
        "*=debug",
        "=debug",
    ] {
        assert!(printed(&with_level(level).config.unwrap_err()).contains("log level"), "{level}");
    }
}

#[test]
fn braces_are_values_of_the_log_or_refused_with_what_to_write() {
    let syslog =
        |keys: &str| with_sink(&format!("type = \"syslog\"\naddress = \"tls://h\"\n{keys}"));
    let hec = |keys: &str| {
        with_sink(&format!("type = \"hec\"\nurl = \"https://h\"\ntoken = \"t\"\n{keys}"))
    };
    for (text, hint) in [
        (syslog("hostname = \"{{ account }}\""), "write `{account}` for the value of that field"),
        (syslog("hostname = \"{account\""), "write `{name}` for the value of a field"),
        (syslog("app_name = \"a{}\""), "or `{name|default}`"),
        (syslog("severity = \"{level|loud}\""), "`loud` is not a syslog severity"),
        (syslog("hostname_key = \"account\""), "unknown key `hostname_key`"),
        (syslog("time_field = \"{event.eventTime}\""), "without braces"),
        (hec("index = \"a}\""), "`}}` for a brace"),
        (hec("time_field = \"event..eventTime\""), "`field.member`"),
    ] {
        let problems = printed(&check_text(&text).config.unwrap_err());
        assert!(problems.contains(hint), "{text}: {problems}");
    }
    let config =
        accepted(&syslog("severity = \"{level|4}\"\nhostname = \"{account}\"\napp_name = \"x\""));
    let found = header_of(&config);
    assert_eq!(found.priority.value(), 8 + 4, "what is sent where the log says nothing");
    assert!(found.from_log.severity.is_some() && found.from_log.hostname.is_some());
    assert_eq!((found.hostname.as_deref(), found.app_name.as_deref()), (None, Some("x")));
}

/// A setting of the sample written into our file, and what has to come of it.
struct Case {
    option: (&'static str, &'static str),
    written: &'static str,
    outcome: Outcome,
}

enum Outcome {
    Means(fn(&Config) -> bool),
    RefusedNaming(&'static str),
}
use Outcome::{Means, RefusedNaming};

fn source_of(config: &Config) -> &forwarder::config::source::SourceConfig {
    &config.sources[0]
}

fn hec_of(config: &Config) -> &HecSettings {
    match &config.sinks[0].kind {
        SinkKind::Hec(hec) => hec,
        other => panic!("{other:?}"),
    }
}

fn syslog_of(config: &Config) -> &SyslogSettings {
    match &config.sinks[0].kind {
        SinkKind::Syslog(syslog) => syslog,
        other => panic!("{other:?}"),
    }
}

fn header_of(config: &Config) -> &rfc5424::HeaderSettings {
    match &syslog_of(config).messages.header {
        HeaderFormat::Rfc5424(header) => header,
        other @ HeaderFormat::Rfc3164(_) => panic!("{other:?}"),
    }
}

fn starts_at(config: &Config, instant: &str) -> bool {
    source_of(config).start == Start::Time(instant.parse::<jiff::Timestamp>().unwrap().as_second())
}

fn case(
    dictionary: &'static str,
    option: &'static str,
    written: &'static str,
    outcome: Outcome,
) -> Case {
    Case { option: (dictionary, option), written, outcome }
}

fn consumer_cases() -> Vec<Case> {
    let c = |option, written, outcome| case("Consumer", option, written, outcome);
    vec![
        c(
            "cursor_start_time",
            r#"cursor_start_time = "begin""#,
            Means(|c| source_of(c).start == Start::Begin),
        ),
        c(
            "cursor_start_time",
            r#"cursor_start_time = "end""#,
            Means(|c| source_of(c).start == Start::End),
        ),
        c(
            "cursor_start_time",
            r#"cursor_start_time = "2018-12-26 0:0:0""#,
            Means(|c| starts_at(c, "2018-12-25T16:00:00Z")),
        ),
        c(
            "cursor_start_time",
            r#"cursor_start_time = "1545753600""#,
            Means(|c| starts_at(c, "2018-12-25T16:00:00Z")),
        ),
        c("cursor_start_time", r#"cursor_start_time = "noon""#, RefusedNaming("`start`")),
        c(
            "heartbeat_interval",
            "heartbeat_interval = 20",
            Means(|c| source_of(c).heartbeat_interval == Duration::from_secs(20)),
        ),
        c(
            "data_fetch_interval",
            "data_fetch_interval = 1",
            Means(|c| source_of(c).idle_poll == Duration::from_secs(1)),
        ),
        c(
            "query",
            "query = \"* | where a = '${x}'\"",
            Means(|c| source_of(c).query == Some(Filter::Query("* | where a = '${x}'".to_owned()))),
        ),
        c(
            "consumer_name",
            r#"consumer_name = "siem-1""#,
            Means(|c| source_of(c).consumer == "siem-1".parse().ok()),
        ),
        c("consumer_group", "", Means(|c| source_of(c).consumer_group.as_str() == "g")),
    ]
}

fn splunk_cases() -> Vec<Case> {
    let c = |option, written, outcome| case("Splunk", option, written, outcome);
    vec![
        c(
            "host",
            "host = \"10.1.2.3\"\nport = 8089\nhttps = true",
            Means(|c| hec_of(c).collector.endpoint.origin() == "https://10.1.2.3:8089"),
        ),
        c(
            "host",
            r#"host = "10.1.2.3""#,
            Means(|c| hec_of(c).collector.endpoint.origin() == "https://10.1.2.3:8088"),
        ),
        c("port", "url = \"https://h\"\nport = 8088", RefusedNaming("`port` is part of `url`")),
        c("https", "host = \"10.1.2.3\"\nhttps = false", RefusedNaming("allow_plaintext = true")),
        c(
            "https",
            "host = \"10.1.2.3\"\nhttps = false\nallow_plaintext = true",
            Means(|c| hec_of(c).collector.endpoint.origin().starts_with("http://")),
        ),
        c(
            "https",
            "host = \"127.0.0.1\"\nhttps = false",
            Means(|c| hec_of(c).collector.endpoint.origin() == "http://127.0.0.1:8088"),
        ),
        c(
            "token",
            r#"url = "https://h""#,
            Means(|c| format!("{:?}", hec_of(c).collector.token) == "Fixed(Token(***))"),
        ),
        c(
            "timeout",
            "url = \"https://h\"\ntimeout = 120",
            Means(|c| hec_of(c).collector.timeout == Duration::from_secs(120)),
        ),
        c(
            "ssl_verify",
            "url = \"https://h\"\nssl_verify = false",
            Means(|c| hec_of(c).collector.tls.verify == Verify::Nothing),
        ),
        c(
            "ssl_verify",
            "url = \"https://h\"\nssl_verify = true",
            Means(|c| hec_of(c).collector.tls.verify == Verify::SystemRoots),
        ),
        c(
            "sourcetype",
            "url = \"https://h\"\nsourcetype = \"aliyun\"",
            Means(|c| hec_of(c).events.sourcetype.as_fixed() == Some("aliyun")),
        ),
        c(
            "index",
            "url = \"https://h\"\nindex = \"\"",
            Means(|c| hec_of(c).events.index.as_fixed() == Some("")),
        ),
        c(
            "source",
            "url = \"https://h\"\nsource = \"sls\"",
            Means(|c| hec_of(c).events.source.as_fixed() == Some("sls")),
        ),
    ]
}

fn syslog_cases() -> Vec<Case> {
    use forwarder_sinks::syslog::{Payload, Security};
    let c = |option, written, outcome| case("Syslog", option, written, outcome);
    vec![
        c(
            "host",
            "host = \"siem\"\nport = 6514\nprotocol = \"tls\"",
            Means(|c| syslog_of(c).receiver.target.to_string() == "tls://siem:6514"),
        ),
        c(
            "port",
            "address = \"tls://h\"\nport = 514",
            RefusedNaming("`port` is part of `address`"),
        ),
        c(
            "protocol",
            "host = \"siem\"\nprotocol = \"tcp\"",
            RefusedNaming("allow_plaintext = true"),
        ),
        c(
            "protocol",
            "host = \"127.0.0.1\"\nprotocol = \"tcp\"",
            Means(|c| {
                syslog_of(c).receiver.target.security == Security::Plain
                    && syslog_of(c).receiver.target.port == 514
            }),
        ),
        c("protocol", "host = \"siem\"\nprotocol = \"udp\"", RefusedNaming("tls://HOST:PORT")),
        c(
            "sep",
            "address = \"tls://h\"\nsep = \"||\"",
            Means(|c| syslog_of(c).messages.payload == Payload::default()),
        ),
        c(
            "cert_path",
            "address = \"tls://h\"\ncert_path = \"/etc/ca.pem\"",
            Means(|c| syslog_of(c).receiver.tls.verify == Verify::CaFile("/etc/ca.pem".into())),
        ),
        c(
            "timeout",
            "address = \"tls://h\"\ntimeout = 120",
            Means(|c| syslog_of(c).receiver.write_timeout == Duration::from_secs(120)),
        ),
        c(
            "facility",
            "address = \"tls://h\"\nfacility = \"FAC_LOCAL3\"",
            Means(|c| header_of(c).priority.value() == 19 * 8 + 6),
        ),
        c(
            "facility",
            "address = \"tls://h\"\nfacility = 13",
            Means(|c| header_of(c).priority.value() == 13 * 8 + 6),
        ),
        c("facility", "address = \"tls://h\"\nfacility = \"FAC_NONE\"", RefusedNaming("local7")),
        c(
            "severity",
            "address = \"tls://h\"\nseverity = \"SEV_WARNING\"",
            Means(|c| header_of(c).priority.value() == 8 + 4),
        ),
        c(
            "hostname",
            "address = \"tls://h\"\nhostname = \"fw.example.org\"",
            Means(|c| header_of(c).hostname.as_deref() == Some("fw.example.org")),
        ),
        c("tag", "address = \"tls://h\"\ntag = \"-\"", Means(|c| header_of(c).app_name.is_none())),
        c(
            "tag",
            "address = \"tls://h\"\ntag = \"sls\"",
            Means(|c| header_of(c).app_name.as_deref() == Some("sls")),
        ),
    ]
}

fn file_for(case: &Case) -> String {
    match case.option.0 {
        "Consumer" => {
            let source = SOURCE.replace("[source.cred", &format!("{}\n[source.cred", case.written));
            format!("timezone = \"+08:00\"\n{source}\n[[sink]]\nname = \"s\"\ntype = \"stdout\"\n")
        }
        "Splunk" => with_sink(&format!("type = \"hec\"\ntoken = \"${{TOKEN}}\"\n{}", case.written)),
        _ => with_sink(&format!("type = \"syslog\"\n{}", case.written)),
    }
}

#[test]
fn every_option_of_the_vendors_sample_is_accepted_or_its_new_key_is_named() {
    let cases: Vec<Case> =
        [consumer_cases(), splunk_cases(), syslog_cases()].into_iter().flatten().collect();
    for (script, option, _) in forwarder::config::legacy::OPTIONS {
        let script = format!("{script:?}");
        let covered = cases.iter().any(|case| case.option == (script.as_str(), *option));
        assert!(covered, "no case for {script} {option}");
    }
    for case in &cases {
        let checked = check_text(&file_for(case));
        match (&case.outcome, checked.config) {
            (Means(holds), Ok(config)) => assert!(holds(&config), "{}: {config:?}", case.written),
            (RefusedNaming(key), Err(problems)) => {
                assert!(
                    printed(&problems).contains(key),
                    "{}: {}",
                    case.written,
                    printed(&problems)
                );
            }
            (Means(_), Err(problems)) => panic!("{}: {}", case.written, printed(&problems)),
            (RefusedNaming(key), Ok(_)) => panic!("{}: accepted, should name {key}", case.written),
        }
    }
}

#[test]
fn a_time_without_a_zone_is_reported_as_the_instant_it_is() {
    let text = format!("timezone = \"+08:00\"\n{}", with_sink("type = \"stdout\""))
        .replace("[source.cred", "cursor_start_time = \"2018-12-26 0:0:0\"\n[source.cred");
    let notices = printed(&check_text(&text).notices);
    assert!(notices.contains("2018-12-25T16:00:00Z"), "{notices}");
}

#[test]
fn rules_reach_sinks_and_labels_by_name() {
    let config = accepted(&format!(
        "{SOURCE}
        [[sink]]
        name = \"a\"
        type = \"stdout\"
        [[sink]]
        name = \"b\"
        type = \"file\"
        path = \"/tmp/x\"
        [[route]]
        label = \"noise\"
        to = []
        [[route]]
        when = {{ topic = [\"actiontrail_*\"], field.\"__topic__\" = \"x\" }}
        to = [\"b\", \"a\", \"b\"]
        [[route]]
        to = [\"a\"]"
    ));
    let [noise, audit] = config.routes.rules.as_slice() else { panic!("not two rules") };
    assert_eq!(noise.label.as_deref(), Some("noise"));
    assert!(noise.to.is_empty());
    let when = audit.when.as_ref().unwrap();
    assert_eq!(when.fields, [("__topic__".to_owned(), vec![Pattern::new("x")])]);
    assert_eq!(audit.to, [0, 1].into());
    assert_eq!(config.routes.otherwise, [0].into());
}
