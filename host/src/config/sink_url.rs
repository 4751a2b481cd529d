//! `--sink URL` as a `[[sink]]`: the same keys, the same checks, and never a token.
//!
//! ```text
//! stdout:
//! file:PATH
//! hec+https://HOST:8088?token_env=NAME      hec+http:// to loopback
//! syslog+tls://HOST:6514                    syslog+tcp:// to loopback
//! ```
//!
//! Further settings of the sink may follow as a query: `?index=audit&gzip=false`.

use super::raw::{Section, Value};
use crate::problem::{Place, Problem};

/// Keys that would put a secret into the process list and the shell's history.
const SECRETS: [&str; 2] = ["token", "password"];

/// Reads one `--sink`. Unless the URL names it, it is called after its kind; `ordinal` counts the sinks
/// of that kind before it.
///
/// # Errors
/// The problem, without a quotation of the URL.
pub(super) fn section(url: &str, ordinal: usize) -> Result<Section, Problem> {
    let at = Place::CommandLine("--sink".to_owned());
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (kind, setting) = base_settings(base).map_err(|problem| problem.at(&at))?;
    let mut section = Section::new(at.clone());
    let name = if ordinal == 0 { kind.to_owned() } else { format!("{kind}-{}", ordinal + 1) };
    section.insert("name", Value::Text(name), at.clone());
    section.insert("type", Value::Text(kind.to_owned()), at.clone());
    if let Some((key, value)) = setting {
        section.insert(key, Value::Text(value), at.clone());
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if SECRETS.contains(&key) {
            return Err(secret_in_url(key).at(&at));
        }
        match key {
            "token_env" => {
                section.insert("token", Value::Text(format!("${{{value}}}")), at.clone());
            }
            "token_file" => {
                section.insert("token", Value::Text(format!("file:{value}")), at.clone());
            }
            _ => section.insert(key, Value::Word(value.to_owned()), at.clone()),
        }
    }
    Ok(section)
}

type Setting = Option<(&'static str, String)>;

fn base_settings(base: &str) -> Result<(&'static str, Setting), Problem> {
    let (scheme, rest) = base.split_once(':').unwrap_or((base, ""));
    match scheme {
        "stdout" if rest.is_empty() => Ok(("stdout", None)),
        "file" if !rest.is_empty() => Ok(("file", Some(("path", file_path(rest))))),
        "hec+https" | "hec+http" if rest.contains('@') => Err(secret_in_url("user name")),
        "hec+https" => Ok(("hec", Some(("url", format!("https:{rest}"))))),
        "hec+http" => Ok(("hec", Some(("url", format!("http:{rest}"))))),
        "syslog+tls" => Ok(("syslog", Some(("address", format!("tls:{rest}"))))),
        "syslog+tcp" => Ok(("syslog", Some(("address", format!("tcp:{rest}"))))),
        _ => Err(Problem::new("`--sink` does not begin like a sink").help(FORMS)),
    }
}

const FORMS: &str = "\
use stdout: or file:PATH, hec+https://HOST:8088?token_env=NAME,
syslog+tls://HOST:6514 or syslog+tcp://HOST:514";

/// `file:PATH` as it stands; `file:///path` is the form that URLs have.
fn file_path(rest: &str) -> String {
    rest.strip_prefix("//").unwrap_or(rest).to_owned()
}

fn secret_in_url(what: &str) -> Problem {
    Problem::new(format!("a {what} in a `--sink` URL would be seen in the process list")).help(
        "put it into a variable and write `?token_env=NAME`, or into a file: `?token_file=PATH`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_url_is_refused_and_not_shown() {
        for url in
            ["hec+https://host:8088?token=s3cret", "hec+https://s3cret@host:8088", "s3cret://host"]
        {
            let problem = section(url, 0).unwrap_err().to_string();
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }
}
