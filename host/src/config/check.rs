//! From what was said to what is meant: file, environment and command line into one [`Config`].
//!
//! Everything is checked in one pass, and nothing is opened: no port, no plugin, no connection.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::process::{self, LOG_FORMATS};
use super::raw::{Context, Found, Section, Value};
use super::secret::Lookup;
use super::sink::{self, SinkConfig};
use super::source::{self, SourceConfig};
use super::transform::{self, TransformConfig};
use super::{Config, document, environment, route, sink_url, start};
use crate::problem::{Place, Problem};

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The config file, if any.
    pub file: Option<PathBuf>,
    /// Plugins to append to the chain.
    pub plugins: Vec<String>,
    /// Sinks to add, as URLs.
    pub sinks: Vec<String>,
    /// Overrides `log.level`.
    pub log_level: Option<String>,
    /// Overrides `log.format`.
    pub log_format: Option<String>,
    /// Overrides `state_dir`.
    pub state_dir: Option<PathBuf>,
    /// Whether there may be no sink, because nothing is to be delivered.
    pub sinks_optional: bool,
}

/// The outcome of a check.
#[derive(Debug)]
pub struct Checked {
    /// The configuration, or everything that is wrong with it.
    pub config: Result<Config, Vec<Problem>>,
    /// Choices made for the user.
    pub notices: Vec<Problem>,
}

/// Reads and checks everything.
pub fn check(request: &Request, env: &Lookup<'_>) -> Checked {
    let mut cx = Context::new(env);
    let config = read_file(request, &mut cx).and_then(|root| whole(root, request, &mut cx));
    let (errors, notices) = cx.problems.into_parts();
    let config = match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    };
    Checked { config, notices }
}

fn read_file(request: &Request, cx: &mut Context<'_>) -> Option<Section> {
    let Some(path) = &request.file else {
        return Some(Section::new(Place::CommandLine(String::new())));
    };
    match fs::read_to_string(path) {
        Ok(text) => document::parse(&path.display().to_string(), &text, cx),
        Err(cause) => {
            let at = Place::CommandLine("--config".to_owned());
            let message = format!("cannot read `{}`: {cause}", path.display());
            cx.error(&at, message, "name a TOML file that this user may read");
            None
        }
    }
}

fn whole(mut root: Section, request: &Request, cx: &mut Context<'_>) -> Option<Config> {
    let r = &mut root;
    timezone(r, cx); // first: times are read in it
    let sources = sources(r.tables("source", cx), cx);
    let transforms = transforms(r.tables("transform", cx), request, &sources, cx);
    let (sinks, has_sinks) = sinks(r.tables("sink", cx), request, cx);
    let rules = r.tables("route", cx);
    // Rules name sinks: with a broken one among them, every `to` would look wrong.
    let routes = route::check(if has_sinks { rules } else { Vec::new() }, &sinks, cx);
    let mut process = process::process(r, cx);
    let admin = process::admin(r, cx);
    let mut log = process::log(r, cx);
    let dead_letters = process::dead_letters(r, cx);
    root.finish(cx);
    if let Some(dir) = &request.state_dir {
        process.state_dir.clone_from(dir);
    }
    override_log(&mut log, request, cx);
    Some(Config { sources, transforms, sinks, routes, process, admin, log, dead_letters })
}

fn timezone(root: &mut Section, cx: &mut Context<'_>) {
    let Some(found) = root.text("timezone", cx) else { return };
    match start::zone(&found.value) {
        Ok(zone) => cx.zone = zone,
        Err(reason) => {
            cx.error(&found.at, reason, "write a name such as \"Asia/Shanghai\", or \"+08:00\"");
        }
    }
}

fn sources(mut sections: Vec<Section>, cx: &mut Context<'_>) -> Vec<SourceConfig> {
    if sections.is_empty() {
        sections.extend(environment::source(cx));
    }
    let mut names = Names::new("source");
    let mut sources: Vec<SourceConfig> = Vec::with_capacity(sections.len());
    for section in sections {
        let at = section.at().clone();
        if let Some(source) = source::check(section, cx) {
            names.add(&source.name, &at, cx);
            if let Some(twin) = sources.iter().find(|other| other.shares_checkpoints(&source)) {
                let message = format!(
                    "sources `{}` and `{}` read one logstore in one consumer group, and would move each \
                     other's checkpoints",
                    twin.name, source.name
                );
                cx.error(&at, message, "give each its own `consumer_group`");
            }
            sources.push(source);
        }
    }
    sources
}

