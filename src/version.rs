//! The version of the programs, and the commit from which they were built.
//!
//! The build script (`build/version.rs`) asks git, or takes what `SOURCE_COMMIT` and `SOURCE_DATE_EPOCH` say.
//! A debug build does not ask git: each commit would compile the library and all tests again.

use std::sync::LazyLock;

/// The version of the package, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit: its hexadecimal digits, with `-dirty` at the end if the sources differed from it; or `unknown`.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// The time of the commit as of RFC 3339 in UTC, never that of the build; or `unknown`.
pub const DATE: &str = env!("BUILD_DATE");

/// All of them in short, as `--version` prints it.
pub static LONG: LazyLock<String> = LazyLock::new(|| long(VERSION, Some(COMMIT), Some(DATE)));

/// Digits of a commit that are shown.
const SHORT: usize = 12;

/// A version with the commit and the day, as far as they are known: `0.1.0 (commit 1f0e5c2a9b7d, 2026-11-30)`.
pub fn long(version: &str, commit: Option<&str>, date: Option<&str>) -> String {
    let Some(commit) = commit else {
        return version.to_owned();
    };
    let (digits, dirty) = match commit.strip_suffix("-dirty") {
        Some(digits) => (digits, "-dirty"),
        None => (commit, ""),
    };
    let short = digits.get(..SHORT).unwrap_or(digits);
    let day = match date.and_then(|date| date.split_once('T')) {
        Some((day, _)) => format!(", {day}"),
        None => String::new(),
    };
    format!("{version} (commit {short}{dirty}{day})")
}
