//! The stored state of the configured directory: its opening at the start, and `ipvsd state`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use super::{
    args::{ServeOptions, StateAction, StateOptions},
    config::Config,
    config_error::LoadError,
};
use crate::store::{self, ArchiveError, CheckReport, Store, StoreError, StoreOptions};

/// Why `ipvsd state` failed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// There is no directory.
    #[error("the state is kept in memory (state_dir); name a directory with --state-dir")]
    InMemory,
    /// The text cannot be opened.
    #[error("cannot read {}", path.display())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The store failed.
    #[error("{}", .0.report())]
    Store(StoreError),
    /// The text is invalid, or cannot be read or written.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The result cannot be written.
    #[error("cannot write the result")]
    Write(#[from] io::Error),
}

/// Time to wait for a daemon that ends.
const WAIT: Duration = Duration::from_secs(2);

impl Config {
    /// Opens the store, or one that fails if it cannot be used and need not be. Blocks.
    pub fn open_store(&self) -> Result<Store, StoreError> {
        let Some(directory) = &self.state_dir else {
            tracing::info!("state_dir is memory: what is stored ends with the daemon");
            return Ok(Store::in_memory());
        };
        match Store::open(directory, &StoreOptions::default()) {
            Ok(store) => Ok(store),
            Err(error) if self.may_serve_without(&error) => {
                tracing::error!(
                    error = error.report(),
                    "serving without the stored state, because store.required is false"
                );
                Ok(Store::unavailable(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks the stored state, unless a daemon uses it. Returns what should be changed if the daemon would
    /// serve without it. Nothing is changed. Blocks.
    pub fn check_store(&self) -> Result<Option<String>, StoreError> {
        let Some(directory) = &self.state_dir else {
            return Ok(None);
        };
        match store::check(directory, Duration::ZERO) {
            Ok(_) | Err(StoreError::Missing(_) | StoreError::InUse(_)) => Ok(None),
            Err(error) if self.may_serve_without(&error) => Ok(Some(error.report())),
            Err(error) => Err(error),
        }
    }

    /// Two daemons on one directory are a mistake in any case.
    fn may_serve_without(&self, error: &StoreError) -> bool {
        !self.store.required && !matches!(error, StoreError::InUse(_))
    }
}

/// Executes `ipvsd state`. Blocks.
pub fn run_state(options: &StateOptions, out: &mut dyn Write) -> Result<(), StateError> {
    let directory = directory(options)?;
    match &options.action {
        StateAction::Check => {
            let report = store::check(&directory, WAIT)?;
            out.write_all(describe(&report).as_bytes())?;
        }
        StateAction::Export => {
            let mut out = BufWriter::new(&mut *out);
            store::export(&directory, WAIT, &mut out)?;
        }
        StateAction::Import { file } => {
            let report = if file == Path::new("-") {
                store::import(&directory, WAIT, &mut io::stdin().lock())?
            } else {
                let text = File::open(file).map_err(|source| StateError::Open {
                    path: file.clone(),
                    source,
                })?;
                store::import(&directory, WAIT, &mut BufReader::new(text))?
            };
            let path = report.path.display();
            writeln!(out, "{path}: {} records imported", report.records)?;
        }
    }
    Ok(out.flush()?)
}

fn directory(options: &StateOptions) -> Result<PathBuf, StateError> {
    if let Some(directory) = &options.directory {
        return Ok(directory.clone());
    }
    let config = Config::load(&ServeOptions {
        config: options.config.clone(),
        ..ServeOptions::default()
    })?;
    config.state_dir.ok_or(StateError::InMemory)
}

fn describe(report: &CheckReport) -> String {
    let CheckReport {
        path,
        format,
        file_bytes,
        collections,
    } = report;
    let path = path.display();
    let mut text = format!("{path}: format {format}, {file_bytes} bytes, not damaged\n");
    for collection in collections {
        let (name, records, bytes) = (&collection.name, collection.records, collection.bytes);
        text += &format!("{name}: {records} records, {bytes} bytes\n");
    }
    text
}

// === impl StateError ===

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ArchiveError> for StateError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => Self::Store(error),
            // A closed pipe (`| head`) is not an error of the state; the caller knows it by its kind.
            ArchiveError::Write(error) => Self::Write(error),
            error => Self::Archive(error),
        }
    }
}
