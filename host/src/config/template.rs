//! Settings whose value may come from the log.

use forwarder_sinks::{FieldPath, Template};

use super::raw::{Context, Found, Section};

/// Reads a template; text without braces is one. Nothing, if there is none or it cannot be read.
pub(super) fn read(
    section: &mut Section,
    key: &'static str,
    cx: &mut Context<'_>,
) -> Option<Template> {
    let found = section.text(key, cx)?;
    parse(key, &found, cx)
}

/// The template in a text that was found.
pub(super) fn parse(
    key: &'static str,
    found: &Found<String>,
    cx: &mut Context<'_>,
) -> Option<Template> {
    Template::parse(&found.value)
        .map_err(|cause| cx.error(&found.at, format!("cannot read `{key}`"), cause.to_string()))
        .ok()
}

/// Reads `time_field`, the place of the event's own time.
pub(super) fn time_field(section: &mut Section, cx: &mut Context<'_>) -> Option<FieldPath> {
    let found = section.text("time_field", cx)?;
    let wrong = |_| {
        let help = "write the name of a field, or `field.member` for a value inside JSON, without braces; \
                    in ActionTrail logs it is \"event.eventTime\"";
        cx.error(&found.at, "`time_field` names no field", help);
    };
    FieldPath::parse(&found.value).map_err(wrong).ok()
}
