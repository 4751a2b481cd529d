//! What instantiating a component costs the host, counted from its bytes before anything is compiled.
//!
//! A component is small where it is a recipe: "instantiate this module 900 times", "these two components,
//! twice each, 24 levels deep". The recipe is followed here with numbers instead of instances. What is cheap to
//! write and dear to follow has a cap; what is memory of the host is charged to the plugin's `limits.memory`,
//! together with its linear memories.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ElementItems, ElementKind, Encoding, Instance, Parser, Payload,
};

/// Instances of core modules in one instance of a plugin. componentize-py makes one of each C extension.
pub(crate) const MAX_CORE_INSTANCES: usize = 256;
/// Instances of components inside a plugin: two or three where a toolchain wraps exports, one for each
/// component that was composed.
const MAX_COMPONENT_INSTANCES: usize = 256;
/// Linear memories. Each reserves 4 GiB of address space, whatever its size.
pub(crate) const MAX_MEMORIES: usize = 16;
/// Tables of functions.
pub(crate) const MAX_TABLES: usize = 256;
/// Bytes that describe how parts are joined (types, imports, aliases, exports), as often as they are followed.
const MAX_GLUE: usize = 4 << 20;
/// Modules, or components, that one component may name.
const MAX_NAMED: usize = 1_000;
/// Components inside components.
const MAX_DEPTH: usize = 32;

const PAGE: u64 = 64 << 10;
/// Host memory of an instance of a module, apart from what is counted below.
const INSTANCE: u64 = 1 << 10;
/// … of a memory: its bookkeeping, not its content.
const MEMORY: u64 = 4 << 10;
/// … of a table, apart from its elements.
const TABLE: u64 = 256;
/// … of an element of a table.
pub(crate) const TABLE_ELEMENT: usize = 8;
/// … of a global.
const GLOBAL: u64 = 16;
/// … of a function, which may be called through a reference, or an import.
const FUNCTION: u64 = 32;
/// … of a segment, and of an element that a passive segment keeps for later.
const SEGMENT: u64 = 64;
const PASSIVE_ELEMENT: u64 = 16;
/// What the engine keeps of a module's parts for as long as the plugin is loaded, instantiated or not, as a multiple
/// of what an instance keeps of them: some 70 bytes for a global, measured with 13 million.
const DECLARED: u64 = 4;

/// What one instance of a component takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost {
    core_instances: u64,
    component_instances: u64,
    memories: u64,
    tables: u64,
    glue: u64,
    /// Bytes of linear memory at the start.
    linear: u64,
    /// Bytes of tables at the start.
    table_bytes: u64,
    /// Bytes in the host for everything else.
    host: u64,
    /// Bytes that are copied or evaluated while instantiating, when nothing can interrupt it.
    initial: u64,
}

/// A component cannot be afforded, whatever it would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The bytes cannot be followed.
    #[error("{0}")]
    Malformed(String),
    /// More of something than any plugin needs.
    #[error("one instance of it would consist of {count} {what}; at most {max} are accepted")]
    TooMany { what: &'static str, count: u64, max: usize },
    /// More memory than this plugin may have.
    #[error(
        "one instance of it takes {needed} bytes before it does anything ({linear} of memory, {tables} of tables, {host} of the host for globals, functions, segments and instances), and `limits.memory` is {limit}; raise it if the plugin may have that much"
    )]
    TooLarge { needed: u64, linear: u64, tables: u64, host: u64, limit: u64 },
    /// Starting an instance would copy more than its memory could hold.
    #[error(
        "starting one instance of it would copy {initial} bytes, more than its `limits.memory` of {limit}; raise it if the plugin may have that much"
    )]
    TooSlow { initial: u64, limit: u64 },
}

impl Cost {
    /// Bytes of the host that an instance takes apart from memories and tables, which grow.
    pub(crate) fn host_bytes(&self) -> usize {
        usize::try_from(self.host).unwrap_or(usize::MAX)
    }

    /// Whether a plugin with this much memory may be instantiated at all.
    pub(crate) fn check(&self, memory: usize) -> Result<(), Refusal> {
        let limit = u64::try_from(memory).unwrap_or(u64::MAX);
        let Self { linear, table_bytes: tables, host, initial, .. } = *self;
        let needed = linear.saturating_add(tables).saturating_add(host);
        if needed > limit {
            return Err(Refusal::TooLarge { needed, linear, tables, host, limit });
        }
        if initial > limit {
            return Err(Refusal::TooSlow { initial, limit });
        }
        Ok(())
    }

