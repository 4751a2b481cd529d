//! Forwards Alibaba Cloud audit logs from SLS to a SIEM through sandboxed WASM plugins.
//!
//! | module | answers |
//! |---|---|
//! | [`problem`] | how is a problem told to a person? |
//! | [`exit`] | what does the process answer when it ends? |
//! | [`config`] | what was the program told, and is it right? |

pub mod config;
pub mod exit;
pub mod problem;
