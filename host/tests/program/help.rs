//! The help is an interface too.

use crate::child::{command, run, said};

#[tokio::test]
async fn the_help_says_what_can_be_typed() {
    for (name, arguments) in [
        ("help", ["--help"].as_slice()),
        ("help_check", &["check", "--help"]),
        ("help_group", &["group", "--help"]),
        ("help_group_set", &["group", "set", "--help"]),
        ("help_demo", &["demo", "--help"]),
        ("help_emulator", &["emulator", "--help"]),
    ] {
        let output = run(command().args(arguments)).await;
        assert_eq!(output.status.code(), Some(0));
        insta::assert_snapshot!(name, said(&output));
    }
}

#[tokio::test]
async fn a_misspelt_option_is_met_with_the_right_one() {
    let output = run(command().arg("--plugins").arg("audit.wasm")).await;
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("misspelt", said(&output));
}