    fn capped(&self) -> Result<(), Refusal> {
        let caps = [
            ("instances of core modules", self.core_instances, MAX_CORE_INSTANCES),
            ("instances of components", self.component_instances, MAX_COMPONENT_INSTANCES),
            ("linear memories", self.memories, MAX_MEMORIES),
            ("tables", self.tables, MAX_TABLES),
            ("bytes of types, imports and exports", self.glue, MAX_GLUE),
        ];
        let over = caps.into_iter().find(|(_, count, max)| *count > *max as u64);
        over.map_or(Ok(()), |(what, count, max)| Err(Refusal::TooMany { what, count, max }))
    }

    fn add(&mut self, other: &Self) {
        let Self {
            core_instances,
            component_instances,
            memories,
            tables,
            glue,
            linear,
            table_bytes,
            host,
            initial,
        } = self;
        for (total, more) in [
            (core_instances, other.core_instances),
            (component_instances, other.component_instances),
            (memories, other.memories),
            (tables, other.tables),
            (glue, other.glue),
            (linear, other.linear),
            (table_bytes, other.table_bytes),
            (host, other.host),
            (initial, other.initial),
        ] {
            *total = total.saturating_add(more);
        }
    }

    fn charge(&mut self, count: u32, each: u64) {
        self.host = self.host.saturating_add(u64::from(count).saturating_mul(each));
    }
}

/// What a module or component that is being read adds up to, and what can be instantiated in it.
struct Scope {
    is_module: bool,
    cost: Cost,
    /// Bytes that the engine keeps of the modules in it, instantiated or not.
    declared: u64,
    modules: Vec<Cost>,
    components: Vec<Cost>,
}

impl Scope {
    fn new(encoding: Encoding) -> Self {
        let mut cost = Cost::default();
        match encoding {
            Encoding::Module => {
                cost.core_instances = 1;
                cost.host = INSTANCE;
            }
            Encoding::Component => cost.component_instances = 1,
        }
        let is_module = encoding == Encoding::Module;
        Self { is_module, cost, declared: 0, modules: Vec::new(), components: Vec::new() }
    }
}

/// Counts what one instance of `component` takes. Reads everything but the code.
pub(crate) fn survey(component: &[u8]) -> Result<Cost, Refusal> {
    if !Parser::is_component(component) {
        return Err(Refusal::Malformed(if Parser::is_core_wasm(component) {
            "this is a core module, not a component".to_owned()
        } else {
            "these are not the bytes of a WebAssembly component".to_owned()
        }));
    }
    let mut open: Vec<Scope> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding, .. } => {
                if open.len() >= MAX_DEPTH {
                    let (what, count) = ("components inside components", MAX_DEPTH as u64 + 1);
                    return Err(Refusal::TooMany { what, count, max: MAX_DEPTH });
                }
                if let Some(parent) = open.last() {
                    named_one_more(&parent.modules)?;
                    named_one_more(&parent.components)?;
                }
                open.push(Scope::new(encoding));
            }
            Payload::End(_) => {
                let Some(done) = open.pop() else { return Err(lost()) };
                let is_module = done.is_module;
                let own = if is_module { done.cost.host.saturating_mul(DECLARED) } else { 0 };
                let declared = done.declared.saturating_add(own);
                let Some(parent) = open.last_mut() else {
                    let host = done.cost.host.saturating_add(declared);
                    let cost = Cost { host, ..done.cost };
                    cost.capped()?;
                    return Ok(cost);
                };
                parent.declared = parent.declared.saturating_add(declared);
                let named = if is_module { &mut parent.modules } else { &mut parent.components };
                named.push(done.cost);
            }
            payload => read(payload, &mut open)?,
        }
    }
    Err(lost())
}

fn malformed(error: wasmparser::Error) -> Refusal {
    Refusal::Malformed(error.to_string())
}

fn lost() -> Refusal {
    Refusal::Malformed("it ends before its outermost component does".to_owned())
}

fn named_one_more(named: &[Cost]) -> Result<(), Refusal> {
    if named.len() < MAX_NAMED {
        return Ok(());
    }
    let (what, count) = ("modules or components in one component", MAX_NAMED as u64 + 1);
    Err(Refusal::TooMany { what, count, max: MAX_NAMED })
}

