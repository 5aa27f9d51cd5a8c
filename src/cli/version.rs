//! `ipvsctl version`.

use std::io::Write;

use serde::Serialize;

use super::{
    error::CliError,
    escape::escape,
    hints::describe,
    options::{Format, Options},
    output::write_json,
    target::Target,
};

/// The versions of both sides.
#[derive(Serialize)]
struct Versions {
    ipvsctl: &'static str,
    /// `None` if the director cannot be asked.
    ipvsd: Option<String>,
    kernel: Option<String>,
    ipvs: Option<String>,
    endpoint: Option<String>,
    /// Why the director cannot be asked.
    error: Option<String>,
}

/// Shows the version of ipvsctl, and those of the director if it can be reached. That it cannot is no
/// error: `ipvsctl info` is the command that needs it.
pub(super) fn show(options: &Options, out: &mut dyn Write) -> Result<(), CliError> {
    let mut versions = Versions {
        ipvsctl: env!("CARGO_PKG_VERSION"),
        ipvsd: None,
        kernel: None,
        ipvs: None,
        endpoint: None,
        error: None,
    };
    if options.all {
        return Err(CliError::AllIsNotAllowed);
    }
    let target = Target::select(options);
    if let Ok(target) = &target {
        versions.endpoint = Some(target.client.endpoint().to_string());
    }
    match target.and_then(|target| Ok(target.client.info()?)) {
        Ok(info) => {
            versions.ipvsd = Some(info.version);
            versions.kernel = Some(info.kernel.release);
            versions.ipvs = Some(info.kernel.ipvs_version);
        }
        Err(error @ (CliError::Client(_) | CliError::NoDirector { .. })) => {
            versions.error = Some(describe(&error));
        }
        Err(error) => return Err(error),
    }
    if options.format != Format::Table {
        return write_json(out, options.format, &serde_json::to_vec(&versions)?);
    }
    let Versions {
        ipvsctl,
        ipvsd,
        kernel,
        ipvs,
        endpoint,
        error,
    } = versions;
    writeln!(out, "ipvsctl {ipvsctl}")?;
    for (name, value) in [
        ("ipvsd", ipvsd),
        ("kernel", kernel),
        ("IPVS", ipvs),
        ("endpoint", endpoint),
        ("director not available:", error),
    ] {
        if let Some(value) = value {
            writeln!(out, "{name} {}", escape(&value))?;
        }
    }
    Ok(())
}
