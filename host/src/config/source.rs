//! `[[source]]`: a logstore, the consumer group that shares it, and how this consumer behaves.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use forwarder_sls::api::Filter;
use forwarder_sls::group::{OnInvalidCursor, Start};
use forwarder_sls::sign::Signature;
use forwarder_sls::{
    ConsumerName, Endpoint, GroupName, LogstoreName, NameError, ProjectName, Scheme,
};

use super::address::{self, Address, HTTP, Transport};
use super::legacy::{self, Script};
use super::raw::{Context, Found, Section};
use super::secret::Secret;
use super::start;

/// One logstore to read.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// What it is called in routes, metrics and logs; the logstore unless named.
    pub name: String,
    /// Where SLS is, without the project.
    pub endpoint: Endpoint,
    /// The project.
    pub project: ProjectName,
    /// The logstore.
    pub logstore: LogstoreName,
    /// The group whose consumers share the shards.
    pub consumer_group: GroupName,
    /// This consumer; `None` is the host's name and an instance number.
    pub consumer: Option<ConsumerName>,
    /// Who we are to SLS.
    pub credentials: Credentials,
    /// How requests are signed.
    pub signature: Signature,
    /// Where shards without a checkpoint start.
    pub start: Start,
    /// Where to stop, for a run that ends by itself: logs received at this time or later are left.
    /// Seconds since the epoch.
    pub end: Option<i64>,
    /// What SLS filters and reshapes before it sends.
    pub query: Option<Filter>,
    /// Whether we may create the group and set its options.
    pub manage_group: bool,
    /// How often a heartbeat is sent.
    pub heartbeat_interval: Duration,
    /// After how long without a heartbeat SLS gives our shards away; `None` leaves it to the group, which
    /// has 60 s if we create it.
    pub group_timeout: Option<Duration>,
    /// Whether the children of a split shard wait for their parents; `None` leaves it to the group.
    pub in_order: Option<bool>,
    /// How often a moved checkpoint is saved.
    pub commit_interval: Duration,
    /// The longest wait between two looks at an idle shard.
    pub idle_poll: Duration,
    /// What happens where SLS no longer knows our checkpoint.
    pub on_invalid_cursor: OnInvalidCursor,
    /// The largest block of logs, decompressed, in bytes; a larger one holds its shard.
    pub max_block: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// Authorities to trust besides the host's (PEM), for a gateway with a certificate of its own.
    pub ca_file: Option<PathBuf>,
}

impl SourceConfig {
    /// Whether both would keep their checkpoints in the same place, whatever they are called.
    pub(super) fn shares_checkpoints(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.project == other.project
            && self.logstore == other.logstore
            && self.consumer_group == other.consumer_group
    }
}

/// Who we are to SLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// An access key pair, or a temporary one with its token.
    Key {
        /// The key's public half; not shown either.
        id: Secret,
        /// The key's private half.
        secret: Secret,
        /// The token of temporary (STS) credentials.
        token: Option<Secret>,
    },
    /// A JSON file with `AccessKeyId`, `AccessKeySecret` and `SecurityToken` that another program replaces.
    File(PathBuf),
    /// The RAM role of the ECS instance.
    Role {
        /// The role's name.
        role: String,
        /// Where the instance's metadata service is; `None` is its usual address.
        metadata: Option<String>,
    },
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Checks one `[[source]]`.
pub(super) fn check(mut section: Section, cx: &mut Context<'_>) -> Option<SourceConfig> {
    let s = &mut section;
    legacy::rename(Script::Consumer, s, cx);
    s.choice("type", &[("sls", ())], cx);
    let allow_plaintext = s.flag("allow_plaintext", cx).is_some_and(value);
    let endpoint = s
        .required("endpoint", cx)
        .and_then(|found| address::check("endpoint", &found, HTTP, allow_plaintext, cx))
        .map(|Address { transport, host, port }| {
            let scheme = match transport {
                Transport::Tls => Scheme::Https,
                Transport::Plain => Scheme::Http,
            };
            Endpoint::new(scheme, &host, port)
        });
    let project = s.required("project", cx).and_then(|found| name(&found, "project", cx));
    let logstore: Option<LogstoreName> =
        s.required("logstore", cx).and_then(|found| name(&found, "logstore", cx));
    let consumer_group =
        s.required("consumer_group", cx).and_then(|found| name(&found, "consumer_group", cx));
    let source =
        s.text("name", cx).map(value).or_else(|| logstore.as_ref().map(ToString::to_string));
    let consumer = s.text("consumer", cx).and_then(|found| name(&found, "consumer", cx));
    let credentials = credentials(s, cx);
    let (heartbeat_interval, group_timeout) = lease_times(s, cx);
    let signature = signature(s, cx);
    let start = start::check(s, cx).unwrap_or(Start::Begin);
    let query = query(s, cx);
    let manage_group = s.flag("manage_group", cx).is_none_or(value);
    let end = start::end(s, cx);
    let in_order = s.flag("in_order", cx).map(value);
    let commit_interval = s.duration("commit_interval", SECOND / 10..=HOUR, cx);
    let idle_poll = s.duration("idle_poll", SECOND / 20..=60 * SECOND, cx);
    let on_invalid_cursor = s.choice("on_invalid_cursor", INVALID_CURSOR, cx);
    let max_block = s.size("max_block", 1 << 20..=1 << 30, cx);
    let timeout = s.duration("timeout", SECOND..=HOUR, cx);
    let ca_file = s.text("ca_file", cx).map(|found| found.value.into());
    section.finish(cx);
    Some(SourceConfig {
        name: source?,
        endpoint: endpoint?,
        project: project?,
        logstore: logstore?,
        consumer_group: consumer_group?,
        consumer,
        credentials: credentials?,
        signature,
        start,
        query,
        manage_group,
        heartbeat_interval,
        group_timeout,
        in_order,
        end,
        commit_interval: commit_interval.map_or(5 * SECOND, value),
        idle_poll: idle_poll.map_or(2 * SECOND, value),
        on_invalid_cursor: on_invalid_cursor.map_or(OnInvalidCursor::Begin, value),
        max_block: max_block.map_or(64 << 20, value),
        timeout: timeout.map_or(60 * SECOND, value),
        ca_file,
    })
}

