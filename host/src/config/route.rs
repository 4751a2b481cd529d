//! `[[route]]`: which logs go to which sinks. The first rule that fits wins; the last one fits all.

use forwarder_pipeline::{RouteTable, Rule};

use super::condition;
use super::raw::{Context, Found, Section};
use super::sink::SinkConfig;
use crate::problem::Place;

/// Reads all rules. No rule at all means that every sink gets every row.
pub(super) fn check(
    sections: Vec<Section>,
    sinks: &[SinkConfig],
    cx: &mut Context<'_>,
) -> RouteTable {
    let rules: Vec<_> = sections.into_iter().map(|section| rule(section, sinks, cx)).collect();
    if let Some((first, _)) = rules.first() {
        check_order(&rules, cx);
        check_sinks(first, &rules, sinks, cx);
    }
    let mut rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
    match rules.pop() {
        // It takes all that no other does, as was checked.
        Some(last) => RouteTable { rules, otherwise: last.to },
        None => RouteTable { rules, otherwise: (0..sinks.len()).collect() },
    }
}

/// Every sink has to get something.
fn check_sinks(first: &Place, rules: &[(Place, Rule)], sinks: &[SinkConfig], cx: &mut Context<'_>) {
    for (ix, sink) in sinks.iter().enumerate() {
        if rules.iter().all(|(_, rule)| !rule.to.contains(&ix)) {
            let message = format!("sink `{}` gets nothing: no `[[route]]` names it", sink.name);
            cx.error(first, message, "name it in a `to`, or remove the sink");
        }
    }
}

fn rule(mut section: Section, sinks: &[SinkConfig], cx: &mut Context<'_>) -> (Place, Rule) {
    let label = section.text("label", cx).map(|found| found.value);
    let when = condition::check(&mut section, cx);
    if !section.has("to") {
        let help = "add `to = [\"NAME OF A SINK\"]`, or `to = []` to discard on purpose";
        cx.error(&section.at_key("to"), "`to` is missing", help);
    }
    let names = section.texts("to", cx);
    let to = names.iter().filter_map(|name| index(name, sinks, cx)).collect();
    let at = section.at().clone();
    section.finish(cx);
    (at, Rule { label, when, to })
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
fn check_order(rules: &[(Place, Rule)], cx: &mut Context<'_>) {
    let takes_all = |(_, rule): &(Place, Rule)| rule.label.is_none() && rule.when.is_none();
    match rules.iter().position(takes_all) {
        None => {
            let help = "end with a rule without `when` and `label`: `[[route]]` `to = [\"…\"]`";
            if let Some((last, _)) = rules.last() {
                cx.error(last, "the last `[[route]]` leaves some logs without a place to go", help);
            }
        }
        Some(ix) => {
            for (at, _) in rules.iter().skip(ix + 1) {
                let message = "this rule is never reached: one before it takes every log";
                cx.error(at, message, "move the rule without conditions to the end");
            }
        }
    }
}
