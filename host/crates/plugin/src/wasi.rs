//! WASI 0.2 for language runtimes that import it whether or not the program uses it. Nothing is behind it:
//! no files, sockets, environment or arguments; a clock that does not move (or, where a runtime would spin on
//! it, moves by itself) and random numbers that are always the same, so that a plugin gives the same
//! answer for the same rows. What is written to the standard streams becomes lines of the plugin's log.
//!
//! Only what a component imports is defined, under the version it asks for. Functions that cannot be reached
//! without a file (all of `wasi:filesystem/types`) exist and trap.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType, WasmList,
};
use wasmtime::{Result, StoreContextMut};

use crate::capability::{is_inert_wasi, split_version};
use crate::fault::Fault;
use crate::store_data::StoreData;
use crate::wasi_state::SEED;

type Cx<'a> = StoreContextMut<'a, StoreData>;

/// Handles that an instance may hold at once; each takes a few bytes of the host's memory.
const MAX_HANDLES: u32 = 1_000;
/// What one `write` to a stream may carry, as `check-write` reports it to the guest.
const WRITE_CHUNK: u64 = 64 << 10;

// What a guest can hold a handle of. The number behind a handle says which stream; for the rest it says nothing.
enum InputStream {}
enum OutputStream {}
enum Pollable {}
enum IoError {}
enum Descriptor {}
enum DirectoryEntries {}
enum TerminalInput {}
enum TerminalOutput {}

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const READY: u32 = 3;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "part of the WIT type; writing to a log cannot fail")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

impl Datetime {
    const fn of_nanos(nanoseconds: u32) -> Self {
        Self { seconds: 0, nanoseconds }
    }
}

