//! `ipvsctl health`, `force` and `report-health`.

use std::io::Write;

use super::{
    args::HealthArgs,
    error::CliError,
    health_args::{ForceArgs, ForcedState, ReportArgs, ReportedState},
    options::{Format, Options},
    outcome::{explain_with, idempotent},
    output::{Stdout, write_json, write_pages, write_table},
    target::Target,
};
use crate::{
    client::{Client, ClientError, ServerHealth, ServiceHealth, WriteOptions},
    model::{Forced, HealthResult, OverrideRequest, ServiceKey},
};

/// Shows the health of the servers of services that have a health check.
pub(super) fn list(
    client: &Client,
    args: &HealthArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if let Some(service) = args.service {
        let (health, json) = client.service_health(service)?;
        return match format {
            Format::Table => write_services(&[health], out),
            format => write_json(out, format, &json),
        };
    }
    let (services, pages) = client.health(&args.kept.clone().into())?;
    match format {
        Format::Table => write_services(&services, out),
        format => write_pages(out, format, "services", &pages),
    }
}

/// Forces a server up or down, or lets its checks decide; returns the exit code.
pub(super) fn force(args: ForceArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let ForceArgs {
        service,
        server,
        state,
        expires,
    } = args;
    let state = match state {
        ForcedState::Up => Some(Forced::Up),
        ForcedState::Down => Some(Forced::Down),
        ForcedState::Auto => None,
    };
    let request = state.map(|state| OverrideRequest {
        state,
        expires_seconds: expires,
    });
    let target = Target::select(options)?;
    let write = WriteOptions::default();
    let send = || {
        let client = &target.client;
        client.override_health(service, server, request.as_ref(), &write)
    };
    let sent = idempotent(send);
    write_sent(service, sent, &target, options.format, out)
}

/// Reports the health of a server; returns the exit code.
pub(super) fn report(
    args: ReportArgs,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    options.reject_all()?;
    let ReportArgs {
        service,
        server,
        state,
        reason,
    } = args;
    let result = HealthResult {
        healthy: state == ReportedState::Up,
        reason: reason.filter(|reason| !reason.is_empty()),
    };
    let target = Target::select(options)?;
    // Not repeated if its reply is lost: results are counted.
    let write = WriteOptions::default();
    let sent = target
        .client
        .report_health(service, server, &result, &write);
    write_sent(service, sent, &target, options.format, out)
}

/// Shows the health of a server that was changed; returns the exit code.
fn write_sent(
    service: ServiceKey,
    sent: Result<(ServerHealth, Vec<u8>), ClientError>,
    target: &Target,
    format: Format,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    let (health, json) = sent.map_err(|error| explain_with(error.into(), target, "health"))?;
    match format {
        Format::Table => write_rows(&[row(service, &health)], out)?,
        format => write_json(out, format, &json)?,
    }
    Ok(0)
}

fn write_services(services: &[ServiceHealth], out: &mut dyn Write) -> Result<(), CliError> {
    let rows = services.iter().flat_map(|service| {
        let servers = service.servers.iter();
        servers.map(|server| row(service.service, server))
    });
    write_rows(&rows.collect::<Vec<_>>(), out)?;
    for service in services {
        let id = service.service;
        if service.below_min {
            let count = service.healthy_count;
            writeln!(out, "{id}: {count} healthy, fewer than min_healthy says")?;
        }
        if service.fallback {
            writeln!(out, "{id}: fallback servers get connections")?;
        }
        if service.limited {
            let text = "servers that fail are kept, because max_losses were taken out lately";
            writeln!(out, "{id}: {text}")?;
        }
        if service.storm {
            writeln!(
                out,
                "{id}: servers that fail are kept, because many became silent at once"
            )?;
        }
    }
    Ok(())
}

fn row(service: ServiceKey, server: &ServerHealth) -> Vec<String> {
    let latency = server.latency_seconds;
    let until = server.override_expire_time.as_deref();
    let until = until.map(|until| format!("until {until}"));
    vec![
        service.to_string(),
        server.server.to_string(),
        server.state.clone(),
        server.since_time.clone(),
        latency
            .map(|seconds| format!("{:.1} ms", seconds * 1000.0))
            .unwrap_or_default(),
        server.reason.clone().or(until).unwrap_or_default(),
    ]
}

fn write_rows(rows: &[Vec<String>], out: &mut dyn Write) -> Result<(), CliError> {
    const HEADINGS: [&str; 6] = ["SERVICE", "SERVER", "STATE", "SINCE", "LATENCY", "REASON"];
    Ok(write_table(out, &HEADINGS, rows)?)
}
