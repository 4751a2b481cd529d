//! `[[transform]]`: a plugin, its own configuration, and what it may do and use up.

use std::time::Duration;

use forwarder_plugin::{Grants, Limits, OnError};
use forwarder_record::Condition;

use super::condition;
use super::raw::{Context, Found, Section};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformConfig {
    /// What it is called in metrics and logs; the plugin's file name unless named.
    pub name: String,
    /// A file, or a name to look up in the plugin folders.
    pub plugin: Found<String>,
    /// Given to the plugin as JSON.
    pub config: serde_json::Value,
    /// Which rows enter the sandbox; `None` for all.
    pub when: Option<Condition>,
    /// The sources whose logs pass through; empty for all.
    pub sources: Vec<Found<String>>,
    /// What becomes of a row that the plugin cannot process.
    pub on_error: OnError,
    /// Powers beyond editing rows.
    pub grants: Grants,
    /// What a call may use up.
    pub limits: Limits,
}

const ON_ERROR: &[(&str, OnError)] = &[
    ("dead_letter", OnError::DeadLetter),
    ("pass", OnError::Pass),
    ("drop", OnError::Drop),
    ("halt", OnError::Halt),
];

const GRANTS: &str = "use \"labels\" or \"emit\"";

impl TransformConfig {
    /// A plugin named on the command line: no config of its own, every default.
    pub fn plain(plugin: Found<String>) -> Self {
        Self {
            name: stem(&plugin.value),
            plugin,
            config: serde_json::json!({}),
            when: None,
            sources: Vec::new(),
            on_error: OnError::default(),
            grants: Grants::default(),
            limits: Limits::default(),
        }
    }
}

/// Checks one `[[transform]]`.
pub(super) fn check(mut section: Section, cx: &mut Context<'_>) -> Option<TransformConfig> {
    let s = &mut section;
    let plugin = s.required("plugin", cx);
    let name = s.text("name", cx).map(|found| found.value);
    let config = config(s, cx);
    let when = condition::check(s, cx);
    let sources = s.texts("sources", cx);
    let on_error =
        s.choice("on_error", ON_ERROR, cx).map_or(OnError::default(), |found| found.value);
    let grants = grants(s, cx);
    let limits = s.table("limits", cx).map_or_else(Limits::default, |s| limits(s, cx));
    section.finish(cx);
    let plugin = plugin?;
    let name = name.unwrap_or_else(|| stem(&plugin.value));
    Some(TransformConfig { name, plugin, config, when, sources, on_error, grants, limits })
}

fn config(section: &mut Section, cx: &mut Context<'_>) -> serde_json::Value {
    match section.json("config") {
        None => serde_json::json!({}),
        Some(found) if found.value.is_object() => found.value,
        Some(found) => {
            cx.error(&found.at, "`config` must be a table", "write `config = { key = \"value\" }`");
            serde_json::Value::Null
        }
    }
}

fn grants(section: &mut Section, cx: &mut Context<'_>) -> Grants {
    let mut grants = Grants::default();
    for word in section.texts("grants", cx) {
        match word.value.as_str() {
            "labels" => grants.labels = true,
            "emit" => grants.emit = true,
            other => cx.error(&word.at, format!("`{other}` is not a power to grant"), GRANTS),
        }
    }
    grants
}

fn limits(mut section: Section, cx: &mut Context<'_>) -> Limits {
    const SHORTEST: Duration = Duration::from_millis(10);
    const DAY: Duration = Duration::from_secs(86_400);
    let mut limits = Limits::default();
    if let Some(found) = section.size("memory", 1 << 20..=4 << 30, cx) {
        limits.memory = found.value;
    }
    if let Some(found) = section.duration("cpu", SHORTEST..=DAY, cx) {
        limits.cpu = found.value;
    }
    if let Some(found) = section.duration("wall", SHORTEST..=DAY, cx) {
        limits.wall = found.value;
    }
    if let Some(found) = section.whole("output_factor", 0..=1000, cx) {
        limits.output_factor = found.value;
    }
    // The kernel counts whole seconds.
    if let Some(found) = section.duration("compile_cpu", Duration::from_secs(1)..=DAY, cx) {
        limits.compile_cpu = Some(found.value);
    }
    if let Some(found) = section.size("compile_memory", 64 << 20..=1 << 40, cx) {
        limits.compile_memory = Some(found.value);
    }
    section.finish(cx);
    limits
}

/// `plugins/audit.wasm` and `forwarder:audit@^1` are both called `audit`.
fn stem(plugin: &str) -> String {
    let file = plugin.rsplit('/').next().unwrap_or(plugin);
    let file = file.strip_suffix(".wasm").unwrap_or(file);
    let name = file.rsplit(':').next().unwrap_or(file);
    name.split('@').next().unwrap_or(name).to_owned()
}
