//! The rooms of the house and the arrows between them (see `src/lib.rs`): who may import whom, who
//! may be async, who may be unsafe. Rooms that are not built yet have no files and break no rule.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says where"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each room may import of the crate beside itself. A room that is not here may import
/// nothing, so that a new one must be put in its place.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("identity", &[]),
    ("proto", &[]),
    ("codec", &["model"]),
    ("ipvsadm", &["model"]),
    ("kernel", &["codec", "model"]),
    ("executor", &["kernel", "codec", "model"]),
    (
        "app",
        &["executor", "codec", "identity", "ipvsadm", "model"],
    ),
    ("http", &["app", "identity", "ipvsadm", "model"]),
    ("grpc", &["app", "identity", "ipvsadm", "model", "proto"]),
    (
        "server",
        &[
            "grpc", "http", "app", "executor", "identity", "model", "proto",
        ],
    ),
    ("client", &["ipvsadm", "model"]),
    ("cli", &["client", "ipvsadm", "model"]),
];

/// The files of the executor that the async world holds; all others of it are below them.
const HANDLE: [&str; 2] = ["executor/mod.rs", "executor/connections.rs"];

/// A source file without its tests, comments and texts.
struct Source {
    /// Below `src`.
    path: String,
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The words of the code: names, and single signs.
    fn words(&self) -> Vec<&str> {
        let mut words = Vec::new();
        let mut rest = self.code.as_str();
        while let Some(first) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let end = match is_name(first) {
                true => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (word, after) = rest.split_at(end);
            if !first.is_whitespace() {
                words.push(word);
            }
            rest = after;
        }
        words
    }

    /// Whether these words follow one another somewhere.
    fn says(&self, wanted: &[&str]) -> bool {
        self.words()
            .windows(wanted.len())
            .any(|words| words == wanted)
    }

    /// The modules of the crate that it names, by `crate::NAME` or `crate::{NAME, …}`.
    fn imports(&self) -> BTreeSet<String> {
        let words = self.words();
        let mut imports = BTreeSet::new();
        for (at, word) in words.iter().enumerate() {
            if *word != "crate" || words.get(at + 1..at + 3) != Some(&[":", ":"]) {
                continue;
            }
            match words.get(at + 3) {
                Some(&"{") => {
                    let (mut depth, mut begins) = (0, true);
                    for word in &words[at + 3..] {
                        match *word {
                            "{" => depth += 1,
                            "}" => depth -= 1,
                            "," => begins = depth == 1,
                            name if begins => {
                                imports.insert(name.to_owned());
                                begins = false;
                            }
                            _ => {}
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
                Some(name) => drop(imports.insert((*name).to_owned())),
                None => {}
            }
        }
        imports
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let path = file
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let code = without_tests(&bare(&fs::read_to_string(&file).unwrap()));
            Source { path, code }
        })
        .collect()
}

/// All Rust files but those of tests, which may use what they like.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without comments, and with empty texts and characters.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&close)
                .map_or(rest.len(), |end| start + end + close.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            bare.push(first);
            first.len_utf8()
        };
        rest = &rest[skip..];
    }
    bare
}

/// How many hashes a raw text has that begins here.
fn raw(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Whether a quote begins a character, not a lifetime.
fn is_character(text: &str) -> bool {
    let mut signs = text.chars().skip(1);
    let (first, second) = (signs.next(), signs.next());
    first == Some('\\') || second == Some('\'')
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            sign if sign == quote => return at + sign.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Without `#[cfg(test)] mod … { … }`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), Some(end)) if end < open => end + 1,
            (Some(open), _) => {
                let mut depth = 0;
                let close = rest[open..].char_indices().find(|(_, sign)| {
                    depth += i32::from(*sign == '{') - i32::from(*sign == '}');
                    depth == 0
                });
                close.map_or(rest.len(), |(close, _)| open + close + 1)
            }
            (None, end) => end.map_or(rest.len(), |end| end + 1),
        };
        rest = &rest[end..];
    }
    kept + rest
}

fn violations(of: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = sources();
    assert!(sources.len() > 30, "the sources were found");
    sources
        .iter()
        .flat_map(|source| {
            let path = &source.path;
            of(source)
                .into_iter()
                .map(move |what| format!("src/{path} {what}"))
        })
        .collect()
}

