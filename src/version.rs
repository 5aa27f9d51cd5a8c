//! The version of the programs, and the commit from which they were built.
//!
//! The build script (`build/version.rs`) asks git, or takes what `SOURCE_COMMIT` and `SOURCE_DATE_EPOCH` say.
//! A debug build does not ask git: each commit would compile the library and all tests again.

/// The version of the package, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit: its hexadecimal digits, with `-dirty` at the end if the sources differed from it; or `unknown`.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// The time of the commit as of RFC 3339 in UTC, never that of the build; or `unknown`.
pub const DATE: &str = env!("BUILD_DATE");

/// All of them in short, as `--version` prints it: `0.1.0 (commit 1f0e5c2a9b7d, 2026-11-30)`.
pub const LONG: &str = env!("BUILD_VERSION");
