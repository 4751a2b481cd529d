//! Programs that save a checkpoint without a delivery. None of them may compile.
//!
//! After a change of compiler or of a message that was meant: `TRYBUILD=overwrite cargo test -p
//! forwarder-pipeline --test compile_fail`, and read the difference.

#[test]
fn a_checkpoint_without_delivery_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
