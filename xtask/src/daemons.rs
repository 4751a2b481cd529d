//! Syslog daemons that the interoperability tests start: whether they are here, and how to get them.
//!
//! They are unpacked, not installed. As packages they exclude each other, installing them would start them, and
//! it would take root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{shell, tools};

/// A daemon that tests talk to.
pub(crate) struct Daemon {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What the names of its tests begin with.
    pub(crate) tests: &'static str,
    /// Its program in `usr/sbin`.
    program: &'static str,
    /// The module that the tests need most, which may be missing where the program is not.
    module: &'static str,
    /// Where Debian has both.
    packages: &'static [&'static str],
}

/// All of them.
pub(crate) const DAEMONS: [Daemon; 2] = [
    Daemon {
        name: "rsyslog",
        tests: "rsyslog::",
        program: "rsyslogd",
        module: "lmnsd_ossl.so",
        packages: &["rsyslog", "rsyslog-openssl"],
    },
    Daemon {
        name: "syslog-ng",
        tests: "syslog_ng::",
        program: "syslog-ng",
        module: "libafsocket.so",
        packages: &["syslog-ng-core"],
    },
];

/// How far below `lib` modules may be: `lib/x86_64-linux-gnu/rsyslog/` for example.
const DEPTH: usize = 2;

impl Daemon {
    /// Whether the tests will find it: unpacked, or on this system.
    pub(crate) fn is_here(&self) -> bool {
        [unpacked(), PathBuf::from("/")].iter().any(|root| {
            let libraries = ["usr/lib64", "usr/lib"].map(|lib| root.join(lib));
            root.join("usr/sbin").join(self.program).exists()
                && libraries.iter().any(|folder| holds(self.module, folder, DEPTH))
        })
    }
}

fn holds(file: &str, folder: &Path, depth: usize) -> bool {
    let below = |depth| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|folder| holds(file, &folder, depth))
    };
    folder.join(file).exists() || depth.checked_sub(1).is_some_and(below)
}

/// Where the tests look before the system itself; see `tests/interop/syslog/installed.rs`.
fn unpacked() -> PathBuf {
    shell::target().join("tools/debian")
}

/// Fetches daemons from Debian, with what they depend on, and unpacks them. Keeps its own package lists.
pub(crate) fn fetch(daemons: &[&Daemon]) -> Result<()> {
    let names: Vec<&str> = daemons.iter().map(|daemon| daemon.name).collect();
    tools::require_apt(&names.join(" and "))?;
    let home = shell::target().join("tools/apt");
    let archives = home.join("archives");
    fs::create_dir_all(home.join("lists/partial"))?;
    shell::run("update the package lists", apt(&home).arg("update"))?;
    for daemon in daemons {
        // What lies there has been unpacked before.
        let _ = fs::remove_dir_all(&archives);
        fs::create_dir_all(archives.join("partial"))?;
        // With `--reinstall` even what the system has, so that both halves end up in one place.
        let mut download = apt(&home);
        download.args(["install", "--download-only", "--reinstall", "--no-install-recommends"]);
        shell::run(&format!("fetch {}", daemon.name), download.args(daemon.packages))?;
        for entry in fs::read_dir(&archives)? {
            let archive = entry?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                unpack(&archive)?;
            }
        }
    }
    Ok(())
}

/// `apt-get` that leaves no trace outside `home`.
fn apt(home: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    let lists = format!("Dir::State::lists={}", home.join("lists").display());
    let cache = format!("Dir::Cache={}", home.display());
    // Nothing of the system is changed, so there is nothing to lock and no user to change to.
    for option in [&lists, &cache, "Debug::NoLocking=true", "APT::Sandbox::User="] {
        apt.args(["-o", option]);
    }
    apt.args(["--quiet", "--yes"]);
    apt
}

fn unpack(archive: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg");
    let status = dpkg.arg("--extract").arg(archive).arg(unpacked()).status();
    let status = status.context("cannot start dpkg")?;
    anyhow::ensure!(status.success(), "cannot unpack {}", archive.display());
    Ok(())
}
