//! The graph of imports between the source files: no cycle, and no import from a layer above.

pub mod imports;

use std::collections::{BTreeMap, BTreeSet};

use imports::Graph;

/// The top-level modules, the lowest layer first. A module imports only from earlier rows.
const LAYERS: &[&[&str]] = &[
    &["sys", "text", "list"],
    &["error"],
    &["log", "fs"],
    &["host", "systemd", "seccomp", "hooks", "sd_notify", "resctrl"],
    &["terminal"],
    &["cgroup"],
    &["config", "protocol"],
    &["mount", "state"],
    &["init", "audit"],
    &["spawn"],
    &["checkpoint"],
    &["container"],
    &["cli"],
];

fn layer(module: &str) -> usize {
    let row = LAYERS.iter().position(|row| row.contains(&module));
    row.unwrap_or_else(|| panic!("{module} is in no layer"))
}

/// Returns the imports that do not go down.
fn upward(graph: &Graph) -> BTreeSet<String> {
    let mut upward = BTreeSet::new();
    for (from, to) in graph.edges() {
        let (a, b) = (Graph::top(from), Graph::top(to));
        if a != b && layer(a) <= layer(b) {
            upward.insert(format!("{from} imports from {to}"));
        }
    }
    upward
}

#[test]
fn no_module_imports_from_one_above_it() {
    let upward = upward(&Graph::read());
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn the_imports_have_no_cycle() {
    let graph = Graph::read();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in graph.edges() {
        imports.entry(from).or_default().insert(to);
    }
    let reaches = |from: &str| {
        let mut found = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for to in imports.get(file).into_iter().flatten().copied() {
                if found.insert(to) {
                    next.push(to);
                }
            }
        }
        found
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|from| (*from, reaches(from))).collect();
    let in_cycle = |a: &str, b: &str| {
        reached[a].contains(b) && reached.get(b).is_some_and(|from_b| from_b.contains(a))
    };
    let cycles: Vec<String> = graph
        .edges()
        .filter(|(from, to)| in_cycle(from, to))
        .map(|(from, to)| format!("{from} imports from {to}"))
        .collect();
    assert!(cycles.is_empty(), "these imports are part of a cycle: {cycles:#?}");
}

/// The modules of the shim, the lowest layer first. Calls and requests are methods of the shim: the
/// three import from each other.
const SHIM_LAYERS: &[&[&str]] = &[
    &["host", "log", "wire"],
    &["proto"],
    &["io", "server"],
    &["task"],
    &["command"],
    &["shim", "calls", "service"],
];

#[test]
fn no_module_of_the_shim_imports_from_one_above_it() {
    let part = |file: &str| -> String {
        let inside = file.strip_prefix("shim/").unwrap_or(file);
        Graph::top(inside).to_owned()
    };
    let layer = |name: &str| {
        let row = SHIM_LAYERS.iter().position(|row| row.contains(&name));
        row.unwrap_or_else(|| panic!("{name} is in no layer of the shim"))
    };
    let graph = Graph::of("shim/main.rs");
    let edges: Vec<(String, String)> =
        graph.edges().map(|(from, to)| (part(from), part(to))).collect();
    assert!(edges.contains(&("task".to_owned(), "proto".to_owned())), "{edges:?}");
    let top = SHIM_LAYERS.len() - 1;
    let upward: BTreeSet<&(String, String)> = edges
        .iter()
        .filter(|(from, to)| from != to && layer(from) <= layer(to) && layer(from) != top)
        .collect();
    assert!(upward.is_empty(), "{upward:?}");
}

/// The shim is a user of the library's public interface, without the hidden parts.
#[test]
fn the_shim_uses_only_the_public_library() {
    let hidden = ["bulkhead::cli", "bulkhead::fuzzing", "bulkhead::remember_arguments"];
    for (file, text) in imports::sources() {
        let uses = |part: &&&str| file.starts_with("shim/") && text.contains(**part);
        assert_eq!(hidden.iter().find(uses), None, "{file}");
    }
}

#[test]
fn files_stay_short() {
    let long: Vec<(String, usize)> = imports::sources()
        .into_iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > 400)
        .collect();
    assert!(long.is_empty(), "longer than 400 lines: {long:?}");
}

#[test]
fn imports_are_seen() {
    let graph = Graph::read();
    for expected in [("cli/mod.rs", "error.rs"), ("error.rs", "text.rs")] {
        assert!(graph.edges().any(|edge| edge == expected), "{expected:?} is missing");
    }
    let cycle = imports::parse(&[
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::{self, Thing as Other};\n// use crate::c;\n"),
        ("b.rs", "fn f() { let _ = \"crate::c\"; super::a::g(); }\n"),
    ]);
    let found: Vec<_> = cycle.edges().collect();
    assert_eq!(found, [("a.rs", "b.rs"), ("b.rs", "a.rs")]);
    let through = imports::parse(&[
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "mod deep;\npub use deep::Thing;\n#[cfg(test)]\nmod tests;\n"),
        ("a/deep.rs", "pub struct Thing;\n#[cfg(test)]\nmod tests { use crate::b; }\n"),
        ("a/tests.rs", "use crate::b;\n"),
        ("b.rs", "use crate::a::Thing;\n"),
    ]);
    let found: Vec<_> = through.edges().collect();
    assert_eq!(found, [("b.rs", "a/deep.rs")]);
    let forms = imports::parse(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
        ("a/mod.rs", "mod x;\npub use x::*;\nuse crate::{b::{self, c::{Deep}}, d};\n"),
        ("a/x.rs", "use crate::d::*;\nfn f() { super::super::c::g() }\n"),
        ("b/mod.rs", "pub mod c;\n"),
        ("b/c.rs", "pub struct Deep;\n"),
        ("c.rs", "pub(crate) use crate::b::c::Deep;\n"),
        ("d.rs", ""),
    ]);
    let found: Vec<_> = forms.edges().collect();
    let expected = [
        ("a/mod.rs", "b/c.rs"),
        ("a/mod.rs", "b/mod.rs"),
        ("a/mod.rs", "d.rs"),
        ("a/x.rs", "c.rs"),
        ("a/x.rs", "d.rs"),
        ("c.rs", "b/c.rs"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_upward_import_is_found() {
    let graph = imports::parse(&[
        ("lib.rs", "mod cli;\nmod sys;\n"),
        ("cli.rs", "use crate::sys::Call;\n"),
        ("sys.rs", "pub use crate::cli::Cli;\npub struct Call;\n"),
    ]);
    assert_eq!(upward(&graph), BTreeSet::from(["sys.rs imports from cli.rs".to_owned()]));
}
