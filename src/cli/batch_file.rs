//! Files with the operations of a batch.

use std::path::Path;

use yaml_serde::Value;

use super::{
    error::CliError,
    input,
    table_file::{document, invalid},
};
use crate::model::OnFailure;

/// Reads a file, or standard input (`-`), as the body of a request. `on_failure` replaces that of the file.
pub(super) fn read(path: &Path, on_failure: Option<OnFailure>) -> Result<Vec<u8>, CliError> {
    let (file, text) = input::named(path)?;
    let Value::Mapping(mut batch) = document(&file, &text)? else {
        return Err(invalid(&file, "is no batch: `operations:` is expected"));
    };
    if let Some(on_failure) = on_failure {
        batch.insert("on_failure".into(), on_failure.as_str().into());
    }
    serde_json::to_vec(&batch).map_err(|error| invalid(&file, error.to_string()))
}
