//! Write forwarder plugins in Rust.