const INVALID_CURSOR: &[(&str, OnInvalidCursor)] = &[
    ("begin", OnInvalidCursor::Begin),
    ("end", OnInvalidCursor::End),
    ("fail", OnInvalidCursor::Fail),
];

fn value<T>(found: Found<T>) -> T {
    found.value
}

fn credentials(section: &mut Section, cx: &mut Context<'_>) -> Option<Credentials> {
    let Some(mut keys) = section.table("credentials", cx) else {
        let help = "add `[source.credentials]` with `access_key_id` and `access_key_secret`";
        cx.error(&section.at_key("credentials"), "`credentials` are missing", help);
        return None;
    };
    if let Some(file) = keys.text("file", cx) {
        keys.finish(cx);
        return Some(Credentials::File(file.value.into()));
    }
    let role = keys.text("ecs_ram_role", cx);
    let metadata = metadata_url(role.is_some(), &mut keys, cx);
    if let Some(role) = role {
        keys.finish(cx);
        if !is_role(&role.value) {
            let rule = "1 to 64 letters, digits, `-`, `_` or `.`";
            not_a(&role, "ecs_ram_role", rule, cx);
            return None;
        }
        let role = role.value;
        return Some(Credentials::Role { role, metadata });
    }
    for key in ["access_key_id", "access_key_secret"] {
        if !keys.has(key) {
            let help = format!(
                "add `{key} = \"${{NAME_OF_A_VARIABLE}}\"`, or `ecs_ram_role` on an ECS instance"
            );
            cx.error(&keys.at_key(key), format!("`{key}` is missing"), help);
        }
    }
    let id = keys.secret("access_key_id", cx);
    let secret = keys.secret("access_key_secret", cx);
    let token = keys.secret("security_token", cx).map(value);
    keys.finish(cx);
    Some(Credentials::Key { id: id?.value, secret: secret?.value, token })
}

fn metadata_url(has_role: bool, keys: &mut Section, cx: &mut Context<'_>) -> Option<String> {
    let url = keys.text("metadata_url", cx)?;
    let is_url = ["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme));
    if !has_role {
        cx.error(&url.at, "`metadata_url` has no effect", "add `ecs_ram_role`, or leave it out");
    } else if !is_url {
        let help = "write `http://ADDRESS`, or leave it out for the usual address of ECS";
        cx.error(&url.at, "`metadata_url` is not an address", help);
    }
    is_url.then_some(url.value)
}

fn signature(section: &mut Section, cx: &mut Context<'_>) -> Signature {
    let region = section.text("region", cx).map(value);
    let version = section.choice("signature", &[("v1", 1), ("v4", 4)], cx);
    match (version.as_ref().map(|found| found.value), region) {
        (Some(4) | None, Some(region)) => Signature::V4 { region },
        (Some(4), None) => {
            let at = section.at().clone();
            cx.error(&at, "`signature = \"v4\"` needs a region", "add `region = \"cn-hangzhou\"`");
            Signature::V1
        }
        _ => Signature::V1,
    }
}

fn query(section: &mut Section, cx: &mut Context<'_>) -> Option<Filter> {
    let spl = section.verbatim("query", cx);
    let processor = section.text("processor", cx);
    match (spl, processor) {
        (Some(spl), None) => Some(Filter::Query(spl.value)),
        (None, Some(processor)) => Some(Filter::Processor(processor.value)),
        (Some(_), Some(processor)) => {
            let message =
                "`query` and `processor` are given, and SLS does not say which it would run";
            cx.error(&processor.at, message, "keep one");
            None
        }
        (None, None) => None,
    }
}

/// The heartbeat interval and the group's timeout, which has to survive lost beats.
fn lease_times(section: &mut Section, cx: &mut Context<'_>) -> (Duration, Option<Duration>) {
    let interval =
        section.duration("heartbeat_interval", SECOND..=HOUR, cx).map_or(10 * SECOND, value);
    let timeout = section.duration("group_timeout", 2 * SECOND..=HOUR, cx);
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value < 2 * interval) {
        let message =
            "`group_timeout` is less than two heartbeats: one lost beat would move the shards";
        cx.error(&timeout.at, message, format!("use at least {:?}", 4 * interval));
    }
    (interval, timeout.map(value))
}

fn is_role(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn name<T>(found: &Found<String>, key: &str, cx: &mut Context<'_>) -> Option<T>
where
    T: FromStr<Err = NameError>,
{
    found.value.parse().map_err(|error: NameError| not_a(found, key, error.rule(), cx)).ok()
}

fn not_a(found: &Found<String>, key: &str, rule: &str, cx: &mut Context<'_>) {
    let message = format!("`{}` cannot be a {key}", found.value);
    cx.error(&found.at, message, format!("use {rule}"));
}
