//! The service as plain data: projects, logstores, shards, consumer groups.
//!
//! No I/O, no clock, no locks: every method takes the time it needs and answers at once, so that
//! properties can be tested over arbitrary histories. The server puts HTTP in front of it.

pub mod assignment;
pub mod consumer_group;
pub mod cursor;
mod key_range;
pub mod logstore;
pub mod shard;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use forwarder_sls::{LogstoreName, ProjectName};
pub use key_range::KeyRange;
use logstore::Logstore;

use crate::clock::Timestamp;
use crate::refusal::Refusal;

/// A shard's number within its logstore. Numbers only grow.
pub type ShardId = u32;

/// What the service does by itself.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Create unknown projects and logstores on first mention, with this many shards.
    pub create_missing: Option<u32>,
    /// Consumer groups per logstore; the service's documented limit is 30.
    pub max_groups: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { create_missing: None, max_groups: 30 }
    }
}

/// All projects.
#[derive(Debug, Clone, Default)]
pub struct Service {
    policy: Policy,
    projects: BTreeMap<String, Project>,
}

/// One project: logstores and consume processors, by name.
#[derive(Debug, Clone, Default)]
pub struct Project {
    logstores: BTreeMap<String, Logstore>,
    /// Consume-processor id → its SPL text.
    processors: BTreeMap<String, String>,
}

impl Service {
    /// An empty service.
    pub fn new(policy: Policy) -> Self {
        Self { policy, projects: BTreeMap::new() }
    }

    /// CreateProject.
    ///
    /// # Errors
    /// `ProjectAlreadyExist`, or a bad name.
    pub fn create_project(&mut self, name: &str) -> Result<(), Refusal> {
        if ProjectName::try_from(name).is_err() {
            return Err(Refusal::parameter(format!("invalid project name {name:?}")));
        }
        match self.projects.entry(name.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Project::default());
                Ok(())
            }
            Entry::Occupied(_) => {
                let message = format!("project {name} exists already");
                Err(Refusal::new(400, "ProjectAlreadyExist", message))
            }
        }
    }

    /// DeleteProject.
    ///
    /// # Errors
    /// `ProjectNotExist`.
    pub(crate) fn delete_project(&mut self, name: &str) -> Result<(), Refusal> {
        self.projects.remove(name).map(drop).ok_or_else(|| Refusal::no_project(name))
    }

    /// CreateLogstore.
    ///
    /// # Errors
    /// `ProjectNotExist`, `LogStoreAlreadyExist`, or a bad name.
    pub(crate) fn create_logstore(
        &mut self,
        project: &str,
        name: &str,
        shards: u32,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let max_groups = self.policy.max_groups;
        if LogstoreName::try_from(name).is_err() {
            return Err(Refusal::parameter(format!("invalid logstore name {name:?}")));
        }
        let project = self.project_mut(project)?;
        match project.logstores.entry(name.to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Logstore::new(shards, max_groups, now));
                Ok(())
            }
            Entry::Occupied(_) => {
                let message = format!("logstore {name} exists already");
                Err(Refusal::new(400, "LogStoreAlreadyExist", message))
            }
        }
    }

    /// DeleteLogstore.
    ///
    /// # Errors
    /// `ProjectNotExist`, `LogStoreNotExist`.
    pub(crate) fn delete_logstore(&mut self, project: &str, name: &str) -> Result<(), Refusal> {
        let project = self.project_mut(project)?;
        project.logstores.remove(name).map(drop).ok_or_else(|| Refusal::no_logstore(name))
    }

    /// Makes `project` and `logstore` exist if the policy creates what is missing.
    pub fn mention(&mut self, project: &str, logstore: &str, now: Timestamp) {
        let Some(shards) = self.policy.create_missing else { return };
        let max_groups = self.policy.max_groups;
        if ProjectName::try_from(project).is_ok() && LogstoreName::try_from(logstore).is_ok() {
            let project = self.projects.entry(project.to_owned()).or_default();
            let missing = || Logstore::new(shards, max_groups, now);
            project.logstores.entry(logstore.to_owned()).or_insert_with(missing);
        }
    }

    /// One logstore.
    ///
    /// # Errors
    /// `ProjectNotExist`, `LogStoreNotExist`.
    pub fn logstore(&self, project: &str, name: &str) -> Result<&Logstore, Refusal> {
        let project = self.project(project)?;
        project.logstores.get(name).ok_or_else(|| Refusal::no_logstore(name))
    }

    /// One logstore, to write to or to read as a consumer.
    ///
    /// # Errors
    /// `ProjectNotExist`, `LogStoreNotExist`.
    pub(crate) fn logstore_mut(
        &mut self,
        project: &str,
        name: &str,
    ) -> Result<&mut Logstore, Refusal> {
        let project = self.project_mut(project)?;
        project.logstores.get_mut(name).ok_or_else(|| Refusal::no_logstore(name))
    }

    /// One project.
    ///
    /// # Errors
    /// `ProjectNotExist`.
    pub fn project(&self, name: &str) -> Result<&Project, Refusal> {
        self.projects.get(name).ok_or_else(|| Refusal::no_project(name))
    }

    /// Every logstore with the name of its project and its own.
    pub fn logstores(&self) -> impl Iterator<Item = (&str, &str, &Logstore)> {
        self.projects.iter().flat_map(|(project, contents)| {
            contents
                .logstores
                .iter()
                .map(move |(name, logstore)| (project.as_str(), name.as_str(), logstore))
        })
    }

    /// Forgets the consumers of all groups that have been silent for too long.
    pub fn expire(&mut self, now: Timestamp) {
        let projects = self.projects.values_mut();
        projects.flat_map(|project| project.logstores.values_mut()).for_each(|l| l.expire(now));
    }

    /// Stores a consume processor; an existing one is replaced.
    ///
    /// # Errors
    /// `ProjectNotExist`.
    pub(crate) fn set_processor(
        &mut self,
        project: &str,
        id: &str,
        spl: &str,
    ) -> Result<(), Refusal> {
        self.project_mut(project)?.processors.insert(id.to_owned(), spl.to_owned());
        Ok(())
    }

    fn project_mut(&mut self, name: &str) -> Result<&mut Project, Refusal> {
        self.projects.get_mut(name).ok_or_else(|| Refusal::no_project(name))
    }
}

impl Project {
    /// The SPL text of a consume processor.
    pub fn processor(&self, id: &str) -> Option<&str> {
        self.processors.get(id).map(String::as_str)
    }
}
