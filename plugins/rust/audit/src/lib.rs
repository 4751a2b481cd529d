//! A plugin that nests the JSON of audit logs, drops by event name and lifts inner fields.
