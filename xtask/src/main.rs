//! What people type: `cargo xtask demo`, `test`, `check`, `plugins`, `bench`.

fn main() {}
