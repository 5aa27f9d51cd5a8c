//! `ipvsctl probe`.

use std::io::Write;

use serde::Deserialize;

use super::{error::CliError, escape::escape, options::Format, output::write_json};
use crate::client::Client;

/// The response of a healthy daemon.
#[derive(Deserialize)]
struct Status {
    status: String,
}

/// Shows that the daemon runs or, with `ready`, that the kernel responds to it, too. Otherwise it is an error.
/// Neither needs a credential.
pub(super) fn show(
    client: &Client,
    ready: bool,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let path = if ready { "/readyz" } else { "/healthz" };
    let (Status { status }, json) = client.get::<Status>(path)?;
    match format {
        Format::Table => Ok(writeln!(out, "{}", escape(&status))?),
        _ => write_json(out, format, &json),
    }
}
