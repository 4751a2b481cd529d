//! The settings of the process itself: `[admin]`, `[log]`, `[dead_letters]` and the keys at the top.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::raw::{Context, Found, Section};
use super::secret::Lookup;

/// `[admin]`: metrics and health, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where to listen. Further instances on this host take the ports above it.
    pub listen: SocketAddr,
    /// Whether the address was written: a default that is taken by others is no reason to fail.
    pub is_chosen: bool,
}

/// `[log]`: what this program says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines for people or objects for machines.
    pub format: LogFormat,
    /// The least severe level, or directives such as `info,forwarder_sls=debug`.
    pub level: String,
    /// A file to write to as well; the process id is put into its name.
    pub file: Option<PathBuf>,
    /// Size at which the file is rotated, in bytes.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: usize,
    /// How often a line says how the process is; never, if zero.
    pub status_interval: Duration,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[dead_letters]`: where logs go that no sink will ever take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterConfig {
    /// The file; `None` puts it into the state directory.
    pub path: Option<PathBuf>,
    /// Size at which it is full and its shards hold, in bytes. Nothing is deleted to make room.
    pub max_size: u64,
}

/// The keys at the top of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessConfig {
    /// Bytes of logs and bodies held at once, from pull to settle.
    pub memory_budget: u64,
    /// The share of rows that may become dead letters before everything holds.
    pub max_reject_ratio: f64,
    /// Where locks, dead letters and compiled plugins are kept.
    pub state_dir: PathBuf,
    /// Folders in which plugins are looked up by name.
    pub plugin_dirs: Vec<PathBuf>,
    /// Threads for plugins and codecs; `None` for one per core.
    pub threads: Option<usize>,
    /// How long a stop waits for what is in flight.
    pub shutdown_grace: Duration,
}

/// The port OpenTelemetry exporters made usual for Prometheus.
const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Reads `[admin]`.
pub(super) fn admin(root: &mut Section, cx: &mut Context<'_>) -> AdminConfig {
    let default = AdminConfig { listen: ADMIN, is_chosen: false };
    let Some(mut section) = root.table("admin", cx) else { return default };
    let listen = section.text("listen", cx).and_then(|found| socket(&found, cx));
    section.finish(cx);
    listen.map_or(default, |listen| AdminConfig { listen, is_chosen: true })
}

fn socket(found: &Found<String>, cx: &mut Context<'_>) -> Option<SocketAddr> {
    let Ok(address) = found.value.parse::<SocketAddr>() else {
        let help = "write an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"";
        cx.error(&found.at, format!("`{}` is not an address to listen on", found.value), help);
        return None;
    };
    if !address.ip().is_loopback() {
        let message = format!("metrics and health at {address} are open to the network");
        cx.notice(
            &found.at,
            message,
            "they hold no logs and no secrets, but names of projects and sinks",
        );
    }
    Some(address)
}

/// Reads `[log]`.
pub(super) fn log(root: &mut Section, cx: &mut Context<'_>) -> LogConfig {
    let mut log = LogConfig {
        format: LogFormat::Text,
        level: "info".to_owned(),
        file: None,
        max_size: 100 * 1_000_000,
        max_files: 5,
        status_interval: 60 * SECOND,
    };
    let Some(mut section) = root.table("log", cx) else { return log };
    if let Some(found) = section.choice("format", LOG_FORMATS, cx) {
        log.format = found.value;
    }
    if let Some(found) = section.text("level", cx) {
        log.level = checked_level(found, cx).unwrap_or(log.level);
    }
    log.file = section.text("file", cx).map(|found| found.value.into());
    if let Some(found) = section.size("max_size", 4_096..=1 << 40, cx) {
        log.max_size = found.value;
    }
    if let Some(found) = section.whole("max_files", 1..=1_000, cx) {
        log.max_files = found.value;
    }
    if let Some(found) =
        section.duration("status_interval", Duration::ZERO..=24 * 3600 * SECOND, cx)
    {
        log.status_interval = found.value;
    }
    section.finish(cx);
    log
}

/// The words of `log.format`, which the command line offers too.
pub(super) const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Checks a level or a list of directives.
pub(super) fn checked_level(found: Found<String>, cx: &mut Context<'_>) -> Option<String> {
    let help = "use error, warn, info, debug or trace, or `info,forwarder_sls=debug`";
    let words = found.value.split(',').map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    // A word alone would be taken as the name of a module, and nothing else would be logged any more.
    let is_module = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        !name.is_empty() && name.chars().all(is_part)
    };
    let is_known = |word: &str| match word.split_once('=') {
        Some((module, _)) => is_module(module),
        None => word.parse::<LevelFilter>().is_ok(),
    };
    let mut strange = words.iter().filter(|word| !is_known(word));
    if let Some(strange) = strange.next().or(words.is_empty().then_some(&"")) {
        cx.error(&found.at, format!("there is no log level `{strange}`"), help);
        return None;
    }
    let level = words.join(",");
    match level.parse::<Targets>() {
        Ok(_) => Some(level),
        Err(cause) => {
            cx.error(&found.at, format!("cannot read the log level: {cause}"), help);
            None
        }
    }
}

/// Reads `[dead_letters]`.
pub(super) fn dead_letters(root: &mut Section, cx: &mut Context<'_>) -> DeadLetterConfig {
    let mut config = DeadLetterConfig { path: None, max_size: 1024 * MIB };
    let Some(mut section) = root.table("dead_letters", cx) else { return config };
    config.path = section.text("path", cx).map(|found| found.value.into());
    if let Some(found) = section.size("max_size", 4_096..=1 << 50, cx) {
        config.max_size = found.value;
    }
    section.finish(cx);
    config
}

/// Reads the keys at the top.
pub(super) fn process(root: &mut Section, cx: &mut Context<'_>) -> ProcessConfig {
    let threads = root.whole("threads", 1..=1024, cx).map(|found| found.value);
    let plugin_dirs = root.texts("plugin_dirs", cx);
    ProcessConfig {
        memory_budget: root
            .size("memory_budget", MIB..=1 << 40, cx)
            .map_or(64 * MIB, |found| found.value),
        max_reject_ratio: root
            .real("max_reject_ratio", 0.0..=1.0, cx)
            .map_or(0.05, |found| found.value),
        state_dir: root
            .text("state_dir", cx)
            .map_or_else(|| usual_state_dir(cx.env), |found| found.value.into()),
        plugin_dirs: plugin_dirs.into_iter().map(|found| found.value.into()).collect(),
        threads,
        shutdown_grace: root
            .duration("shutdown_grace", Duration::ZERO..=3600 * SECOND, cx)
            .map_or(30 * SECOND, |found| found.value),
    }
}

/// Where state is kept unless configured otherwise: what systemd made for us, the user's state directory, or
/// a folder here.
fn usual_state_dir(env: &Lookup<'_>) -> PathBuf {
    let set = |name: &str| env(name).filter(|value| value.starts_with('/'));
    if let Some(dirs) = set("STATE_DIRECTORY") {
        return dirs.split(':').next().unwrap_or_default().into();
    }
    let user = set("XDG_STATE_HOME").map(PathBuf::from);
    let user = user.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    user.map_or_else(|| PathBuf::from("forwarder-state"), |dir| dir.join("forwarder"))
}
