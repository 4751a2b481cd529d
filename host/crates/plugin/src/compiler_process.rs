//! The parent's side of the compiler process: starts it, feeds it, reads its answer, and ends it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::compile::{CompileError, CompileLimits, Compiler, MAX_REASON, understood};
use crate::fault::shortened;

/// Compilers at a time; a plugin that is slow to compile must not keep all the others waiting, and each may
/// take its full memory.
const MAX_COMPILERS: usize = 4;
/// Threads of one compiler.
const THREADS: &str = "4";
/// Bytes of its standard error that are read.
const MAX_WORDS: u64 = 4 << 10;
/// How often a running compiler is looked at, and a stop is noticed.
const LOOK: Duration = Duration::from_millis(10);

/// Compiles each component in a process of its own, which must call [`crate::compile::serve`] with the limits
/// it is given as its last two arguments: seconds of CPU and bytes of memory.
#[derive(Debug)]
pub struct CompilerProcess {
    program: PathBuf,
    arguments: Vec<OsString>,
    stopping: AtomicBool,
    running: Mutex<usize>,
    ended: Condvar,
}

impl CompilerProcess {
    /// The program to run, and the arguments before the limits.
    pub fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        let (running, ended) = (Mutex::new(0), Condvar::new());
        Self { program, arguments, stopping: AtomicBool::new(false), running, ended }
    }

    /// Ends all compilers, and starts none any more. Returns at once; they are gone within a few milliseconds.
    pub fn stop(&self) {
        // Under the lock: one that is about to wait must have seen it, or be woken.
        let _running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopping.store(true, Ordering::Relaxed);
        self.ended.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits until there may be one more compiler.
    fn admitted(&self) -> Result<CompilerSlot<'_>, CompileError> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |running: &mut usize| *running >= MAX_COMPILERS && !self.is_stopping();
        let mut running =
            self.ended.wait_while(running, waits).unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping() {
            return Err(CompileError::Stopped);
        }
        *running += 1;
        Ok(CompilerSlot(self))
    }

    fn spawn(&self, limits: &CompileLimits) -> io::Result<CompilerChild> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(limits.cpu.as_secs().max(1).to_string())
            .arg(limits.memory.to_string())
            .env_clear()
            .env("RAYON_NUM_THREADS", THREADS)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(CompilerChild(child))
    }

    /// Waits until it ends by itself, or ends it.
    fn ended(
        &self,
        child: &mut CompilerChild,
        limits: &CompileLimits,
    ) -> Result<ExitStatus, CompileError> {
        let began = Instant::now();
        loop {
            if let Some(status) = child.0.try_wait().map_err(CompileError::Unavailable)? {
                return Ok(status);
            }
            let failure = if self.is_stopping() {
                CompileError::Stopped
            } else if began.elapsed() > limits.wall {
                CompileError::OutOfTime(limits.wall)
            } else {
                thread::sleep(LOOK);
                continue;
            };
            return Err(failure);
        }
    }
}

impl Compiler for CompilerProcess {
    fn compile(&self, component: &[u8], limits: &CompileLimits) -> Result<Vec<u8>, CompileError> {
        let _admitted = self.admitted()?;
        let mut child = self.spawn(limits).map_err(CompileError::Unavailable)?;
        let (stdin, stdout, stderr) =
            (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let spoken = thread::scope(|threads| {
            let spawn = || thread::Builder::new().name("compiler-pipe".into());
            // A compiler that ends early closes its side; what it says matters, not that.
            let feed = move || stdin.map_or(Ok(()), |mut pipe| pipe.write_all(component));
            // One byte more than it may write, so that too much can be seen.
            let most = limits.code.saturating_add(2);
            let started = spawn().spawn_scoped(threads, feed).and_then(|_| {
                let answer = spawn().spawn_scoped(threads, move || read(stdout, most))?;
                let words = spawn().spawn_scoped(threads, move || read(stderr, MAX_WORDS))?;
                Ok((answer, words))
            });
            // The threads end with the compiler, so it must have ended before they are waited for.
            let ended = match &started {
                Ok(_) => self.ended(&mut child, limits),
                Err(_) => Err(CompileError::Stopped),
            };
            child.end();
            let (answer, words) = started.map_err(CompileError::Unavailable)?;
            let died = |_| CompileError::Crashed("its answer could not be read".to_owned());
            Ok((ended?, answer.join().map_err(died)?, words.join().map_err(died)?))
        });
        let (status, answer, words) = spoken?;
        if answer.len() as u64 > limits.code.saturating_add(1) {
            return Err(CompileError::TooLarge(limits.code));
        }
        if status.success() { understood(answer) } else { Err(cause(status, &words, limits)) }
    }
}

/// Reads to the end or to `most` bytes; then the other side finds its pipe closed.
fn read(pipe: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is what there is; the exit status says whether it is whole.
        let _ = pipe.take(most).read_to_end(&mut bytes);
    }
    bytes
}

