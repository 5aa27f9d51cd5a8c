//! The table of services and servers: `-L`, `-S`.

use std::io::{self, Write};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use yaml_serde::{Mapping, Value};

use super::{error::CliError, names::ResolvedNames, options::Format, output::write_json};
use crate::{
    client::{Client, Include, service_path},
    ipvsadm::{
        ListFormat, ListMode, Names, Numeric, Order, write_list, write_rules, write_version,
    },
    model::{ServiceEntry, ServiceKey},
};

/// A page of services, its fields in their order.
#[derive(Deserialize, Serialize)]
struct ServicePage {
    services: Vec<Value>,
    #[serde(flatten)]
    rest: Mapping,
}

/// What makes a response a list of services.
#[derive(Deserialize)]
struct ServiceList {
    #[serde(rename = "services")]
    _services: Vec<IgnoredAny>,
}

/// What makes a response a service.
#[derive(Deserialize)]
struct ServiceId {
    #[serde(rename = "id")]
    _id: ServiceKey,
}

/// Lists the whole table. Sends one request, or two to resolve names here.
pub(super) fn table(
    client: &Client,
    list: ListFormat,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let include = include(list.mode);
    if format != Format::Table {
        let pages = client.service_pages(include, list.unsorted)?;
        return match pages.as_slice() {
            [page] => {
                serde_json::from_slice::<ServiceList>(page)?;
                write_json(out, format, page)
            }
            pages => write_json(out, format, &merge_pages(pages)?),
        };
    }
    if list.numeric {
        return Ok(client.write_listing(out, list)?);
    }
    let kernel = client.info()?.kernel;
    let entries = client.services(include, list.unsorted)?;
    write_version(out, &kernel.ipvs_version, kernel.connection_table_size)?;
    print(&entries, list, out)
}

/// Lists one service.
pub(super) fn service(
    client: &Client,
    key: ServiceKey,
    list: ListFormat,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let include = include(list.mode);
    if format != Format::Table {
        let (_, json) = client.get::<ServiceId>(&service_path(key, include))?;
        return write_json(out, format, &json);
    }
    let entry = client.service(key, include)?.value;
    print(&[entry], list, out)
}

/// Writes the whole state of a director as a document.
pub(super) fn full(client: &Client, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    #[derive(Deserialize, Serialize)]
    struct SyncDaemons {
        sync_daemons: Vec<Value>,
    }
    #[derive(Serialize)]
    struct Document {
        services: Vec<Value>,
        timeouts: Mapping,
        sync_daemons: Vec<Value>,
        settings: Mapping,
    }
    let mut services = Vec::new();
    for page in client.service_pages(Include::default(), false)? {
        services.append(&mut serde_json::from_slice::<ServicePage>(&page)?.services);
    }
    let (SyncDaemons { sync_daemons }, _) = client.get("/v1/sync-daemons")?;
    let document = Document {
        services,
        timeouts: client.get("/v1/timeouts")?.0,
        sync_daemons,
        settings: client.get("/v1/settings")?.0,
    };
    write_json(out, format, &serde_json::to_vec(&document)?)
}

/// Prints the table as ipvsadm commands.
pub(super) fn save(client: &Client, numeric: bool, out: &mut dyn Write) -> Result<(), CliError> {
    if numeric {
        return Ok(client.write_rules(out, false)?);
    }
    let entries = client.services(Include::default(), false)?;
    with_names(&entries, false, |names| {
        write_rules(out, &entries, Order::Sorted, names)
    })
}

/// The optional fields that the columns of a listing need.
fn include(mode: ListMode) -> Include {
    Include {
        stats: mode == ListMode::Stats,
        rates: mode == ListMode::Rate,
    }
}

/// Joins the pages of a list. Fields other than `services` are those of the last page that has them.
fn merge_pages(pages: &[Vec<u8>]) -> serde_json::Result<Vec<u8>> {
    let mut list = Mapping::new();
    let mut services = Vec::new();
    for page in pages {
        let ServicePage {
            services: mut items,
            rest,
        } = serde_json::from_slice(page)?;
        services.append(&mut items);
        list.extend(rest);
    }
    list.remove("next_page_token");
    serde_json::to_vec(&ServicePage {
        services,
        rest: list,
    })
}

fn print(entries: &[ServiceEntry], list: ListFormat, out: &mut dyn Write) -> Result<(), CliError> {
    with_names(entries, list.numeric, |names| {
        write_list(out, entries, list, names)
    })
}

/// Calls `write` with the names of all addresses, or without names if `numeric`.
fn with_names(
    entries: &[ServiceEntry],
    numeric: bool,
    write: impl FnOnce(&dyn Names) -> io::Result<()>,
) -> Result<(), CliError> {
    if numeric {
        return Ok(write(&Numeric)?);
    }
    let mut names = ResolvedNames::new();
    names.resolve(entries.iter().flat_map(|entry| {
        let service = match entry.service.key {
            ServiceKey::Address { address, .. } => Some(address),
            ServiceKey::Fwmark { .. } => None,
        };
        let servers = entry.servers.iter().map(|server| server.key.address);
        service.into_iter().chain(servers)
    }));
    Ok(write(&names)?)
}
