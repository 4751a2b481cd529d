//! Where the daemons are installed.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Where `cargo xtask test --all` unpacks Debian packages, next to the folder that cargo gives to tests.
const UNPACKED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../tools/debian");

/// How far below `lib` modules may be: `lib/x86_64-linux-gnu/rsyslog/` for example.
const DEPTH: usize = 2;

/// A folder laid out like the root of a Linux system.
#[derive(Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// The first that has a program and a module for it: the unpacked packages, or else this system, where a
    /// profile of AppArmor may keep a daemon out of the test's folder.
    pub(crate) fn with(program: &str, module: &str) -> Self {
        let mut roots = [PathBuf::from(UNPACKED), PathBuf::from("/")].into_iter().map(Self);
        let complete =
            |root: &Self| root.program(program).exists() && root.module(module).is_some();
        let found = roots.find(complete);
        found.unwrap_or_else(|| {
            panic!("{program} with {module} is not installed; run `cargo xtask test --all`")
        })
    }

    /// A command that runs a program of this root, with the libraries that were unpacked with it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        if self.0 == Path::new(UNPACKED) {
            let folders = ["lib", "usr/lib"].map(|lib| folders_in(&self.0.join(lib)));
            let libraries = std::env::join_paths(folders.concat());
            command.env("LD_LIBRARY_PATH", libraries.expect("no colon in our own paths"));
        }
        command
    }

    /// The folder that holds a module.
    pub(crate) fn module(&self, module: &str) -> Option<PathBuf> {
        let libraries = ["usr/lib64", "usr/lib"].map(|lib| self.0.join(lib));
        libraries.iter().find_map(|folder| holder_of(module, folder, DEPTH))
    }

    fn program(&self, program: &str) -> PathBuf {
        self.0.join("usr/sbin").join(program)
    }
}

fn holder_of(file: &str, folder: &Path, depth: usize) -> Option<PathBuf> {
    if folder.join(file).exists() {
        return Some(folder.to_owned());
    }
    let below = depth.checked_sub(1)?;
    folders_in(folder).iter().find_map(|folder| holder_of(file, folder, below))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
