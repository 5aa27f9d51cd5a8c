//! Files that options name: their size is bounded, and those that hold a secret are private.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Why a file of certificates, of a key or of a token is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or is too large.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// It holds a secret, and others than its owner can read it.
    #[error(
        "{path} holds a secret, and group or others can read it: chmod 600 {path}",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It does not contain what it should.
    #[error("{} {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never a part of the content.
        problem: String,
    },
}

/// The bits of a mode that let group and others read a file.
const READABLE_BY_OTHERS: u32 = 0o044;

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let opened = File::open(path).and_then(|file| read_opened(file, limit));
    opened.map_err(|source| FileError::unreadable(path, source))
}

/// Reads a file that holds a secret, of at most `limit` bytes.
pub(super) fn read_private(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|source| FileError::unreadable(path, source))?;
    check_private(&file, path)?;
    read_opened(file, limit).map_err(|source| FileError::unreadable(path, source))
}

/// Checks that only its owner can read an open file.
pub(crate) fn check_private(file: &File, path: &Path) -> Result<(), FileError> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|source| FileError::unreadable(path, source))?;
    match metadata.mode() & READABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(FileError::Exposed {
            path: path.to_owned(),
        }),
    }
}

fn read_opened(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => {
            let text = format!("more than {limit} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
        }
        false => Ok(bytes),
    }
}

// === impl FileError ===

impl FileError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let name = format!("ipvsd-client-{}-secret", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "x").unwrap();
        for (mode, is_private) in [
            (0o600, true),
            (0o400, true),
            (0o711, true),
            (0o640, false),
            (0o604, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_private(&path, 1) {
                Ok(content) => assert!(is_private && content == b"x", "{mode:o}"),
                Err(error) => {
                    let remedy = format!("chmod 600 {}", path.display());
                    assert!(
                        !is_private && error.to_string().contains(&remedy),
                        "{error}"
                    );
                }
            }
        }
        assert_eq!(read(&path, 1).unwrap(), b"x");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_without_end_is_an_error_that_names_it() {
        let error = read(Path::new("/dev/zero"), 1 << 10).unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero: more than 1024 bytes");
        let error = read(Path::new("/nonexistent"), 1).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent: No such file"), "{error}");
    }
}
