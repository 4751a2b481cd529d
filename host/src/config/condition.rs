//! `when = { … }`: which logs a rule is for. Typed metadata by name, contents by `field."name"`; `*` in a pattern stands
//! for any text.

use forwarder_record::{Condition, Pattern};

use super::raw::{Context, Found, Section};

/// Reads `when`, if it is there.
pub(super) fn check(section: &mut Section, cx: &mut Context<'_>) -> Option<Condition> {
    let mut when = section.table("when", cx)?;
    let at = when.at().clone();
    let condition = Condition {
        topic: patterns(when.texts("topic", cx)),
        source: patterns(when.texts("source", cx)),
        project: patterns(when.texts("project", cx)),
        logstore: patterns(when.texts("logstore", cx)),
        fields: when.table("field", cx).map(|fields| by_name(fields, cx)).unwrap_or_default(),
    };
    when.finish(cx);
    if condition == Condition::default() {
        cx.error(
            &at,
            "`when` holds no condition that could be read",
            "name a topic, or leave `when` out",
        );
    }
    Some(condition)
}

fn by_name(fields: Section, cx: &mut Context<'_>) -> Vec<(String, Vec<Pattern>)> {
    let fields = fields.drain_texts(cx);
    fields.into_iter().map(|(name, texts)| (name, patterns(texts))).collect()
}

fn patterns(texts: Vec<Found<String>>) -> Vec<Pattern> {
    texts.iter().map(|found| Pattern::new(&found.value)).collect()
}