/// Why a compiler did not end with success.
fn cause(status: ExitStatus, words: &[u8], limits: &CompileLimits) -> CompileError {
    let words = String::from_utf8_lossy(words);
    match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::XCPU) => CompileError::OutOfCpu(limits.cpu),
        // Rust's allocator says this and aborts; SIGKILL is what the kernel does when the machine has no more.
        _ if words.contains("memory allocation of") => CompileError::OutOfMemory(limits.memory),
        Some(Signal::KILL) => CompileError::OutOfMemory(limits.memory),
        _ if words.trim().is_empty() => CompileError::Crashed(status.to_string()),
        _ => CompileError::Crashed(format!("{status}: {}", shortened(&words, MAX_REASON))),
    }
}

/// One of the compilers that may run at a time.
struct CompilerSlot<'a>(&'a CompilerProcess);

impl Drop for CompilerSlot<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}

/// A child that is gone when this is.
struct CompilerChild(Child);

impl CompilerChild {
    fn end(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for CompilerChild {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn limits(wall: Duration) -> CompileLimits {
        CompileLimits { wall, ..CompileLimits::of(0, None, None) }
    }

    /// A compiler that is a shell script; the limits are its last arguments.
    fn script(text: &str) -> CompilerProcess {
        CompilerProcess::new("/bin/sh".into(), vec!["-c".into(), text.into(), "compiler".into()])
    }

    fn compiled(text: &str) -> Result<Vec<u8>, CompileError> {
        script(text).compile(&[b'x'; 300_000], &limits(Duration::from_secs(60)))
    }

    #[test]
    fn the_answer_is_what_it_writes() {
        assert_eq!(compiled("cat >/dev/null; printf '\\000code'").unwrap(), b"code");
        let refused = compiled("printf '\\001no good'").unwrap_err();
        assert!(matches!(refused, CompileError::Refused(_)), "{refused}");
    }

    #[test]
    fn it_is_given_no_environment_and_its_limits() {
        let seen = compiled("printf '\\000%s %s %s' $1 $2 \"$(env | grep -vE '^(PWD|SHLVL|_)=')\"");
        let seen = String::from_utf8(seen.unwrap()).unwrap();
        assert_eq!(seen, format!("4 {} RAYON_NUM_THREADS=4", 256 << 20));
    }

    #[test]
    fn each_end_has_its_words() {
        for (text, wanted) in [
            ("kill -XCPU $$", "more than 4 s of CPU"),
            ("kill -KILL $$", "more than 256 MiB"),
            ("echo 'memory allocation of 7 bytes failed' >&2; kill -ABRT $$", "more than 256 MiB"),
            ("echo 'thread panicked' >&2; exit 101", "101: thread panicked"),
            ("exec cat /dev/zero", "larger than 4194304 bytes"),
            ("exit 0", "no answer"),
        ] {
            let error = compiled(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let nowhere = CompilerProcess::new("/no/such/program".into(), vec![]);
        let error = nowhere.compile(b"", &limits(Duration::from_secs(60))).unwrap_err();
        assert!(matches!(error, CompileError::Unavailable(_)), "{error}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let began = Instant::now();
        let patience = Duration::from_millis(50);
        let error = script("exec sleep 1000").compile(b"", &limits(patience)).unwrap_err();
        assert!(matches!(error, CompileError::OutOfTime(_)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_stop_ends_those_that_run_and_those_that_wait() {
        let compiler = Arc::new(script("exec sleep 1000"));
        let compile = || {
            let compiler = Arc::clone(&compiler);
            thread::spawn(move || compiler.compile(b"", &limits(Duration::from_secs(600))))
        };
        let compiling: Vec<_> = (0..MAX_COMPILERS + 2).map(|_| compile()).collect();
        while *compiler.running.lock().unwrap() < MAX_COMPILERS {
            thread::yield_now();
        }
        compiler.stop();
        for thread in compiling {
            assert!(matches!(thread.join().unwrap(), Err(CompileError::Stopped)));
        }
        assert_eq!(*compiler.running.lock().unwrap(), 0);
        assert!(matches!(compiler.compile(b"", &limits(LOOK)), Err(CompileError::Stopped)));
    }
}
