//! The official Python SDK, in a virtual environment under the build directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The environment's Python, with the SDK in it. Installs both at the first call.
///
/// Needs `python3` with `venv`, and a package index in reach unless an earlier run has installed it.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(install)
}

/// A script of this test.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/python").join(name)
}

fn install() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aliyun-sdk");
    fs::create_dir_all(&home).unwrap();
    // Two test processes may get here at once; the second one finds everything done.
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();

    let environment = home.join("venv");
    let python = environment.join("bin/python");
    let wanted = fs::read(script("requirements.txt")).unwrap();
    let installed = home.join("installed.txt");
    if fs::read(&installed).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(quiet).arg(script("requirements.txt")));
        fs::write(&installed, wanted).unwrap();
    }
    python
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
}
