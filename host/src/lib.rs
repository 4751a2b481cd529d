//! Forwards Alibaba Cloud audit logs from SLS to a SIEM through sandboxed WASM plugins.
