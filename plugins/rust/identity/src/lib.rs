//! The smallest plugin: every log passes unchanged.
