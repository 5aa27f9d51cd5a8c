//! What the programs and the packages say of their version.

#[path = "../../build/version.rs"]
#[allow(dead_code, reason = "the build script uses all of it")]
mod origin;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ipvsd::version;

use self::origin::{Origin, watched};

const PACKAGE: &str = env!("CARGO_PKG_VERSION");

/// 2026-11-30T04:00:00Z.
const TIME: &str = "1796011200";

/// A repository with one commit, of `TIME`, in a directory of its own.
struct Repository(PathBuf);

impl Repository {
    fn new(name: &str) -> Self {
        let name = format!("ipvsd-version-{name}-{}", std::process::id());
        let repository = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(repository.0.join("src")).unwrap();
        fs::create_dir_all(repository.0.join("lab")).unwrap();
        repository.write("src/lib.rs", "");
        repository.write("Cargo.toml", &format!("version = \"{PACKAGE}\"\n"));
        for name in ["version", "lib.sh", "toolchain"] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(name);
            fs::copy(source, repository.0.join("lab").join(name)).unwrap();
        }
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository.git(&["add", "--all"]);
        repository.commit();
        repository
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn commit(&self) {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(["-c", "user.name=x", "-c", "user.email=x@example"])
            .args(arguments)
            .env("GIT_COMMITTER_DATE", format!("{TIME} +0200"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    fn origin(&self) -> Origin {
        Origin::of_work_tree(&self.0)
    }

    /// What `lab/version` prints.
    fn version(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = Command::new(self.0.join("lab/version"))
            .args(arguments)
            .env_remove("SOURCE_COMMIT")
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        text(output)
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn origin(commit: Option<&str>, seconds: Option<&str>) -> Origin {
    Origin {
        commit: commit.map(str::to_owned),
        seconds: seconds.map(str::to_owned),
    }
}

/// The value of a variable that the sources are compiled with.
fn variable(origin: &Origin, name: &str) -> String {
    let variables = origin.variables().unwrap();
    let mut values = variables.into_iter().filter(|(found, _)| *found == name);
    values.next().unwrap().1
}

/// What `--version` of a build prints.
fn long(origin: &Origin) -> String {
    let [commit, date] = ["BUILD_COMMIT", "BUILD_DATE"].map(|name| variable(origin, name));
    version::long("1.2.3", Some(&commit), Some(&date))
}

#[test]
fn a_build_has_the_commit_of_its_work_tree_and_its_time() {
    let repository = Repository::new("clean");
    let head = repository.head();
    let origin = repository.origin();
    assert_eq!(variable(&origin, "BUILD_COMMIT"), head);
    assert_eq!(variable(&origin, "BUILD_DATE"), "2026-11-30T04:00:00Z");
    let expected = format!("1.2.3 (commit {}, 2026-11-30)", &head[..12]);
    assert_eq!(long(&origin), expected);
}

#[test]
fn changes_of_the_sources_mark_the_commit() {
    let repository = Repository::new("dirty");
    let head = repository.head();
    repository.write("notes", "of no program");
    assert_eq!(repository.origin().commit.as_deref(), Some(&*head));
    for (name, content) in [("src/new.rs", "// new"), ("Cargo.toml", "")] {
        repository.write(name, content);
        let origin = repository.origin();
        assert_eq!(
            variable(&origin, "BUILD_COMMIT"),
            format!("{head}-dirty"),
            "{name}"
        );
        let expected = format!("1.2.3 (commit {}-dirty, 2026-11-30)", &head[..12]);
        assert_eq!(long(&origin), expected, "{name}");
        repository.git(&["add", "--all"]);
        repository.commit();
        assert_eq!(
            repository.origin().commit,
            Some(repository.head()),
            "{name}"
        );
        repository.git(&["reset", "--quiet", "--hard", &head]);
    }
}

#[test]
fn without_git_the_environment_says_it_or_nobody() {
    let directory = std::env::temp_dir().join(format!("ipvsd-archive-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    assert_eq!(Origin::of_work_tree(&directory), Origin::default());
    fs::remove_dir(&directory).unwrap();
    let unknown = Origin::default();
    assert_eq!(long(&unknown), "1.2.3 (commit unknown)");
    let commit = "1f0e5c2a9b7d48e6c3a1d5f7b9082e4c6a8d0f13";
    let given = origin(Some(commit), Some(TIME));
    let other = origin(Some("another"), Some("another"));
    assert_eq!(given.or(other), origin(Some(commit), Some(TIME)));
    for (wrong, name) in [
        (origin(Some("main"), None), "SOURCE_COMMIT"),
        (origin(Some("1f0e5c2a9b7d-"), None), "SOURCE_COMMIT"),
        (origin(None, Some("2026-11-30")), "SOURCE_DATE_EPOCH"),
        (
            origin(None, Some("99999999999999999999")),
            "SOURCE_DATE_EPOCH",
        ),
    ] {
        let error = wrong.variables().unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn a_commit_changes_a_file_that_cargo_watches() {
    let repository = Repository::new("watched");
    let mut times = Vec::new();
    // First its branch is packed, as after a clone; then it has a file.
    repository.git(&["gc", "--quiet"]);
    for _ in 0..3 {
        let paths = watched(&repository.0);
        assert!(paths.iter().all(|path| path.exists()), "{paths:?}");
        let files = paths.iter().flat_map(|path| match path.is_dir() {
            true => fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect(),
            false => vec![path.clone()],
        });
        let state: Vec<_> = files.map(|path| (fs::read(&path).ok(), path)).collect();
        assert!(!times.contains(&state), "{state:?}");
        times.push(state);
        repository.git(&["commit", "--quiet", "--allow-empty", "--message", "y"]);
        repository.git(&[
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--message",
            "z",
        ]);
    }
}

#[test]
fn both_programs_print_the_same_version() {
    let ipvsd = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .arg("--version")
        .output();
    assert_eq!(text(ipvsd.unwrap()), format!("ipvsd {}", *version::LONG));
    let ipvsctl = |argument: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsctl"));
        text(command.arg(argument).output().unwrap())
    };
    let first = format!("ipvsctl {}", *version::LONG);
    let long = ipvsctl("--version");
    let mut lines = long.lines();
    assert_eq!(lines.next(), Some(&*first));
    assert!(lines.next().unwrap().starts_with("ipvsadm v"), "{long}");
    assert_eq!(ipvsctl("version").lines().next(), Some(&*first));
    // 0.1.0 (commit 1f0e5c2a9b7d, 2026-11-30), or 0.1.0 (commit unknown).
    let rest = version::LONG
        .strip_prefix(&format!("{PACKAGE} (commit "))
        .unwrap();
    let rest = rest.strip_suffix(')').unwrap();
    let (commit, day) = rest.split_once(", ").unwrap_or((rest, "unknown"));
    assert!(
        version::COMMIT.starts_with(commit.trim_end_matches("-dirty")),
        "{commit}"
    );
    assert!(version::DATE.starts_with(day), "{day}");
    assert!(version::DATE.ends_with('Z') || version::DATE == "unknown");
}

#[test]
fn packages_have_the_version_the_commit_and_its_day() {
    let repository = Repository::new("packages");
    let head = repository.head();
    let short = &head[..8];
    let version = |arguments: &[&str]| repository.version(arguments, &[]);
    assert_eq!(version(&[]), format!("{PACKAGE}+git20261130.{short}"));
    assert_eq!(
        version(&["deb"]),
        format!("{PACKAGE}~git20261130.{short}-1")
    );
    assert_eq!(
        (version(&["epoch"]), version(&["commit"])),
        (TIME.to_owned(), head.clone())
    );
    repository.git(&["tag", &format!("v{PACKAGE}")]);
    assert_eq!(
        (version(&[]), version(&["deb"])),
        (PACKAGE.to_owned(), format!("{PACKAGE}-1"))
    );
    repository.write("notes", "not of this commit");
    assert_eq!(version(&[]), format!("{PACKAGE}+git20261130.{short}.dirty"));
    assert_eq!(version(&["commit"]), format!("{head}-dirty"));
    fs::remove_dir_all(repository.0.join(".git")).unwrap();
    assert_eq!(
        (version(&[]), version(&["commit"])),
        (PACKAGE.to_owned(), "unknown".to_owned())
    );
    let given = [
        ("SOURCE_COMMIT", "1f0e5c2a9b7d"),
        ("SOURCE_DATE_EPOCH", "7"),
    ];
    assert_eq!(repository.version(&["commit"], &given), "1f0e5c2a9b7d");
    assert_eq!(repository.version(&["epoch"], &given), "7");
}
