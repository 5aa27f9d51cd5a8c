//! What only reads.

use std::io::Write;

use super::{
    CliError, connections, info,
    names::Looked,
    output::{Format, write_json},
    run::tell,
    settings,
};
use crate::{
    client::{Client, ClientError, Include},
    ipvsadm::{
        List, ListFormat, ListMode, Names, Numeric, Order, refusal_text, write_list, write_rules,
        write_sync_daemons, write_timeouts, write_version,
    },
    model::{Reason, ServiceEntry, ServiceKey},
};

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// `-L`
    List(List),
    /// `-S`
    Save { numeric: bool },
    /// `save`
    Rules,
    /// `info`
    Info,
    /// `settings`
    Settings(Vec<String>),
    /// `connections`
    Connections(connections::Wanted),
}

/// Reads and writes it; returns the exit code.
pub(super) fn read(
    client: &Client,
    reading: &Reading,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let done = match reading {
        Reading::List(List::Table(list)) => table(client, *list, format, out),
        Reading::List(List::Service(key, list)) => service(client, *key, *list, format, out),
        Reading::List(List::Connections {
            numeric,
            engine_data,
        }) => connections::list(client, *numeric, *engine_data, format, out),
        Reading::List(List::Timeouts) if format == Format::Table => {
            let timeouts = client.timeouts();
            timeouts
                .map_err(CliError::from)
                .and_then(|timeouts| Ok(write_timeouts(out, timeouts.value)?))
        }
        Reading::List(List::SyncDaemons) if format == Format::Table => {
            let daemons = client.sync_daemons();
            daemons
                .map_err(CliError::from)
                .and_then(|daemons| Ok(write_sync_daemons(out, &daemons)?))
        }
        Reading::List(List::Timeouts) => json(client, "/v1/timeouts", format, out),
        Reading::List(List::SyncDaemons) => json(client, "/v1/sync-daemons", format, out),
        Reading::Save { numeric } if format == Format::Table => save(client, *numeric, out),
        Reading::Rules if format == Format::Table => {
            client.write_rules(out, true).map_err(CliError::from)
        }
        Reading::Save { .. } | Reading::Rules => table(client, ListFormat::default(), format, out),
        Reading::Info => info::show(client, format, out),
        Reading::Settings(names) => settings::show(client, names, format, out),
        Reading::Connections(wanted) => wanted.show(client, format, out),
    };
    match done {
        Ok(()) => Ok(0),
        Err(CliError::Client(ClientError::Refused(problem))) => {
            let of_list = matches!(reading, Reading::List(_));
            let text = match problem.errno {
                _ if problem.reason == Reason::ServiceNotFound => "No such service".to_owned(),
                Some(errno) if of_list && problem.reason != Reason::KernelUnavailable => {
                    refusal_text(None, errno).into_owned()
                }
                _ => return Err(ClientError::Refused(problem).into()),
            };
            out.flush()?;
            tell(&text);
            Ok(1)
        }
        Err(error) => Err(error),
    }
}

/// What a listing in this mode needs to be told.
fn include(mode: ListMode) -> Include {
    Include {
        stats: mode == ListMode::Stats,
        rates: mode == ListMode::Rate,
    }
}

fn json(client: &Client, path: &str, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    write_json(out, format, &client.get(path)?)
}

/// One request, or two where names are wanted.
fn table(
    client: &Client,
    list: ListFormat,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let include = include(list.mode);
    if format != Format::Table {
        let pages = client.service_pages(include, list.unsorted)?;
        return match pages.as_slice() {
            [page] => write_json(out, format, page),
            pages => {
                let mut all = Vec::new();
                for page in pages {
                    let mut page: serde_json::Value = serde_json::from_slice(page)?;
                    if let Some(services) = page["services"].as_array_mut() {
                        all.append(services);
                    }
                }
                let whole = serde_json::to_vec(&serde_json::json!({"services": all}))?;
                write_json(out, format, &whole)
            }
        };
    }
    if list.numeric {
        return Ok(client.write_listing(out, list)?);
    }
    // Names are known here, not there.
    let kernel = client.info()?.kernel;
    let entries = client.services(include, list.unsorted)?;
    write_version(out, &kernel.ipvs_version, kernel.connection_table_size)?;
    print(&entries, list, out)
}

fn service(
    client: &Client,
    key: ServiceKey,
    list: ListFormat,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let include = include(list.mode);
    if format != Format::Table {
        return json(
            client,
            &crate::client::service_path(key, include),
            format,
            out,
        );
    }
    let entry = client.service(key, include)?.value;
    print(&[entry], list, out)
}

fn print(entries: &[ServiceEntry], list: ListFormat, out: &mut dyn Write) -> Result<(), CliError> {
    with_names(entries, list.numeric, |names| {
        write_list(out, entries, list, names)
    })
}

fn save(client: &Client, numeric: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if numeric {
        return Ok(client.write_rules(out, false)?);
    }
    let entries = client.services(Include::default(), false)?;
    with_names(&entries, false, |names| {
        write_rules(out, &entries, Order::Sorted, names)
    })
}

/// Writes with the names of all addresses, or with none.
fn with_names(
    entries: &[ServiceEntry],
    numeric: bool,
    write: impl FnOnce(&dyn Names) -> std::io::Result<()>,
) -> Result<(), CliError> {
    if numeric {
        return Ok(write(&Numeric)?);
    }
    let mut names = Looked::new();
    names.look_up(entries.iter().flat_map(|entry| {
        let service = match entry.service.key {
            ServiceKey::Address { address, .. } => Some(address),
            ServiceKey::Fwmark { .. } => None,
        };
        let servers = entry.servers.iter().map(|server| server.key.address);
        service.into_iter().chain(servers)
    }));
    Ok(write(&names)?)
}
