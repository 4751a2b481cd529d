//! The demo as a person would run it, and that it notices a single lost log.

use std::path::Path;

use crate::child::{command, run, said};

/// Built by `cargo xtask plugins`, which `cargo xtask test` does first.
pub(crate) fn audit() -> std::path::PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_forwarder")).parent().unwrap().parent().unwrap();
    let plugin = target.join("wasm32-wasip2/plugin/audit.wasm");
    assert!(plugin.exists(), "{} is missing; run `cargo xtask plugins`", plugin.display());
    plugin
}

async fn demo(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = command();
    command.args(["demo", "--logs", "5000", "--plugin"]).arg(audit()).args(arguments);
    let output = run(&mut command).await;
    (output.status.code(), said(&output))
}

#[tokio::test]
async fn every_log_is_accounted_for() {
    let (code, said) = demo(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("every log is accounted for"), "{said}");
    assert!(said.contains("\"event\":{\"eventId\""), "the plugin nests the event: {said}");
}

#[tokio::test]
async fn one_lost_log_is_noticed() {
    let (code, said) = demo(&["--lose-one"]).await;
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("missing: 1"), "{said}");
}
