//! `edits`: what a plugin asks to have done.

use forwarder_record as record;
use forwarder_record::{Edits, Values};
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmList, WasmStr};

use super::{Cx, row_numbers};
use crate::fault::{Fault, shortened};
use crate::store_data::StoreData;

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by wasmtime, from the guest's number")]
enum Format {
    #[component(name = "text")]
    Text,
    #[component(name = "json")]
    Json,
}

impl From<Format> for record::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

type Rows = WasmList<u32>;

/// Longest reason for a rejected row in bytes; it goes into a dead letter and into the log.
const MAX_REASON: usize = 500;

pub(super) fn define(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    rows(edits)?;
    columns(edits)?;
    values(edits)?;
    inside_json(edits)?;
    powers(edits)
}

/// Edits that say what becomes of rows.
fn rows(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    edits.func_wrap("drop", |mut cx: Cx<'_>, (rows,): (Rows,)| {
        let rows = row_numbers(&cx, &rows);
        Ok(cx.data_mut().call_mut()?.drop_rows(rows)?)
    })?;
    edits.func_wrap("reject", |mut cx: Cx<'_>, (rows, reason): (Rows, String)| {
        let rows = row_numbers(&cx, &rows);
        Ok(cx.data_mut().call_mut()?.reject(rows, shortened(&reason, MAX_REASON))?)
    })
}

/// Edits of fields in every row, or without values.
fn columns(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    edits.func_wrap("keep", |mut cx: Cx<'_>, (keys,): (Vec<String>,)| {
        Ok(cx.data_mut().call_mut()?.edit_names(keys, Edits::keep)?)
    })?;
    edits.func_wrap("remove", |mut cx: Cx<'_>, (keys,): (Vec<String>,)| {
        Ok(cx.data_mut().call_mut()?.edit_names(keys, Edits::remove)?)
    })?;
    edits.func_wrap("remove-at", |mut cx: Cx<'_>, (key, rows): (String, Rows)| {
        let rows = row_numbers(&cx, &rows);
        Ok(cx.data_mut().call_mut()?.edit(rows, |edits, rows| edits.remove_at(key, rows))?)
    })?;
    edits.func_wrap("rename", |mut cx: Cx<'_>, (key, to): (String, String)| {
        Ok(cx.data_mut().call_mut()?.rename(key, to)?)
    })?;
    edits.func_wrap("nest", |mut cx: Cx<'_>, (key,): (String,)| {
        let call = cx.data_mut().call_mut()?;
        call.charge_json(&key, None)?;
        Ok(call.edit_all(|edits| edits.nest(key))?)
    })?;
    edits.func_wrap("nest-at", |mut cx: Cx<'_>, (key, rows): (String, Rows)| {
        let rows = row_numbers(&cx, &rows);
        let call = cx.data_mut().call_mut()?;
        call.charge_json(&key, Some(&rows))?;
        Ok(call.edit(rows, |edits, rows| edits.nest_at(key, rows))?)
    })
}

/// Edits that bring values.
fn values(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    edits.func_wrap(
        "set",
        |mut cx: Cx<'_>, (key, format, rows, values): (String, Format, Rows, Vec<WasmStr>)| {
            let (rows, values) = (row_numbers(&cx, &rows), texts(&cx, &values)?);
            let call = cx.data_mut().call_mut()?;
            let format = format.into();
            call.charge_values(&key, format, values.bytes());
            Ok(call.edit(rows, |edits, rows| edits.set(key, format, rows, values))?)
        },
    )?;
    edits.func_wrap("set-all", |mut cx: Cx<'_>, (key, format, value): (String, Format, String)| {
        let call = cx.data_mut().call_mut()?;
        let format = format.into();
        call.charge_values(&key, format, value.len());
        Ok(call.edit_all(|edits| edits.set_all(key, format, value))?)
    })
}

/// Edits of members of a field that holds JSON.
fn inside_json(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    type Set = (String, Vec<String>, Format, Rows, Vec<WasmStr>);
    edits.func_wrap("json-set", |mut cx: Cx<'_>, (key, path, format, rows, values): Set| {
        let (rows, values) = (row_numbers(&cx, &rows), texts(&cx, &values)?);
        let call = cx.data_mut().call_mut()?;
        call.charge_json(&key, Some(&rows))?;
        let format = format.into();
        call.charge_json_values(format, values.bytes());
        let set = |edits: &mut Edits, rows| edits.json_set(key, path, format, rows, values);
        Ok(call.edit(rows, set)?)
    })?;
    edits.func_wrap(
        "json-remove",
        |mut cx: Cx<'_>, (key, path, rows): (String, Vec<String>, Rows)| {
            let rows = row_numbers(&cx, &rows);
            let call = cx.data_mut().call_mut()?;
            call.charge_json(&key, Some(&rows))?;
            Ok(call.edit(rows, |edits, rows| edits.json_remove(key, path, rows))?)
        },
    )
}

/// Edits that the configuration must grant.
fn powers(edits: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    edits.func_wrap("route", |mut cx: Cx<'_>, (label, rows): (String, Rows)| {
        let rows = row_numbers(&cx, &rows);
        let state = cx.data_mut();
        state.grants.check(state.grants.labels, "edits.route", "labels")?;
        Ok(state.call_mut()?.route(label, rows)?)
    })?;
    type Emit = (u32, Option<String>, Vec<(String, String)>);
    edits.func_wrap("emit", |mut cx: Cx<'_>, (like, label, fields): Emit| {
        let state = cx.data_mut();
        state.grants.check(state.grants.emit, "edits.emit", "emit")?;
        if label.is_some() {
            state.grants.check(state.grants.labels, "edits.emit with a label", "labels")?;
        }
        Ok(state.call_mut()?.emit(like, label, fields)?)
    })
}

/// Values, copied out of guest memory into one buffer.
fn texts(cx: &Cx<'_>, texts: &[WasmStr]) -> Result<Values, Fault> {
    let mut values = Values::default();
    for text in texts {
        let text = text.to_str(cx);
        values.push(&text.map_err(|_| Fault::BadCall("a value is not valid UTF-8".to_owned()))?);
    }
    Ok(values)
}
