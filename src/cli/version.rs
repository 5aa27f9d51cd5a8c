//! `ipvsctl version` and `ipvsctl --version`.

use std::{io::Write, path::Path};

use serde::Serialize;

use super::{
    error::CliError,
    escape::escape,
    help,
    hints::describe,
    options::{Format, Options},
    output::write_json,
    target::Target,
};
use crate::version::{COMMIT, DATE, LONG, VERSION, long};

/// The versions of both sides.
#[derive(Serialize)]
struct Versions {
    ipvsctl: &'static str,
    ipvsctl_commit: &'static str,
    ipvsctl_build_date: &'static str,
    /// `None` if the director cannot be asked.
    ipvsd: Option<String>,
    ipvsd_commit: Option<String>,
    ipvsd_build_date: Option<String>,
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
        ipvsctl: VERSION,
        ipvsctl_commit: COMMIT,
        ipvsctl_build_date: DATE,
        ipvsd: None,
        ipvsd_commit: None,
        ipvsd_build_date: None,
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
            versions.ipvsd_commit = info.commit;
            versions.ipvsd_build_date = info.build_date;
            versions.kernel = Some(info.kernel.release);
            versions.ipvs = Some(info.kernel.ipvs_version);
        }
        Err(error @ (CliError::Client(_) | CliError::NoDirector { .. })) => {
            versions.error = Some(describe(&error));
        }
        Err(error) => return Err(error),
    }
    match options.format {
        Format::Table => write_lines(out, versions),
        format => write_json(out, format, &serde_json::to_vec(&versions)?),
    }
}

fn write_lines(out: &mut dyn Write, versions: Versions) -> Result<(), CliError> {
    let Versions {
        ipvsctl: _,
        ipvsctl_commit: _,
        ipvsctl_build_date: _,
        ipvsd,
        ipvsd_commit,
        ipvsd_build_date,
        kernel,
        ipvs,
        endpoint,
        error,
    } = versions;
    writeln!(out, "ipvsctl {}", *LONG)?;
    let ipvsd = ipvsd.map(|version| {
        long(
            &version,
            ipvsd_commit.as_deref(),
            ipvsd_build_date.as_deref(),
        )
    });
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

/// Prints what `--version` does: what ipvsctl is, unless it is called by the name of ipvsadm, and which ipvsadm
/// it is compatible with.
pub(super) fn write(out: &mut dyn Write, program: &str) -> Result<(), CliError> {
    if Path::new(program)
        .file_name()
        .is_none_or(|name| name != "ipvsadm")
    {
        writeln!(out, "ipvsctl {}", *LONG)?;
    }
    writeln!(out, "{}", help::VERSION)?;
    Ok(())
}