#[test]
fn every_room_imports_only_what_its_arrows_point_to() {
    let wrong = violations(|source| {
        let room = source.room();
        if matches!(room, "lib" | "bin") {
            return Vec::new();
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            return vec![format!("is in a room without arrows: {room}")];
        };
        let other = |import: &String| import != room && !allowed.contains(&import.as_str());
        let imports = source.imports().into_iter().filter(other);
        imports.map(|import| format!("imports {import}")).collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_rooms_that_are_built_are_seen_to_import_each_other() {
    // Where the reading of sources is broken, the test above proves nothing.
    for (room, import) in [
        ("codec", "model"),
        ("executor", "codec"),
        ("app", "executor"),
        ("app", "model"),
    ] {
        let sees = |source: &Source| source.room() == room && source.imports().contains(import);
        assert!(sources().iter().any(sees), "{room} imports {import}");
    }
    let all = sources();
    assert!(all.iter().any(|source| source.says(&["async", "fn"])));
    assert!(all.iter().any(|source| source.says(&["neli", ":", ":"])));
}

#[test]
fn nothing_is_async_below_the_executors_handle() {
    let wrong = violations(|source| {
        let below = match source.room() {
            "model" | "codec" | "kernel" => true,
            "executor" => !HANDLE.contains(&source.path.as_str()),
            _ => false,
        };
        if !below {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        if source.words().contains(&"async") || source.words().contains(&"await") {
            wrong.push("is async".to_owned());
        }
        // The blocking ends of channels are all that it may have of tokio.
        let words = source.words();
        for (at, _) in words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word == "tokio")
        {
            if words.get(at + 1..at + 4) != Some(&[":", ":", "sync"]) || source.room() != "executor"
            {
                wrong.push("uses tokio beyond the ends of channels".to_owned());
            }
        }
        wrong
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn netlink_is_known_to_codec_and_executor_only() {
    let wrong = violations(|source| {
        let may = matches!(source.room(), "codec" | "kernel");
        let says = source.words().contains(&"neli");
        (says && !may)
            .then(|| "uses neli".to_owned())
            .into_iter()
            .collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn nothing_is_unsafe_but_the_transport_and_what_the_allocator_is_told() {
    let wrong = violations(|source| {
        let may = matches!(
            source.path.as_str(),
            "kernel/netlink.rs" | "server/memory.rs"
        );
        let says = source.words().contains(&"unsafe");
        (says && !may)
            .then(|| "is unsafe".to_owned())
            .into_iter()
            .collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn nothing_prints_with_a_macro_that_dies_of_a_closed_pipe() {
    let wrong = violations(|source| {
        ["print", "println", "eprint", "eprintln", "dbg"]
            .into_iter()
            .filter(|name| source.says(&[name, "!"]))
            .map(|name| format!("uses {name}!"))
            .collect()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn imports_are_found_however_they_are_written() {
    let source = |code: &str| Source {
        path: "codec/x.rs".to_owned(),
        code: without_tests(&bare(code)),
    };
    let imports = |code| source(code).imports().into_iter().collect::<Vec<_>>();
    assert_eq!(imports("use crate::model::{Op, Query};"), ["model"]);
    assert_eq!(
        imports("use crate::{\n    codec::{self, wire::Head},\n    model::Op,\n};\nuse std::fmt;"),
        ["codec", "model"]
    );
    assert_eq!(imports("fn f(x: crate::app::Guard) {}"), ["app"]);
    assert_eq!(
        imports("// use crate::a\n/* crate::b */ let s = \"crate::c\";"),
        [""; 0]
    );
    assert_eq!(
        imports("let s = r#\"crate::c \" \"#; let q = '\"'; crate::d::e();"),
        ["d"]
    );
    assert_eq!(
        imports("#[cfg(test)]\nmod tests { use crate::a; }\nuse crate::b;"),
        ["b"]
    );
    assert_eq!(
        imports("#[cfg(test)]\nmod tests;\nfn f<'a>(x: &'a crate::b::T) {}"),
        ["b"]
    );
    assert!(
        !source("let unsafely = \"unsafe\";")
            .words()
            .contains(&"unsafe")
    );
}
