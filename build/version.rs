//! From which commit a build is made. For the build script; `tests/host/version.rs` tests it.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::Timestamp;

/// What cannot be found out.
const UNKNOWN: &str = "unknown";

/// Digits of a commit, at least: those that `--version` prints.
const SHORT: usize = 12;

/// What is part of a program: a change of one of them makes the programs others than those of the commit.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "build",
    "build.rs",
    "proto",
    "src",
    "web/dist",
];

/// Where a build comes from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The commit, 40 hexadecimal digits, with `-dirty` at the end if the sources differ from it.
    pub commit: Option<String>,
    /// Time of the commit, in seconds since 1970.
    pub seconds: Option<String>,
}

impl Origin {
    /// What the environment says: `SOURCE_COMMIT` and `SOURCE_DATE_EPOCH`.
    pub fn of_environment() -> Self {
        let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            commit: given("SOURCE_COMMIT"),
            seconds: given("SOURCE_DATE_EPOCH"),
        }
    }

    /// What git says of a directory; nothing if it is not the top of a work tree.
    pub fn of_work_tree(directory: &Path) -> Self {
        if !directory.join(".git").exists() {
            return Self::default();
        }
        let Some(head) = git(
            directory,
            &["show", "--no-patch", "--format=%H %ct", "HEAD"],
        ) else {
            return Self::default();
        };
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(SOURCES);
        let is_clean = git(directory, &status).is_some_and(|changes| changes.is_empty());
        let mut words = head.split_whitespace().map(str::to_owned);
        let suffix = if is_clean { "" } else { "-dirty" };
        Self {
            commit: words.next().map(|commit| commit + suffix),
            seconds: words.next(),
        }
    }

    /// This, and what it lacks of another.
    pub fn or(self, other: Self) -> Self {
        Self {
            commit: self.commit.or(other.commit),
            seconds: self.seconds.or(other.seconds),
        }
    }

    /// The variables that `src/version.rs` is compiled with.
    ///
    /// # Errors
    ///
    /// The commit or the time has another form.
    pub fn variables(&self) -> Result<[(&'static str, String); 2], Box<dyn Error>> {
        let commit = self.commit.as_deref().unwrap_or(UNKNOWN);
        let digits = commit.strip_suffix("-dirty").unwrap_or(commit);
        let is_commit =
            digits.len() >= SHORT && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit && commit != UNKNOWN {
            return Err(format!(
                "SOURCE_COMMIT: {commit:?} is not a commit: set it to the 40 hexadecimal digits of one, \
                 with -dirty at the end if the sources differ from it, or leave it empty"
            )
            .into());
        }
        let date = match &self.seconds {
            None => UNKNOWN.to_owned(),
            Some(seconds) => date(seconds).ok_or_else(|| {
                format!(
                    "SOURCE_DATE_EPOCH: {seconds:?} is not a time: set it to the seconds since 1970, as \
                     `git show --no-patch --format=%ct` prints them, or leave it empty"
                )
            })?,
        };
        Ok([("BUILD_COMMIT", commit.to_owned()), ("BUILD_DATE", date)])
    }
}

/// The files of a work tree that change with its commit or with the sources.
pub fn watched(directory: &Path) -> Vec<PathBuf> {
    let sources = SOURCES.iter().map(|name| directory.join(name));
    // The first commit after a clone makes the file of a branch that was packed before.
    let of_git = ["HEAD", "packed-refs", "refs/heads"]
        .iter()
        .filter_map(|name| {
            let path = git(directory, &["rev-parse", "--git-path", name])?;
            Some(directory.join(path))
        });
    // Cargo takes a file that is missing for one that changes all the time.
    let exists = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
    of_git.chain(sources).filter(exists).collect()
}

fn date(seconds: &str) -> Option<String> {
    let time = Timestamp::from_second(seconds.parse().ok()?).ok()?;
    Some(time.to_string())
}

/// What git prints; `None` if there is no git, or it fails.
fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        // Otherwise `git status` writes to the repository.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
