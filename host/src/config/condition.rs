//! `when = { … }`: which logs a rule is for. Typed metadata by name, contents by `field."name"`.

use super::raw::{Context, Found, Section};

/// True where every part that is named holds; a part holds where one of its patterns fits. `*` in a
/// pattern stands for any text. Parts that are empty were not named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConditionConfig {
    /// The topic that SLS keeps with the log; contents cannot forge it.
    pub topic: Vec<String>,
    /// The source that SLS keeps with the log.
    pub source: Vec<String>,
    /// The project a log came from.
    pub project: Vec<String>,
    /// The logstore a log came from.
    pub logstore: Vec<String>,
    /// Fields of the log and the patterns for each.
    pub fields: Vec<(String, Vec<String>)>,
}

/// Reads `when`, if it is there.
pub(super) fn check(section: &mut Section, cx: &mut Context<'_>) -> Option<ConditionConfig> {
    let mut when = section.table("when", cx)?;
    let at = when.at().clone();
    let condition = ConditionConfig {
        topic: patterns(when.texts("topic", cx)),
        source: patterns(when.texts("source", cx)),
        project: patterns(when.texts("project", cx)),
        logstore: patterns(when.texts("logstore", cx)),
        fields: when.table("field", cx).map(|fields| by_name(fields, cx)).unwrap_or_default(),
    };
    when.finish(cx);
    if condition == ConditionConfig::default() {
        cx.error(
            &at,
            "`when` holds no condition that could be read",
            "name a topic, or leave `when` out",
        );
    }
    Some(condition)
}

fn by_name(fields: Section, cx: &mut Context<'_>) -> Vec<(String, Vec<String>)> {
    let fields = fields.drain_texts(cx);
    fields.into_iter().map(|(name, texts)| (name, patterns(texts))).collect()
}

fn patterns(texts: Vec<Found<String>>) -> Vec<String> {
    texts.into_iter().map(|found| found.value).collect()
}
