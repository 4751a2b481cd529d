//! The variables of the vendor's sample (`SLS_ENDPOINT`, `SLS_AK_ID`, …) as a `[[source]]`.

use super::raw::{Context, Section, Value};
use crate::problem::{Place, Problem};

/// Variables without which there is no source, and the keys they fill.
const REQUIRED: [(&str, &str); 6] = [
    ("SLS_ENDPOINT", "endpoint"),
    ("SLS_AK_ID", "access_key_id"),
    ("SLS_AK_KEY", "access_key_secret"),
    ("SLS_PROJECT", "project"),
    ("SLS_LOGSTORE", "logstore"),
    ("SLS_CG", "consumer_group"),
];

/// Variables that may be set as well; the sample has no names for them.
const OPTIONAL: [(&str, &str); 2] =
    [("SLS_SECURITY_TOKEN", "security_token"), ("SLS_REGION", "region")];

/// Keys that live in the table `credentials`.
const CREDENTIALS: [&str; 3] = ["access_key_id", "access_key_secret", "security_token"];

/// The source that the environment describes; problems if it describes none, or half of one.
pub(super) fn source(cx: &mut Context<'_>) -> Option<Section> {
    let set = |name: &str| (cx.env)(name).filter(|value| !value.trim().is_empty());
    let missing: Vec<_> =
        REQUIRED.iter().map(|(name, _)| *name).filter(|name| set(name).is_none()).collect();
    if missing.len() == REQUIRED.len() {
        let names: Vec<_> = REQUIRED.iter().map(|(name, _)| *name).collect();
        let help = format!("write a `[[source]]` and pass --config, or set {}", names.join(", "));
        cx.problems.error(Problem::new("there is no source to read from").help(help));
        return None;
    }
    let whole = Place::Environment("SLS_*".to_owned());
    let mut section = Section::new(whole.clone());
    let mut credentials = Section::new(whole.clone());
    for (name, key) in REQUIRED.into_iter().chain(OPTIONAL) {
        if set(name).is_none() {
            continue;
        }
        let at = Place::Environment(name.to_owned());
        if CREDENTIALS.contains(&key) {
            // A reference, so that a value that looks like one is not resolved again.
            credentials.insert(key, Value::Text(format!("${{{name}}}")), at);
        } else {
            section.insert(key, Value::Text(format!("${{{name}}}")), at);
        }
    }
    section.insert("credentials", Value::Table(credentials), whole);
    if let Some(endpoint) = set("SLS_ENDPOINT").filter(|endpoint| !endpoint.contains("://")) {
        let message = format!("`SLS_ENDPOINT` names no scheme: using https://{endpoint}");
        let help = "the vendor's sample would use http; write the scheme to choose";
        cx.notice(&Place::Environment("SLS_ENDPOINT".to_owned()), message, help);
    }
    for name in &missing {
        let at = Place::Environment((*name).to_owned());
        cx.error(&at, format!("`{name}` is not set"), "a source in the environment needs it");
    }
    missing.is_empty().then_some(section)
}
