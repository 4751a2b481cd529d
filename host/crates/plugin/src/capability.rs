//! What a component may import. Everything else is absent, not refused when it is called: a component that
//! wants it does not load.
//!
//! In addition to the contract there is a short list of WASI 0.2 interfaces that language runtimes import whether
//! or not a program uses them. They are answered by `wasi.rs`, from nothing. Interfaces that only make sense
//! with a network are not on the list: a plugin that was built with them expects more than it can have.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::abi;

/// WASI interfaces that may be imported; see `wasi.rs` for what they do here.
const INERT_WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// A component asks for something, or lacks something, that rules it out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncompatibleComponent {
    /// Imports that no plugin is given.
    #[error("it imports {}, which no plugin is given{}", list(imports), hint(imports))]
    Imports {
        /// Their names.
        imports: Vec<String>,
    },
    /// Built against a version of the contract that this forwarder does not serve.
    #[error("it was built for `{found}`; this forwarder serves {}", list(&served()))]
    Contract {
        /// The interface, with its version.
        found: String,
    },
    /// Exports nothing that a forwarder could call.
    #[error(
        "it does not export `{}`: is it built for the world `forwarder:plugin/plugin`?",
        abi::TRANSFORM
    )]
    NotAPlugin,
}

/// Names that a message holds at most; a component may import thousands.
const MAX_LISTED: usize = 10;

fn list(names: &[String]) -> String {
    let listed: Vec<_> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let listed = listed.join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

fn served() -> Vec<String> {
    abi::SERVED.iter().map(|version| format!("{}@{version}", abi::TRANSFORM)).collect()
}

fn hint(imports: &[String]) -> &'static str {
    let any = |prefix| imports.iter().any(|name| name.starts_with(prefix));
    if any("wasi:sockets") || any("wasi:http") {
        "; build it without networking (componentize-py: --stub-wasi; componentize-js: disableFeatures \
         http and fetch-event; jco with QuickJS: --backend-qjs-stub-wasi)"
    } else {
        ""
    }
}

/// What a component was found to import and to be built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imports {
    /// Functions and interfaces, in full: `forwarder:plugin/batch@0.1.0#column`, `wasi:cli/exit@0.2.6`.
    pub names: Vec<String>,
    /// The version of the contract that the component exports.
    pub contract: String,
}

impl Imports {
    /// Whether the component can edit rows at all: one that only reads, or passes everything, cannot.
    pub fn can_edit(&self) -> bool {
        self.names.iter().any(|name| name.starts_with("forwarder:plugin/edits@"))
    }
}

/// Checks a component's imports and exports against what there is.
pub(crate) fn inspect(
    engine: &Engine,
    component: &Component,
) -> Result<Imports, IncompatibleComponent> {
    let ty = component.component_type();
    let mut names = Vec::new();
    let mut refused = Vec::new();
    for (name, import) in ty.imports(engine) {
        let (interface, version) = split_version(name);
        if is_inert_wasi(name) {
            names.push(name.to_owned());
        } else if !abi::INTERFACES.contains(&interface) {
            refused.push(name.to_owned());
        } else if !abi::is_served(version) {
            return Err(IncompatibleComponent::Contract { found: name.to_owned() });
        } else if let ComponentItem::ComponentInstance(instance) = import.ty {
            let functions = instance
                .exports(engine)
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            names.extend(functions.map(|(function, _)| format!("{name}#{function}")));
        }
    }
    if !refused.is_empty() {
        return Err(IncompatibleComponent::Imports { imports: refused });
    }
    let export = ty.exports(engine).find(|(name, _)| split_version(name).0 == abi::TRANSFORM);
    match export.map(|(name, _)| (name, split_version(name).1)) {
        None => Err(IncompatibleComponent::NotAPlugin),
        Some((name, version)) if !abi::is_served(version) => {
            Err(IncompatibleComponent::Contract { found: name.to_owned() })
        }
        Some((_, version)) => Ok(Imports { names, contract: version.to_owned() }),
    }
}

/// Whether a name is one of the WASI interfaces that exist for show.
pub(crate) fn is_inert_wasi(name: &str) -> bool {
    let (interface, version) = split_version(name);
    version.starts_with("0.2.") && INERT_WASI.contains(&interface)
}

/// `a:b/c@1.2.3` is `("a:b/c", "1.2.3")`.
pub(crate) fn split_version(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(wat: &str) -> Result<Imports, IncompatibleComponent> {
        let engine = Engine::default();
        inspect(&engine, &Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap())
    }

    const EXPORT: &str =
        r#"(instance $t) (export "forwarder:plugin/transform@0.1.0" (instance $t))"#;

    #[test]
    fn what_runtimes_insist_on_may_be_imported() {
        let wat = format!(
            r#"(component
                (import "wasi:cli/environment@0.2.6" (instance))
                (import "wasi:filesystem/types@0.2.12" (instance))
                (import "forwarder:plugin/host@0.1.3" (instance (export "log" (func))))
                {EXPORT})"#
        );
        let imports = verdict(&wat).unwrap();
        assert_eq!(imports.contract, "0.1.0");
        assert_eq!(
            imports.names,
            [
                "wasi:cli/environment@0.2.6",
                "wasi:filesystem/types@0.2.12",
                "forwarder:plugin/host@0.1.3#log"
            ]
        );
    }

    #[test]
    fn everything_else_is_refused_by_name_all_at_once() {
        let wat = format!(
            r#"(component
                (import "wasi:sockets/tcp@0.2.9" (instance))
                (import "wasi:http/types@0.2.9" (instance))
                (import "wasi:cli/environment@0.3.0" (instance))
                (import "acme:secrets/vault" (instance))
                (import "surprise" (func))
                {EXPORT})"#
        );
        let error = verdict(&wat).unwrap_err();
        let IncompatibleComponent::Imports { imports } = &error else { panic!("{error}") };
        assert_eq!(
            *imports,
            [
                "wasi:sockets/tcp@0.2.9",
                "wasi:http/types@0.2.9",
                "wasi:cli/environment@0.3.0",
                "acme:secrets/vault",
                "surprise"
            ]
        );
        assert!(error.to_string().contains("--stub-wasi"), "{error}");
    }

    #[test]
    fn a_complaint_about_many_imports_stays_short() {
        let imports = (0..1_000).map(|n| format!("acme:x{n}/vault")).collect();
        let said = IncompatibleComponent::Imports { imports }.to_string();
        assert!(said.len() < 400 && said.contains("`acme:x9/vault` and 990 more"), "{said}");
    }

    #[test]
    fn a_contract_of_tomorrow_is_refused_with_its_name() {
        let tomorrow = EXPORT.replace("0.1.0", "0.2.0");
        let error = verdict(&format!("(component {tomorrow})")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it was built for `forwarder:plugin/transform@0.2.0`; this forwarder serves \
             `forwarder:plugin/transform@0.1.0`"
        );
        let batch = r#"(import "forwarder:plugin/batch@0.2.0" (instance))"#;
        let error = verdict(&format!("(component {batch} {EXPORT})")).unwrap_err();
        assert!(matches!(error, IncompatibleComponent::Contract { .. }), "{error}");
    }

    #[test]
    fn a_component_of_another_kind_is_named() {
        assert_eq!(verdict("(component)").unwrap_err(), IncompatibleComponent::NotAPlugin);
    }
}
