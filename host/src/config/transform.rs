//! `[[transform]]`: a plugin, its own configuration, and what it may do and use up.

use std::time::Duration;

use super::condition::{self, ConditionConfig};
use super::raw::{Context, Found, Section};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformConfig {
    /// What it is called in metrics and logs; the plugin's file name unless named.
    pub name: String,
    /// A file, or a name to look up in the plugin folders.
    pub plugin: Found<String>,
    /// Given to the plugin as JSON.
    pub config: serde_json::Value,
    /// Which rows enter the sandbox; `None` for all.
    pub when: Option<ConditionConfig>,
    /// The sources whose logs pass through; empty for all.
    pub sources: Vec<Found<String>>,
    /// What becomes of a row that the plugin cannot process.
    pub on_error: OnError,
    /// Powers beyond editing rows.
    pub grants: Grants,
    /// What a call may use up.
    pub limits: PluginLimits,
}

/// What becomes of a row that makes the plugin fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The original log is written to the dead letters.
    #[default]
    DeadLetter,
    /// It goes on without this plugin's edits.
    Pass,
    /// It is discarded and counted.
    Drop,
    /// Its shard holds until a person acts.
    Halt,
}

/// Powers that the config grants per plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// Give rows a route label.
    pub labels: bool,
    /// Add rows.
    pub emit: bool,
    /// Set the HEC `index`, `sourcetype` and `host` of a row.
    pub hec_metadata: bool,
}

/// What one instance or one call may use up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PluginLimits {
    /// Linear memory of an instance, in bytes.
    pub memory: u64,
    /// Thread CPU time of a call.
    pub cpu: Duration,
    /// Elapsed time of a call, generous, so that a busy machine convicts nobody.
    pub wall: Duration,
    /// Output of a call, as a multiple of its input; 1 MiB is allowed on top.
    pub output_ratio: f64,
}

const ON_ERROR: &[(&str, OnError)] = &[
    ("dead_letter", OnError::DeadLetter),
    ("pass", OnError::Pass),
    ("drop", OnError::Drop),
    ("halt", OnError::Halt),
];

const GRANTS: &str = "use \"labels\", \"emit\" or \"hec_metadata\"";

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
            limits: PluginLimits::default(),
        }
    }
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(10),
            output_ratio: 4.0,
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
    let limits = s.table("limits", cx).map_or_else(PluginLimits::default, |s| limits(s, cx));
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
            "hec_metadata" => grants.hec_metadata = true,
            other => cx.error(&word.at, format!("`{other}` is not a power to grant"), GRANTS),
        }
    }
    grants
}

fn limits(mut section: Section, cx: &mut Context<'_>) -> PluginLimits {
    const MILLISECOND: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_secs(86_400);
    let default = PluginLimits::default();
    let limits = PluginLimits {
        memory: section
            .size("memory", 1 << 20..=4 << 30, cx)
            .map_or(default.memory, |found| found.value),
        cpu: section
            .duration("cpu", 10 * MILLISECOND..=DAY, cx)
            .map_or(default.cpu, |found| found.value),
        wall: section
            .duration("wall", 10 * MILLISECOND..=DAY, cx)
            .map_or(default.wall, |found| found.value),
        output_ratio: section
            .real("output_ratio", 0.0..=1000.0, cx)
            .map_or(default.output_ratio, |found| found.value),
    };
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
