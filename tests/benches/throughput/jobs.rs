//! What is measured: the jobs of the project's performance bar.

/// Which logs a job pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Access logs of 24 fields, about 0.75 KB.
    Access,
    /// ActionTrail logs, one field with JSON.
    Audit,
}

/// What is done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing: no plugin.
    Pass,
    /// Drop rows by one field, remove three fields.
    Prune,
    /// Drop read-only calls by name, nest the JSON.
    Audit,
}

/// Where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// HEC over HTTP.
    Hec {
        /// Compressed at level 1.
        gzip: bool,
    },
    /// RFC 5424 over TCP.
    Syslog,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) corpus: Shape,
    pub(crate) work: Work,
    pub(crate) to: To,
    /// What the project wants to reach, in raw MB per CPU-second.
    pub(crate) bar: u32,
}

pub(crate) fn all() -> Vec<Job> {
    let job = |name, corpus, work, to, bar| Job { name, corpus, work, to, bar };
    let plain = To::Hec { gzip: false };
    vec![
        job("no plugin, access logs", Shape::Access, Work::Pass, plain, 600),
        job("prune, access logs", Shape::Access, Work::Prune, plain, 700),
        job("audit, ActionTrail", Shape::Audit, Work::Audit, plain, 900),
        job("audit, ActionTrail, gzip 1", Shape::Audit, Work::Audit, To::Hec { gzip: true }, 400),
        job("no plugin, access logs, syslog", Shape::Access, Work::Pass, To::Syslog, 600),
    ]
}
