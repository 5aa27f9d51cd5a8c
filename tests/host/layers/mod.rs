//! The rules of `ARCHITECTURE.md` that sources can be checked for: which module imports which, what
//! is async, what is unsafe, and the style of imports.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use self::source::{Source, references, sources};

/// What each module may import of the crate beside itself. Every module has an entry.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("identity", &["model"]),
    ("audit", &["identity", "journal", "model"]),
    ("budget", &["model"]),
    ("clock", &[]),
    ("journal", &[]),
    ("manual", &["version"]),
    ("proto", &[]),
    ("trace", &[]),
    ("version", &[]),
    ("codec", &["model"]),
    ("store", &["model", "trace"]),
    ("metrics", &["model", "version"]),
    ("ipvsadm", &["model"]),
    ("kernel", &["codec", "model"]),
    ("watch", &["budget", "identity", "model"]),
    ("sampling", &["budget", "model"]),
    ("health", &["model"]),
    ("probe", &["health", "model"]),
    (
        "executor",
        &[
            "kernel", "codec", "metrics", "watch", "budget", "clock", "model", "trace",
        ],
    ),
    (
        "app",
        &[
            "executor", "health", "probe", "metrics", "sampling", "watch", "audit", "budget",
            "clock", "identity", "ipvsadm", "model", "store", "trace", "version",
        ],
    ),
    (
        "http",
        &[
            "app", "metrics", "sampling", "watch", "audit", "budget", "identity", "ipvsadm",
            "model", "trace",
        ],
    ),
    (
        "grpc",
        &[
            "app", "metrics", "sampling", "watch", "audit", "budget", "identity", "ipvsadm",
            "model", "proto",
        ],
    ),
    (
        "server",
        &[
            "grpc", "http", "app", "audit", "executor", "metrics", "sampling", "watch", "budget",
            "clock", "identity", "journal", "manual", "model", "proto", "store", "trace",
            "version",
        ],
    ),
    ("client", &["ipvsadm", "model"]),
    ("cli", &["client", "ipvsadm", "manual", "model", "version"]),
];

/// External crates that only some modules may use.
const CRATES: &[(&str, &[&str])] = &[
    ("neli", &["codec", "kernel"]),
    ("axum", &["grpc", "http", "server"]),
    ("tonic", &["grpc", "probe", "proto", "server"]),
    ("domain", &["probe"]),
    ("prost", &["grpc", "proto", "store"]),
    ("hyper", &["probe", "server"]),
    ("clap", &["cli", "manual", "server", "bin"]),
    ("jsonwebtoken", &["identity"]),
    ("governor", &["server"]),
    ("listenfd", &["server"]),
    ("sd_notify", &["server"]),
    ("redb", &["store"]),
    ("prometheus_client", &["metrics"]),
    ("procfs", &["metrics"]),
    ("opentelemetry", &["server", "trace"]),
    ("opentelemetry_sdk", &["server", "trace"]),
    ("opentelemetry_http", &["server"]),
    ("opentelemetry_otlp", &["server"]),
    ("ratatui", &["cli"]),
    ("roff", &["manual"]),
];

/// Files of the executor that async code calls, and the one that knows the runtime of such code. The
/// others are the same on the executor's threads and in a task.
const HANDLE: &[&str] = &[
    "executor/handle.rs",
    "executor/connections.rs",
    "executor/offload.rs",
    "executor/table_reads.rs",
];

/// Files with `unsafe`: a function before main, a borrowed descriptor, a socket option, and glibc's settings of its
/// allocator and its name service.
const UNSAFE: &[&str] = &[
    "bin/ipvsctl.rs",
    "kernel/netlink.rs",
    "server/memory.rs",
    "server/name_service.rs",
    "server/peer_groups.rs",
];

/// References between files that close a cycle, with the reason. ARCHITECTURE.md has the same.
const BACK: &[(&str, &str, &str)] = &[(
    "kernel/fake/fault.rs",
    "kernel/fake/kernel.rs",
    "a hook, part of the simulator's state, is called with the simulator",
)];

/// Functions longer than a screen, because they are tables.
const LONG: &[(&str, &str)] = &[
    ("http/errors.rs", "explanation"),
    ("http/schema/resources.rs", "configuration"),
    ("http/schema/resources.rs", "server"),
];

/// Lines of a file of `src`, tests included.
const LINES: usize = 500;

fn violations(of: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = sources();
    assert!(sources.len() > 30, "the sources were found");
    let violations = sources.iter().flat_map(|source| {
        let found = of(source).into_iter();
        found.map(|what| format!("src/{} {what}", source.file))
    });
    violations.collect()
}

fn violation_if(wrong: bool, what: &str) -> Vec<String> {
    wrong.then(|| what.to_owned()).into_iter().collect()
}