/// A section of the innermost module or component.
fn read(payload: Payload<'_>, open: &mut [Scope]) -> Result<(), Refusal> {
    let Some(scope) = open.last_mut() else { return Err(lost()) };
    let Scope { cost, .. } = scope;
    match payload {
        Payload::ImportSection(section) => cost.charge(section.count(), FUNCTION),
        Payload::FunctionSection(section) => cost.charge(section.count(), FUNCTION),
        Payload::GlobalSection(section) => {
            cost.charge(section.count(), GLOBAL);
            cost.initial = cost.initial.saturating_add(section.range().len() as u64);
        }
        Payload::TableSection(section) => {
            cost.charge(section.count(), TABLE);
            cost.tables = cost.tables.saturating_add(section.count().into());
            for table in section {
                let bytes =
                    table.map_err(malformed)?.ty.initial.saturating_mul(TABLE_ELEMENT as u64);
                cost.table_bytes = cost.table_bytes.saturating_add(bytes);
            }
        }
        Payload::MemorySection(section) => {
            cost.charge(section.count(), MEMORY);
            cost.memories = cost.memories.saturating_add(section.count().into());
            for memory in section {
                let bytes = memory.map_err(malformed)?.initial.saturating_mul(PAGE);
                cost.linear = cost.linear.saturating_add(bytes);
            }
        }
        Payload::ElementSection(section) => {
            cost.charge(section.count(), SEGMENT);
            cost.initial = cost.initial.saturating_add(section.range().len() as u64);
            for element in section {
                let element = element.map_err(malformed)?;
                let items = match element.items {
                    ElementItems::Functions(items) => items.count(),
                    ElementItems::Expressions(_, items) => items.count(),
                };
                if matches!(element.kind, ElementKind::Passive) {
                    cost.charge(items, PASSIVE_ELEMENT);
                }
            }
        }
        Payload::DataSection(section) => {
            cost.charge(section.count(), SEGMENT);
            cost.initial = cost.initial.saturating_add(section.range().len() as u64);
        }
        payload => return component_section(payload, open),
    }
    Ok(())
}

/// A section of the innermost component.
fn component_section(payload: Payload<'_>, open: &mut [Scope]) -> Result<(), Refusal> {
    let scope = open.last_mut().ok_or_else(lost)?;
    if scope.is_module {
        return Ok(()); // types, exports, code: the compiler's work, and once for all instances
    }
    let is_glue = !matches!(
        payload,
        Payload::CustomSection(_)
            | Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
    );
    if let Some((_, range)) = payload.as_section().filter(|_| is_glue) {
        scope.cost.glue = scope.cost.glue.saturating_add(range.len() as u64);
    }
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                if let Instance::Instantiate { module_index, .. } = instance.map_err(malformed)? {
                    let scope = open.last_mut().ok_or_else(lost)?;
                    let cost = *found(&scope.modules, module_index)?;
                    scope.cost.add(&cost);
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                let instance = instance.map_err(malformed)?;
                if let ComponentInstance::Instantiate { component_index, .. } = instance {
                    let scope = open.last_mut().ok_or_else(lost)?;
                    let cost = *found(&scope.components, component_index)?;
                    scope.cost.add(&cost);
                }
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section {
                alias_of(alias.map_err(malformed)?, open)?;
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                match import.map_err(malformed)?.ty {
                    ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_) => {
                        return Err(passed_around());
                    }
                    _ => {}
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section {
                let export = export.map_err(malformed)?;
                // What is exported gets a second number, by which it can be instantiated.
                let scope = open.last_mut().ok_or_else(lost)?;
                let named = match export.kind {
                    ComponentExternalKind::Module => &mut scope.modules,
                    ComponentExternalKind::Component => &mut scope.components,
                    _ => continue,
                };
                named_one_more(named)?;
                named.push(*found(named, export.index)?);
            }
        }
        _ => {}
    }
    Ok(())
}

fn alias_of(alias: ComponentAlias<'_>, open: &mut [Scope]) -> Result<(), Refusal> {
    match alias {
        ComponentAlias::InstanceExport {
            kind: ComponentExternalKind::Module | ComponentExternalKind::Component,
            ..
        } => Err(passed_around()),
        ComponentAlias::Outer { kind, count, index } => {
            let outward = usize::try_from(count).map_err(|_| lost())?;
            let at = open.len().checked_sub(1).and_then(|last| last.checked_sub(outward));
            let from = at.and_then(|at| open.get(at)).ok_or_else(lost)?;
            let is_module = match kind {
                ComponentOuterAliasKind::CoreModule => true,
                ComponentOuterAliasKind::Component => false,
                _ => return Ok(()),
            };
            let named = if is_module { &from.modules } else { &from.components };
            let cost = *found(named, index)?;
            let scope = open.last_mut().ok_or_else(lost)?;
            let named = if is_module { &mut scope.modules } else { &mut scope.components };
            named_one_more(named)?;
            named.push(cost);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn found(named: &[Cost], index: u32) -> Result<&Cost, Refusal> {
    usize::try_from(index).ok().and_then(|index| named.get(index)).ok_or_else(|| {
        Refusal::Malformed(format!("it instantiates number {index}, which does not exist"))
    })
}

fn passed_around() -> Refusal {
    Refusal::Malformed(
        "it passes core modules or components between its parts; their cost is not known before it runs, and no toolchain does this".to_owned(),
    )
}