fn transforms(
    sections: Vec<Section>,
    request: &Request,
    sources: &[SourceConfig],
    cx: &mut Context<'_>,
) -> Vec<TransformConfig> {
    let mut chain = Vec::new();
    for section in sections {
        let at = section.at().clone();
        chain.extend(transform::check(section, cx).map(|transform| (transform, at)));
    }
    let at = Place::CommandLine("--plugin".to_owned());
    chain.extend(request.plugins.iter().map(|plugin| {
        let plugin = Found { value: plugin.clone(), at: at.clone() };
        (TransformConfig::plain(plugin), at.clone())
    }));
    let mut names = Names::new("transform");
    for (transform, at) in &chain {
        names.add(&transform.name, at, cx);
        for wanted in &transform.sources {
            if !sources.is_empty() && sources.iter().all(|source| source.name != wanted.value) {
                let all: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
                let message = format!("there is no source `{}`", wanted.value);
                cx.error(&wanted.at, message, format!("sources: {}", all.join(", ")));
            }
        }
    }
    chain.into_iter().map(|(transform, _)| transform).collect()
}

/// The sinks that are right, and whether that is all of them.
fn sinks(
    mut sections: Vec<Section>,
    request: &Request,
    cx: &mut Context<'_>,
) -> (Vec<SinkConfig>, bool) {
    let mut seen: Vec<String> = Vec::new();
    let mut all_right = true;
    for url in &request.sinks {
        let kind = url.split([':', '+']).next().unwrap_or_default().to_owned();
        match sink_url::section(url, seen.iter().filter(|other| **other == kind).count()) {
            Ok(section) => sections.push(section),
            Err(problem) => {
                all_right = false;
                cx.problems.error(problem);
            }
        }
        seen.push(kind);
    }
    if sections.is_empty() && request.sinks_optional {
        return (Vec::new(), false);
    }
    if sections.is_empty() && all_right {
        // Printing logs by default would be friendlier and wrong: a service manager would collect
        // them, and the checkpoint would move past logs that are kept nowhere.
        let help = "add `--sink stdout:` to look at the logs, or a `[[sink]]` to the config";
        cx.problems.error(Problem::new("there is no sink to deliver to").help(help));
        return (Vec::new(), false);
    }
    let mut names = Names::new("sink");
    let mut sinks = Vec::with_capacity(sections.len());
    for section in sections {
        let at = section.at().clone();
        match sink::check(section, cx) {
            Some(sink) => {
                names.add(&sink.name, &at, cx);
                sinks.push(sink);
            }
            None => all_right = false,
        }
    }
    (sinks, all_right)
}

/// The command line's word on the log, checked like the file's.
fn override_log(log: &mut process::LogConfig, request: &Request, cx: &mut Context<'_>) {
    if let Some(level) = &request.log_level {
        let at = Place::CommandLine("--log-level".to_owned());
        let found = Found { value: level.clone(), at };
        if let Some(level) = process::checked_level(found, cx) {
            log.level = level;
        }
    }
    if let Some(format) = &request.log_format {
        let at = Place::CommandLine("--log-format".to_owned());
        let mut section = Section::new(at.clone());
        section.insert("format", Value::Text(format.clone()), at);
        if let Some(found) = section.choice("format", LOG_FORMATS, cx) {
            log.format = found.value;
        }
    }
}

/// Names of one kind, which have to differ: metrics, routes and messages go by them.
struct Names {
    kind: &'static str,
    seen: HashSet<String>,
}

impl Names {
    fn new(kind: &'static str) -> Self {
        Self { kind, seen: HashSet::new() }
    }

    fn add(&mut self, name: &str, at: &Place, cx: &mut Context<'_>) {
        if !self.seen.insert(name.to_owned()) {
            let message = format!("there are two {}s called `{name}`", self.kind);
            cx.error(at, message, "give each its own `name`");
        }
    }
}
