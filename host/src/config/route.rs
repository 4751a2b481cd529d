//! `[[route]]`: which logs go to which sinks. The first rule that fits wins; the last one fits all.

use super::condition::{self, ConditionConfig};
use super::raw::{Context, Found, Section};
use super::sink::SinkConfig;
use crate::problem::Place;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Fits rows to which a plugin gave this label; `None` for all.
    pub label: Option<String>,
    /// Fits rows for which this holds; `None` for all.
    pub when: Option<ConditionConfig>,
    /// Positions in the list of sinks, none twice; empty discards on purpose.
    pub to: Vec<usize>,
    /// For messages.
    pub at: Place,
}

impl RouteConfig {
    fn is_unconditional(&self) -> bool {
        self.label.is_none() && self.when.is_none()
    }
}

/// Reads all rules. No rule at all means that every sink gets every row.
pub(super) fn check(
    sections: Vec<Section>,
    sinks: &[SinkConfig],
    cx: &mut Context<'_>,
) -> Vec<RouteConfig> {
    if sections.is_empty() {
        let at = Place::CommandLine(String::new());
        return vec![RouteConfig { label: None, when: None, to: (0..sinks.len()).collect(), at }];
    }
    let routes: Vec<_> = sections.into_iter().map(|section| rule(section, sinks, cx)).collect();
    check_order(&routes, cx);
    for (ix, sink) in sinks.iter().enumerate() {
        if routes.iter().all(|route| !route.to.contains(&ix)) {
            let message = format!("sink `{}` gets nothing: no `[[route]]` names it", sink.name);
            let help = "name it in a `to`, or remove the sink";
            let first =
                routes.first().map_or_else(|| Place::CommandLine(String::new()), |r| r.at.clone());
            cx.error(&first, message, help);
        }
    }
    routes
}

fn rule(mut section: Section, sinks: &[SinkConfig], cx: &mut Context<'_>) -> RouteConfig {
    let label = section.text("label", cx).map(|found| found.value);
    let when = condition::check(&mut section, cx);
    if !section.has("to") {
        let help = "add `to = [\"NAME OF A SINK\"]`, or `to = []` to discard on purpose";
        cx.error(&section.at_key("to"), "`to` is missing", help);
    }
    let mut to = Vec::new();
    for name in section.texts("to", cx) {
        if let Some(ix) = index(&name, sinks, cx)
            && !to.contains(&ix)
        {
            to.push(ix);
        }
    }
    let at = section.at().clone();
    section.finish(cx);
    RouteConfig { label, when, to, at }
}

fn index(name: &Found<String>, sinks: &[SinkConfig], cx: &mut Context<'_>) -> Option<usize> {
    let ix = sinks.iter().position(|sink| sink.name == name.value);
    if ix.is_none() {
        let names: Vec<_> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        let help = match super::spelling::nearest(&name.value, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("sinks: {}", names.join(", ")),
        };
        cx.error(&name.at, format!("there is no sink `{}`", name.value), help);
    }
    ix
}

/// The table has to be total, and every rule has to be reachable.
fn check_order(routes: &[RouteConfig], cx: &mut Context<'_>) {
    let first_for_all = routes.iter().position(RouteConfig::is_unconditional);
    match first_for_all {
        None => {
            let help = "end with a rule without `when` and `label`: `[[route]]` `to = [\"…\"]`";
            if let Some(last) = routes.last() {
                cx.error(
                    &last.at,
                    "the last `[[route]]` leaves some logs without a place to go",
                    help,
                );
            }
        }
        Some(ix) => {
            for unreachable in routes.iter().skip(ix + 1) {
                let message = "this rule is never reached: one before it takes every log";
                cx.error(&unreachable.at, message, "move the rule without conditions to the end");
            }
        }
    }
}
