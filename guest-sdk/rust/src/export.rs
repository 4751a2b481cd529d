//! What `plugin!` calls: one plugin per component, kept between the calls of the forwarder.

use std::cell::RefCell;

use crate::transform::{Bound, Transform};

thread_local! {
    static PLUGIN: RefCell<Option<Bound>> = const { RefCell::new(None) };
}

/// Reads the config and keeps the plugin that it makes.
///
/// # Errors
///
/// What is wrong with the config.
pub fn configure<S>(transform: impl Transform<S>, config: &str) -> Result<(), String> {
    let bound = transform.bind(config)?;
    PLUGIN.set(Some(bound));
    Ok(())
}

/// Runs the plugin on the slice in hand.
///
/// # Errors
///
/// That of the plugin, or that it was never configured.
pub fn process(rows: u32) -> Result<(), String> {
    PLUGIN.with_borrow(|plugin| match plugin {
        Some(bound) => bound.process(rows),
        None => Err("process was called before configure succeeded".to_owned()),
    })
}

/// Compiles only if the argument is a plugin; so that a native build finds the mistake too.
pub const fn assert_plugin<S>(_: &impl Transform<S>) {}
