//! No circle of files inside a crate: files can be read from the bottom up.
//!
//! A file imports another if a path that begins with `crate`, `super` or `self` leads into it. What only tests import
//! does not count. The text is read, not the compiler's mind: a path that a macro makes is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// The module that a file is, by its path in the crate: `deliver::request`. Empty for the root.
type Module = Vec<String>;

/// Reads the sources of every crate of the host and refuses files that import each other, directly or round about.
pub(crate) fn check() -> Result<()> {
    println!("==> which file may import which");
    let mut sources = vec![Path::new("host/src").to_path_buf()];
    for entry in fs::read_dir("host/crates").context("cannot list the crates")? {
        sources.push(entry?.path().join("src"));
    }
    let (mut circles, mut count) = (Vec::new(), 0);
    for source in sources {
        let mut files = BTreeMap::new();
        read(&source, &mut Vec::new(), &mut files)?;
        count += files.len();
        for circle in find(&imports(&files)) {
            circles.push(format!("{}: {}", source.display(), circle.join(" -> ")));
        }
    }
    if !circles.is_empty() {
        bail!("files that import each other in a circle:\n  {}", circles.join("\n  "));
    }
    println!("    {count} files, no circle");
    Ok(())
}

fn read(folder: &Path, at: &mut Module, files: &mut BTreeMap<Module, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        at.push(name.clone());
        if path.is_dir() {
            read(&path, at, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let is_root = at.len() == 1 && matches!(name.as_str(), "lib" | "main");
            let module = if is_root { Vec::new() } else { at.clone() };
            files.insert(module, fs::read_to_string(&path)?);
        }
        at.pop();
    }
    Ok(())
}

/// Which file imports which. The root, which imports all, is left out.
fn imports(files: &BTreeMap<Module, String>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let mut imports = BTreeMap::new();
    for (module, text) in files.iter().filter(|(module, _)| !module.is_empty()) {
        let mut found = BTreeSet::new();
        for path in paths(module, text) {
            let modules = (1..=path.len()).rev().filter_map(|n| path.get(..n));
            let into = modules.filter_map(|path| files.get_key_value(path)).next();
            found.extend(into.map(|(into, _)| into).filter(|into| *into != module));
        }
        imports.insert(module, found);
    }
    imports
}

/// The paths in the text of a file that begin in its crate, from the root on.
fn paths(module: &Module, text: &str) -> Vec<Module> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for keyword in ["crate::", "super::", "self::"] {
        for (start, _) in code.match_indices(keyword) {
            let before = code.get(..start).and_then(|before| before.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut base = match keyword {
                "crate::" => Vec::new(),
                "super::" => {
                    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
                }
                _ => module.clone(),
            };
            tree(code.get(start + keyword.len()..).unwrap_or_default(), &mut base, &mut found);
        }
    }
    found
}

/// Reads what follows a path: names, and braces with more of them. Returns what is left.
fn tree<'t>(mut text: &'t str, base: &mut Module, found: &mut Vec<Module>) -> &'t str {
    let depth = base.len();
    loop {
        text = text.trim_start();
        if let Some(inside) = text.strip_prefix('{') {
            text = inside;
            while !text.trim_start().starts_with('}') && !text.is_empty() {
                text = tree(text, base, found).trim_start();
                text = text.strip_prefix(',').unwrap_or(text);
                if text.starts_with(|c: char| !c.is_alphanumeric() && !"_{} \n".contains(c)) {
                    break; // not an import
                }
            }
            text = text.trim_start();
            text = text.strip_prefix('}').unwrap_or(text);
            break;
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        match name {
            "" => break,
            "super" => drop(base.pop()),
            "self" => {}
            name => base.push(name.to_owned()),
        }
        text = rest;
        let Some(next) = text.strip_prefix("::") else {
            found.push(base.clone());
            break;
        };
        text = next;
    }
    base.truncate(depth);
    text
}

/// One circle for each set of files that import each other.
fn find(imports: &BTreeMap<&Module, BTreeSet<&Module>>) -> Vec<Vec<String>> {
    // Files that import nothing that is left are at the bottom; what never gets there is in a circle, or above one.
    let mut left: BTreeSet<&Module> = imports.keys().copied().collect();
    let strip = |left: &mut BTreeSet<&Module>,
                 is_end: &dyn Fn(&Module, &BTreeSet<&Module>) -> bool| {
        while let Some(end) = left.iter().copied().find(|module| is_end(module, left)) {
            left.remove(end);
        }
    };
    strip(&mut left, &|module, left| imports.get(module).is_none_or(|into| into.is_disjoint(left)));
    // The same from the top.
    strip(&mut left, &|module, left| {
        !left.iter().any(|from| imports.get(from).is_some_and(|into| into.contains(module)))
    });
    let mut circles = Vec::new();
    while let Some(start) = left.first().copied() {
        let mut circle = vec![start];
        let mut at = start;
        while let Some(next) =
            imports.get(at).and_then(|into| into.iter().find(|m| left.contains(*m)))
        {
            if let Some(begin) = circle.iter().position(|module| module == next) {
                circle.drain(..begin);
                break;
            }
            circle.push(next);
            at = next;
        }
        for module in &circle {
            left.remove(module);
        }
        circles.push(circle.into_iter().map(|module| module.join("::")).collect());
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
        let files = files.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect();
        find(&imports(&files))
    }

    #[test]
    fn files_that_import_each_other_are_found_and_what_is_above_and_below_them_is_not() {
        let files = [
            ("top", "use crate::plan::Plan;"),
            ("plan", "use crate::{deliver::{self, chunk::Chunk}, bottom};"),
            ("deliver", "mod chunk;\npub use self::chunk::Chunk;"),
            ("deliver::chunk", "fn f() -> super::super::plan::Plan { crate::bottom::make() }"),
            ("bottom", "// crate::top is not imported here\n"),
        ];
        assert_eq!(circles(&files), [["deliver", "deliver::chunk", "plan"]]);
    }

    #[test]
    fn a_test_may_import_what_it_likes() {
        let files =
            [("a", "use crate::b::B;"), ("b", "#[cfg(test)]\nmod tests { use crate::a::A; }")];
        assert_eq!(circles(&files), Vec::<Vec<String>>::new());
    }
}
