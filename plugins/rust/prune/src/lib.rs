//! A plugin that filters rows and keeps or removes columns, by config.
