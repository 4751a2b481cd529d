//! A Simple Log Service for development, demos and tests.
#![forbid(unsafe_code)]

pub mod clock;
pub mod log_group;
pub mod refusal;
pub mod spl;
pub mod state;