/// Defines the WASI interfaces that `component` imports.
pub(crate) fn define(linker: &mut Linker<StoreData>, component: &Component) -> Result<()> {
    let engine = component.engine().clone();
    let ty = component.component_type();
    for (name, import) in ty.imports(&engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        if !is_inert_wasi(name) {
            continue;
        }
        let interface = split_version(name).0;
        let mut target = linker.instance(name)?;
        for (item, kind) in instance.exports(&engine) {
            match kind.ty {
                ComponentItem::Resource(_) => resource(&mut target, item)?,
                ComponentItem::ComponentFunc(_) => function(&mut target, interface, item)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource(target: &mut LinkerInstance<'_, StoreData>, name: &str) -> Result<()> {
    let ty = match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<IoError>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        "directory-entry-stream" => ResourceType::host::<DirectoryEntries>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        _ => ResourceType::host::<()>(),
    };
    target.resource(name, ty, |mut cx, _| {
        let handles = &mut cx.data_mut().wasi.handles;
        *handles = handles.saturating_sub(1);
        Ok(())
    })
}

fn function(target: &mut LinkerInstance<'_, StoreData>, interface: &str, name: &str) -> Result<()> {
    let defined = match interface {
        "wasi:io/streams" => streams(target, name)?,
        "wasi:io/poll" => poll(target, name)?,
        "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" => {
            clocks(target, interface, name)?
        }
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
            random(target, name)?
        }
        _ => world(target, name)?,
    };
    if !defined {
        let called = format!("it called `{interface}#{name}`, which leads nowhere in a plugin");
        target.func_new(name, move |_, _, _, _| Err(Fault::Trapped(called.clone()).into()))?;
    }
    Ok(())
}

/// `wasi:cli/*` and `wasi:filesystem/preopens`: an empty world.
fn world(target: &mut LinkerInstance<'_, StoreData>, name: &str) -> Result<bool> {
    match name {
        "get-environment" => {
            target.func_wrap(name, |_: Cx<'_>, ()| Ok((Vec::<(String, String)>::new(),)))
        }
        "get-arguments" => target.func_wrap(name, |_: Cx<'_>, ()| Ok((Vec::<String>::new(),))),
        "initial-cwd" => target.func_wrap(name, |_: Cx<'_>, ()| Ok((None::<String>,))),
        "get-directories" => target
            .func_wrap(name, |_: Cx<'_>, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),))),
        "get-stdin" => {
            target.func_wrap(name, |cx: Cx<'_>, ()| Ok((handle::<InputStream>(cx, STDIN)?,)))
        }
        "get-stdout" => {
            target.func_wrap(name, |cx: Cx<'_>, ()| Ok((handle::<OutputStream>(cx, STDOUT)?,)))
        }
        "get-stderr" => {
            target.func_wrap(name, |cx: Cx<'_>, ()| Ok((handle::<OutputStream>(cx, STDERR)?,)))
        }
        "get-terminal-stdin" => {
            target.func_wrap(name, |_: Cx<'_>, ()| Ok((None::<Resource<TerminalInput>>,)))
        }
        "get-terminal-stdout" | "get-terminal-stderr" => {
            target.func_wrap(name, |_: Cx<'_>, ()| Ok((None::<Resource<TerminalOutput>>,)))
        }
        "exit" => target.func_wrap(name, |_: Cx<'_>, (_,): (Result<(), ()>,)| exited()),
        "exit-with-code" => target.func_wrap(name, |_: Cx<'_>, (_,): (u8,)| exited()),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Standard input has ended; the outputs take everything.
fn streams(target: &mut LinkerInstance<'_, StoreData>, name: &str) -> Result<bool> {
    type Input = Resource<InputStream>;
    type Output = Resource<OutputStream>;
    type Done = Result<(), StreamError>;
    match name {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => target
            .func_wrap(name, |_: Cx<'_>, (_, _): (Input, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            }),
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => target
            .func_wrap(name, |_: Cx<'_>, (_, _): (Input, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            }),
        "[method]input-stream.subscribe" => target
            .func_wrap(name, |cx: Cx<'_>, (_,): (Input,)| Ok((handle::<Pollable>(cx, READY)?,))),
        "[method]output-stream.subscribe" => target
            .func_wrap(name, |cx: Cx<'_>, (_,): (Output,)| Ok((handle::<Pollable>(cx, READY)?,))),
        "[method]output-stream.check-write" => target
            .func_wrap(name, |_: Cx<'_>, (_,): (Output,)| {
                Ok((Ok::<u64, StreamError>(WRITE_CHUNK),))
            }),
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            target.func_wrap(name, |_: Cx<'_>, (_,): (Output,)| Ok((Done::Ok(()),)))
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => target
            .func_wrap(name, |mut cx: Cx<'_>, (stream, bytes): (Output, WasmList<u8>)| {
                cx.data().look()?;
                let is_error = stream.rep() == STDERR;
                let bytes = bytes.as_le_slice(&cx).to_vec();
                let StoreData { wasi, log, .. } = cx.data_mut();
                wasi.write(is_error, &bytes, log);
                Ok((Done::Ok(()),))
            }),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Whatever is waited for has happened.
fn poll(target: &mut LinkerInstance<'_, StoreData>, name: &str) -> Result<bool> {
    match name {
        "[method]pollable.ready" => {
            target.func_wrap(name, |_: Cx<'_>, (_,): (Resource<Pollable>,)| Ok((true,)))
        }
        "[method]pollable.block" => {
            target.func_wrap(name, |_: Cx<'_>, (_,): (Resource<Pollable>,)| Ok(()))
        }
        "poll" => target.func_wrap(name, |_: Cx<'_>, (all,): (Vec<Resource<Pollable>>,)| {
            Ok(((0..u32::try_from(all.len())?).collect::<Vec<u32>>(),))
        }),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn clocks(target: &mut LinkerInstance<'_, StoreData>, interface: &str, name: &str) -> Result<bool> {
    match (interface, name) {
        ("wasi:clocks/wall-clock", "now") => {
            target.func_wrap(name, |_: Cx<'_>, ()| Ok((Datetime::of_nanos(0),)))
        }
        ("wasi:clocks/wall-clock", "resolution") => {
            target.func_wrap(name, |_: Cx<'_>, ()| Ok((Datetime::of_nanos(1_000),)))
        }
        (_, "now") => target.func_wrap(name, |mut cx: Cx<'_>, ()| Ok((cx.data_mut().wasi.tick(),))),
        (_, "resolution") => target.func_wrap(name, |_: Cx<'_>, ()| Ok((1_000_u64,))),
        (_, "subscribe-instant" | "subscribe-duration") => {
            target.func_wrap(name, |cx: Cx<'_>, (_,): (u64,)| Ok((handle::<Pollable>(cx, READY)?,)))
        }
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn random(target: &mut LinkerInstance<'_, StoreData>, name: &str) -> Result<bool> {
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            target.func_wrap(name, |mut cx: Cx<'_>, (len,): (u64,)| {
                cx.data().look()?;
                Ok((cx.data_mut().wasi.random_bytes(len)?,))
            })
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            target.func_wrap(name, |mut cx: Cx<'_>, ()| Ok((cx.data_mut().wasi.random(),)))
        }
        "insecure-seed" => target.func_wrap(name, |_: Cx<'_>, ()| Ok(((SEED, !SEED),))),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn handle<T: 'static>(mut cx: Cx<'_>, number: u32) -> Result<Resource<T>, Fault> {
    let handles = &mut cx.data_mut().wasi.handles;
    if *handles >= MAX_HANDLES {
        return Err(Fault::BadCall(format!("more than {MAX_HANDLES} handles at once")));
    }
    *handles += 1;
    Ok(Resource::new_own(number))
}

fn exited() -> Result<()> {
    Err(Fault::Trapped("it called `exit`".to_owned()).into())
}
