//! Texts that the user hands in.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::error::CliError;

/// Size limit of the input of a restore in bytes: the daemon's default limit of a rules text.
pub(super) const MAX_INPUT: u64 = 64 << 20;

/// Reads the file of an argument, or standard input (`-`). The first text is its name, for messages.
pub(super) fn named(path: &Path) -> Result<(String, String), CliError> {
    let (name, file) = match path == Path::new("-") {
        true => ("standard input".to_owned(), None),
        false => (path.display().to_string(), Some(path.to_owned())),
    };
    Ok((name, read(file)?))
}

/// Reads the file, or standard input.
pub(super) fn read(file: Option<PathBuf>) -> Result<String, CliError> {
    match file {
        Some(path) => File::open(&path)
            .and_then(|file| read_text(file, MAX_INPUT))
            .map_err(|source| CliError::File { path, source }),
        None => read_text(io::stdin().lock(), MAX_INPUT).map_err(CliError::Input),
    }
}

/// Reads to the end of a text of at most `limit` bytes.
pub(super) fn read_text(from: impl Read, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    String::from_utf8(bytes).map_err(|error| {
        let text = format!(
            "invalid UTF-8 at byte {}",
            error.utf8_error().valid_up_to() + 1
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}
