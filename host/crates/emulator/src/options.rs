//! What a command line asks of an emulator: one logstore, filled from files or with samples.

use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::emulator::{Emulator, StartError};
use crate::faults::Injection;
use crate::grouping::GroupSize;
use crate::load::{self, DataError};
use crate::log_group::EncodedGroup;
use crate::samples::Samples;
use crate::sign_check::SignatureCheck;
use crate::state::logstore::Placement;

/// An emulator to be started with data in it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The project.
    pub project: String,
    /// Its logstore.
    pub logstore: String,
    /// The logstore's shards.
    pub shards: u32,
    /// Files of JSON lines to load; see [`load::json_lines`].
    pub load: Vec<PathBuf>,
    /// Samples of an audit logstore to generate, after the files.
    pub samples: u64,
    /// What the samples follow from.
    pub seed: u64,
    /// How loaded and generated logs are grouped.
    pub group_size: GroupSize,
    /// Which signatures are accepted.
    pub signatures: SignatureCheck,
    /// Whether projects and logstores are created when they are first named.
    pub create_missing: bool,
    /// What is to go wrong.
    pub faults: Vec<Injection>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            project: "demo".to_owned(),
            logstore: "audit".to_owned(),
            shards: 4,
            load: Vec::new(),
            samples: 0,
            seed: 1,
            group_size: GroupSize::default(),
            signatures: SignatureCheck::Off,
            create_missing: false,
            faults: Vec::new(),
        }
    }
}

impl Options {
    /// Starts the emulator and fills its shards in turn, before any consumer can have come.
    ///
    /// # Errors
    /// The address cannot be bound, a name is bad, or a file cannot be loaded.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let mut builder = Emulator::builder()
            .listen(self.listen)
            .logstore(&self.project, &self.logstore, self.shards)
            .signatures(self.signatures.clone());
        if self.create_missing {
            builder = builder.create_missing(self.shards);
        }
        let emulator = builder.start().await?;
        let Self { project, logstore, faults, .. } = self.clone();
        let now = emulator.clock().now();
        let groups = tokio::task::spawn_blocking(move || self.groups(now)).await;
        let groups = groups.map_err(|_| StartError::Interrupted)??;
        emulator.put(&project, &logstore, Placement::Balanced, groups)?;
        faults.into_iter().for_each(|fault| emulator.faults().add(fault));
        Ok(emulator)
    }

    fn groups(&self, now: Timestamp) -> Result<Vec<EncodedGroup>, DataError> {
        let mut groups = Vec::new();
        for path in &self.load {
            groups.extend(self.load_file(path, now)?);
        }
        let samples = Samples::audit(self.seed).group_size(self.group_size);
        groups.extend(samples.groups(self.samples));
        Ok(groups)
    }

    fn load_file(&self, path: &Path, now: Timestamp) -> Result<Vec<EncodedGroup>, DataError> {
        let failed = |source| DataError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let loaded = load::json_lines(BufReader::new(file), self.group_size, now);
        loaded.map_err(|source| DataError::Load { path: path.to_owned(), source })
    }
}
