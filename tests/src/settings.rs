//! A configuration for the program: what every test needs, and what one test wants otherwise.
//!
//! Heartbeats, commits and retries are quick, so that a hand-over takes seconds and not a minute.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::receivers::TOKEN;
use crate::world::{GROUP, LOGSTORE, PROJECT};

/// Keys and values of one table, in the order of the file.
#[derive(Debug, Clone, Default)]
struct Table(Vec<(String, String)>);

impl Table {
    fn of(pairs: &[(&str, &str)]) -> Self {
        let mut table = Self::default();
        pairs.iter().for_each(|(key, value)| table.set(key, value));
        table
    }

    fn set(&mut self, key: &str, value: &str) {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.to_owned(), value.to_owned()));
    }

    /// Numbers and truth values as they are, everything else as text.
    fn write(&self, text: &mut String) {
        for (key, value) in &self.0 {
            let bare = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
            // Start times and other digits that are meant as text stand for themselves.
            let bare = bare && key != "start" && key != "end";
            let value = if bare { value.clone() } else { format!("{value:?}") };
            writeln!(text, "{key} = {value}").expect("memory takes text");
        }
    }
}

/// A configuration under construction. Values are given as text.
#[derive(Debug, Clone)]
pub struct Settings {
    folder: PathBuf,
    process: Table,
    log: Table,
    admin: Table,
    source: Table,
    credentials: Table,
    rest: String,
}

impl Settings {
    pub(crate) fn new(folder: &Path, endpoint: &str) -> Self {
        let state_dir = folder.join("state").display().to_string();
        Self {
            folder: folder.to_owned(),
            process: Table::of(&[("state_dir", &state_dir), ("shutdown_grace", "20s")]),
            log: Table::of(&[("format", "text")]),
            admin: Table::of(&[("listen", "127.0.0.1:0")]),
            source: Table::of(&[
                ("name", "audit"),
                ("type", "sls"),
                ("endpoint", endpoint),
                ("project", PROJECT),
                ("logstore", LOGSTORE),
                ("consumer_group", GROUP),
                ("start", "begin"),
                ("heartbeat_interval", "1s"),
                ("group_timeout", "6s"),
                ("commit_interval", "200ms"),
                ("idle_poll", "200ms"),
            ]),
            credentials: Table::of(&[("access_key_id", "id"), ("access_key_secret", "secret")]),
            rest: String::new(),
        }
    }

    /// Sets a key at the top of the file.
    #[must_use]
    pub fn process(mut self, key: &str, value: &str) -> Self {
        self.process.set(key, value);
        self
    }

    /// Sets a key of `[log]`.
    #[must_use]
    pub fn log(mut self, key: &str, value: &str) -> Self {
        self.log.set(key, value);
        self
    }

    /// Leaves `[admin]` out, so that the default holds.
    #[must_use]
    pub fn default_admin(mut self) -> Self {
        self.admin = Table::default();
        self
    }

    /// Sets a key of the `[[source]]`.
    #[must_use]
    pub fn source(mut self, key: &str, value: &str) -> Self {
        self.source.set(key, value);
        self
    }

    /// Leaves a key of the `[[source]]` out.
    #[must_use]
    pub fn source_without(mut self, key: &str) -> Self {
        self.source.0.retain(|(known, _)| known != key);
        self
    }

    /// Sets a key of `[source.credentials]`.
    #[must_use]
    pub fn credential(mut self, key: &str, value: &str) -> Self {
        self.credentials.set(key, value);
        self
    }

    /// Takes the key from a file instead.
    #[must_use]
    pub fn key_file(mut self, path: &Path) -> Self {
        self.credentials = Table::of(&[("file", &path.display().to_string())]);
        self
    }

    /// Takes the key of a RAM role from a metadata service instead.
    #[must_use]
    pub fn ram_role(mut self, role: &str, metadata: &str) -> Self {
        self.credentials = Table::of(&[("ecs_ram_role", role), ("metadata_url", metadata)]);
        self
    }

    /// Adds a second `[[source]]` that differs from the first in these keys.
    #[must_use]
    pub fn another_source(mut self, otherwise: &[(&str, &str)]) -> Self {
        let mut source = self.source.clone();
        otherwise.iter().for_each(|(key, value)| source.set(key, value));
        let text = source_text(&source, &self.credentials);
        self.rest.push_str(&text);
        self
    }

    /// Adds a HEC sink; `more` are further keys in TOML.
    #[must_use]
    pub fn hec(self, name: &str, url: &str, more: &str) -> Self {
        self.hec_with_token(name, url, TOKEN, more)
    }

    /// Adds a HEC sink with a token of the test's own, as it is to be written.
    #[must_use]
    pub fn hec_with_token(self, name: &str, url: &str, token: &str, more: &str) -> Self {
        self.sink(name, "hec", &format!("url = \"{url}\"\ntoken = \"{token}\"\n{more}"))
    }

    /// Adds a syslog sink that asks for confirmation soon; `more` are further keys in TOML.
    #[must_use]
    pub fn syslog(self, name: &str, address: &str, more: &str) -> Self {
        let age = if more.contains("resend_age") { "" } else { "resend_age = \"1s\"\n" };
        self.sink(name, "syslog", &format!("address = \"{address}\"\n{age}{more}"))
    }

    /// Adds a sink that tries again soon.
    #[must_use]
    pub fn sink(self, name: &str, kind: &str, more: &str) -> Self {
        self.more(&format!(
            "[[sink]]\nname = \"{name}\"\ntype = \"{kind}\"\n\
             retry_min = \"20ms\"\nretry_max = \"200ms\"\n{more}\n"
        ))
    }

    /// Adds a plugin to the chain, by its path; `more` are further keys and tables in TOML.
    #[must_use]
    pub fn plugin(self, plugin: &Path, more: &str) -> Self {
        self.more(&format!("[[transform]]\nplugin = \"{}\"\n{more}\n", plugin.display()))
    }

    /// Adds TOML at the end.
    #[must_use]
    pub fn more(mut self, text: &str) -> Self {
        self.rest.push_str(text);
        self
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.process.write(&mut text);
        for (name, table) in [("log", &self.log), ("admin", &self.admin)] {
            writeln!(text, "[{name}]").expect("memory takes text");
            table.write(&mut text);
        }
        text + &source_text(&self.source, &self.credentials) + &self.rest
    }

    /// Writes the file into the test's folder.
    pub fn write(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, self.text()).expect("the test's folder is writable");
        path
    }
}

fn source_text(source: &Table, credentials: &Table) -> String {
    let mut text = "[[source]]\n".to_owned();
    source.write(&mut text);
    text.push_str("[source.credentials]\n");
    credentials.write(&mut text);
    text
}
