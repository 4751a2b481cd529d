//! `batch`: what a plugin reads.

use std::borrow::Cow;

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use super::{Cx, row_numbers};
use crate::store_data::StoreData;

pub(super) fn define(batch: &mut LinkerInstance<'_, StoreData>) -> Result<()> {
    batch.func_wrap("column", |cx: Cx<'_>, (key,): (WasmStr,)| {
        let key = key.to_str(&cx)?;
        Ok((cx.data().call()?.column(&key),))
    })?;
    batch.func_wrap("column-at", |cx: Cx<'_>, (key, rows): (WasmStr, WasmList<u32>)| {
        let (key, rows) = (key.to_str(&cx)?, row_numbers(&cx, &rows));
        Ok((cx.data().call()?.column_at(&key, &rows)?,))
    })?;
    batch.func_wrap("json", |mut cx: Cx<'_>, (key, path): (WasmStr, Vec<WasmStr>)| {
        let column = cx.data().call()?.column(&key.to_str(&cx)?);
        let path = texts(&cx, &path)?;
        Ok((cx.data_mut().call_mut()?.json(column, &path),))
    })?;
    batch.func_wrap(
        "json-at",
        |mut cx: Cx<'_>, (key, path, rows): (WasmStr, Vec<WasmStr>, WasmList<u32>)| {
            let rows = row_numbers(&cx, &rows);
            let column = cx.data().call()?.column_at(&key.to_str(&cx)?, &rows)?;
            let path = texts(&cx, &path)?;
            Ok((cx.data_mut().call_mut()?.json(column, &path),))
        },
    )?;
    batch.func_wrap("cell", |cx: Cx<'_>, (row, key): (u32, WasmStr)| {
        Ok((cx.data().call()?.cell(row, &key.to_str(&cx)?)?,))
    })?;
    batch.func_wrap("row", |cx: Cx<'_>, (row,): (u32,)| Ok((cx.data().call()?.row(row)?,)))?;
    batch.func_wrap("keys", |cx: Cx<'_>, ()| Ok((cx.data().call()?.keys(),)))?;
    batch.func_wrap("topics", |cx: Cx<'_>, ()| Ok((cx.data().call()?.topics(),)))?;
    batch.func_wrap("times", |cx: Cx<'_>, ()| Ok((cx.data().call()?.times(),)))
}

/// A path, owned: reading the guest's memory and changing the call at once is not possible.
fn texts(cx: &Cx<'_>, texts: &[WasmStr]) -> Result<Vec<Cow<'static, str>>> {
    texts.iter().map(|text| Ok(Cow::Owned(text.to_str(cx)?.into_owned()))).collect()
}