#[test]
fn each_module_imports_only_modules_below_it() {
    let wrong = violations(|source| {
        let layer = source.layer();
        if matches!(layer, "lib" | "bin") {
            return Vec::new();
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == layer) else {
            return vec![format!("is in a module without arrows: {layer}")];
        };
        let imports = source.layers_named().into_iter();
        let others = imports.filter(|import| *import != layer && !allowed.contains(import));
        others.map(|import| format!("imports {import}")).collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_arrows_have_no_cycle_and_are_all_used() {
    let arrows: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(module, imports)| (*module, imports.iter().copied().collect()))
        .collect();
    assert_eq!(cycles(&arrows), [[""; 0]; 0]);
    let sources = sources();
    for (module, import) in [("codec", "model"), ("executor", "codec"), ("app", "model")] {
        let uses =
            |source: &Source| source.layer() == module && source.layers_named().contains(import);
        assert!(sources.iter().any(uses), "{module} imports {import}");
    }
}

#[test]
fn no_files_import_each_other() {
    let mut references = references(sources());
    for (from, to, reason) in BACK {
        let reaches = reachable(&references, to).contains(from);
        let is_reference = references.get_mut(from).is_some_and(|all| all.remove(to));
        assert!(
            is_reference && reaches,
            "no cycle: {from} -> {to} ({reason})"
        );
    }
    let describe = |cycle: Vec<&str>| {
        let arrows = cycle.iter().map(|file| {
            let to = references[file].iter().filter(|to| cycle.contains(to));
            format!(
                "\n  {file} -> {}",
                to.copied().collect::<Vec<_>>().join(", ")
            )
        });
        arrows.collect::<String>()
    };
    let found: Vec<_> = cycles(&references).into_iter().map(describe).collect();
    assert!(found.is_empty(), "cycles of files:{}", found.join("\n"));
}

/// What can be reached from a node.
fn reachable<'n>(edges: &BTreeMap<&'n str, BTreeSet<&'n str>>, from: &str) -> BTreeSet<&'n str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<_> = edges.get(from).into_iter().flatten().collect();
    while let Some(node) = next.pop() {
        if reached.insert(*node) {
            next.extend(edges.get(node).into_iter().flatten());
        }
    }
    reached
}

/// Groups of nodes that reach each other.
fn cycles<'n>(edges: &BTreeMap<&'n str, BTreeSet<&'n str>>) -> Vec<Vec<&'n str>> {
    let reached: BTreeMap<_, _> = edges
        .keys()
        .map(|node| (*node, reachable(edges, node)))
        .collect();
    let mut cycles = BTreeSet::new();
    for (node, others) in &reached {
        if others.contains(node) {
            let back = |other: &&&str| reached.get(**other).is_some_and(|set| set.contains(node));
            cycles.insert(others.iter().filter(back).copied().collect::<Vec<_>>());
        }
    }
    cycles.into_iter().collect()
}

#[test]
fn nothing_is_async_below_the_executors_handle() {
    let wrong = violations(|source| {
        let is_below = match source.layer() {
            "model" | "codec" | "ipvsadm" | "kernel" | "client" | "cli" => true,
            "executor" => !HANDLE.contains(&source.file.as_str()),
            _ => false,
        };
        if !is_below {
            return Vec::new();
        }
        let mut wrong = violation_if(source.is_async, "is async");
        // Channels have a blocking end, which the executor's threads hold.
        let may_use = |path: &[String]| {
            source.layer() == "executor" && path.get(1).map(String::as_str) == Some("sync")
        };
        let tokio = source.paths.iter().filter(|path| path[0] == "tokio");
        let wrong_paths = tokio.filter(|path| !may_use(path));
        wrong.extend(wrong_paths.map(|path| format!("uses {}", path.join("::"))));
        wrong
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn only_the_write_path_can_reach_the_executors_writes() {
    let is_writer = |path: &&Vec<String>| {
        let names = ["executor", "Writer"];
        let mut found = path
            .iter()
            .filter(|segment| names.contains(&segment.as_str()));
        found.next().is_some_and(|name| name == "executor") && found.next().is_some()
    };
    let users = sources().iter().filter(|source| {
        source.layer() != "executor" && source.paths.iter().any(|path| is_writer(&path))
    });
    let files: Vec<_> = users.map(|source| source.file.as_str()).collect();
    assert_eq!(files, ["app/write.rs"]);
    // `app/mod.rs` hands the executor's handle over to it. The client side has no executor.
    let users = sources().iter().filter(|source| {
        !matches!(source.layer(), "executor" | "client" | "cli") && source.fields.contains("writer")
    });
    let files: Vec<_> = users.map(|source| source.file.as_str()).collect();
    assert_eq!(files, ["app/mod.rs", "app/write.rs"]);
}

#[test]
fn external_crates_stay_in_their_modules() {
    let wrong = violations(|source| {
        let misused = CRATES.iter().filter(|(name, modules)| {
            source.names_crate(name) && !modules.contains(&source.layer())
        });
        misused.map(|(name, _)| format!("uses {name}")).collect()
    });
    assert_eq!(wrong, [""; 0]);
    let sources = sources();
    for (name, _) in CRATES {
        let is_used = sources.iter().any(|source| source.names_crate(name));
        assert!(is_used, "nothing uses {name}");
    }
}

#[test]
fn only_the_listed_files_are_unsafe() {
    let wrong = violations(|source| {
        let may = UNSAFE.contains(&source.file.as_str());
        violation_if(
            source.is_unsafe != may,
            "and the list of unsafe files disagree",
        )
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn nothing_prints_with_a_macro_that_panics_on_a_closed_pipe() {
    let wrong = violations(|source| {
        ["print", "println", "eprint", "eprintln", "dbg"]
            .into_iter()
            .filter(|name| source.macros.contains(*name))
            .map(|name| format!("uses {name}!"))
            .collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn files_are_short() {
    let wrong = violations(|source| {
        let is_long = source.lines > LINES;
        violation_if(is_long, &format!("has {} lines", source.lines))
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn functions_fit_on_a_screen() {
    let wrong = violations(|source| {
        let is_table = |name: &str| LONG.contains(&(source.file.as_str(), name));
        let functions = source.functions.iter().filter(|(name, _)| !is_table(name));
        functions
            .map(|(name, lines)| format!("{name}() has {lines} lines"))
            .collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn imports_have_one_style() {
    let wrong = violations(import_style);
    assert_eq!(wrong, [""; 0]);
}

/// One `use` for each crate, in the groups std, other crates, this crate, with a blank line between.
fn import_style(source: &Source) -> Vec<String> {
    let group = |root: &str| match root {
        "std" | "core" | "alloc" => 0,
        "self" | "super" | "crate" => 2,
        _ => 1,
    };
    let mut wrong = Vec::new();
    let mut roots = BTreeSet::new();
    for import in &source.imports {
        if !roots.insert(&import.root) {
            wrong.push(format!("imports {} twice", import.root));
        }
    }
    for pair in source.imports.windows(2) {
        let [before, after] = pair else { continue };
        let (from, to) = (group(&before.root), group(&after.root));
        let blank_lines = after.first_line - before.last_line - 1;
        if from > to {
            wrong.push(format!("imports {} after {}", after.root, before.root));
        } else if (blank_lines == 0) != (from == to) {
            wrong.push(format!(
                "separates {} from {} by {blank_lines} lines",
                before.root, after.root
            ));
        }
    }
    wrong
}

#[test]
fn paths_are_found_however_they_are_written() {
    let paths = |code: &str| {
        let source = Source::parse("codec/x.rs", code);
        let paths = source.paths.iter().map(|path| path.join("::"));
        paths.collect::<Vec<_>>()
    };
    assert_eq!(
        paths("use crate::model::{Op, Query as Q};"),
        ["crate::model::Op", "crate::model::Query"]
    );
    assert_eq!(
        paths("use super::{wire::{self, Head}, *};"),
        [
            "crate::codec",
            "crate::codec::wire",
            "crate::codec::wire::Head"
        ]
    );
    assert_eq!(
        paths("fn f(x: crate::app::Guard) {}"),
        ["crate::app::Guard"]
    );
    assert_eq!(
        paths("// use crate::a\n/* crate::b */ fn f() { let s = \"crate::c\"; }"),
        [""; 0]
    );
    assert_eq!(
        paths("fn f() { vec![a, super::d::e()]; }"),
        ["crate::codec::d::e"]
    );
    assert_eq!(
        paths("#[cfg(test)] mod tests { use crate::a; } mod b { use super::c; }"),
        ["crate::codec::x::c"]
    );
    assert_eq!(paths("mod y; fn f() { y::z() }"), ["crate::codec::x::y::z"]);
    let source = Source::parse(
        "codec/x.rs",
        "fn f() { let unsafely = \"unsafe\"; g! { x.await; println!() } }",
    );
    assert!(source.is_async && !source.is_unsafe);
    assert!(source.macros.contains("println"));
}

#[test]
fn cycles_are_found_through_re_exports() {
    let files = [
        (
            "m/mod.rs",
            "mod a; mod b; pub use a::A; use b::B; pub struct M;",
        ),
        ("m/a.rs", "use super::{B, M}; pub struct A;"),
        ("m/b.rs", "pub struct B;"),
    ];
    let parse = |(file, text): (&str, &str)| Source::parse(file, text);
    let sources: Vec<_> = files.into_iter().map(parse).collect();
    let found = references(&sources);
    assert_eq!(found["m/a.rs"], BTreeSet::from(["m/b.rs", "m/mod.rs"]));
    assert_eq!(found["m/mod.rs"], BTreeSet::from(["m/b.rs"]));
    assert_eq!(cycles(&found), [[""; 0]; 0]);
    let mut sources = sources;
    sources[2] = Source::parse("m/b.rs", "use crate::m::A; pub struct B(A);");
    assert_eq!(
        cycles(&references(&sources)),
        [["m/a.rs", "m/b.rs", "m/mod.rs"]]
    );
}
