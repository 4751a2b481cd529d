//! The macro that exports a forwarder plugin.
