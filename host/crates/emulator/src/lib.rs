//! A Simple Log Service for development, demos and tests.
