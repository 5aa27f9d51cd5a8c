//! `ipvsctl export`: the running table as a file for `ipvsctl apply`.

use std::{collections::HashSet, io::Write};

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{error::CliError, options::Format, output::write_json};
use crate::{
    client::{Client, Include},
    model::{Director, Owner},
};

/// A page of services, their fields in their order.
#[derive(Deserialize)]
struct Page {
    services: Vec<Mapping>,
}

#[derive(Deserialize)]
struct SyncDaemons {
    sync_daemons: Vec<Mapping>,
}

/// Members that are no configuration, or that the id repeats.
const SERVICE_OTHERS: [&str; 11] = [
    "protocol",
    "address",
    "port",
    "fwmark",
    "family",
    "server_count",
    "stats",
    "rates",
    "etag",
    "changed",
    "owner",
];
const DIRECTOR_OTHERS: [&str; 3] = ["interface_state", "etag", "changed"];
const SERVER_OTHERS: [&str; 11] = [
    "address",
    "port",
    "active_connections",
    "inactive_connections",
    "persistent_connections",
    "stats",
    "rates",
    "etag",
    "effective_weight",
    "holds",
    "membership",
];

/// Writes the services by id, their servers in the kernel's order, which schedulers use, the timeouts and the
/// sync daemons. `owner`: only what its table declares.
pub(super) fn write(
    client: &Client,
    owner: Option<&Owner>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let spec = match owner {
        Some(owner) => Some(client.table(owner)?.value.spec),
        None => None,
    };
    let declared: Option<HashSet<String>> = spec.as_ref().map(|spec| {
        let services = spec.services.iter();
        services.map(|service| service.key.to_string()).collect()
    });
    let is_wanted = |service: &Mapping| {
        let id = service.get("id").and_then(Value::as_str);
        declared
            .as_ref()
            .is_none_or(|declared| id.is_some_and(|id| declared.contains(id)))
    };
    let mut services = Vec::new();
    for page in client.service_pages(Include::default(), false)? {
        let Page { services: page } = serde_json::from_slice(&page)?;
        let page = page.into_iter().filter(is_wanted);
        services.extend(page.map(|service| configuration(Value::Mapping(service))));
    }
    let has =
        |declares: fn(&Director) -> bool| spec.as_ref().is_none_or(|spec| declares(&spec.director));
    let mut others = Mapping::new();
    if has(|director| director.timeouts.is_some()) {
        let (mut timeouts, _) = client.get::<Mapping>("/v1/timeouts")?;
        retain(&mut timeouts, &DIRECTOR_OTHERS);
        others.insert("timeouts".into(), Value::Mapping(timeouts));
    }
    if has(|director| director.sync_daemons.is_some()) {
        let (SyncDaemons { mut sync_daemons }, _) = client.get("/v1/sync-daemons")?;
        for daemon in &mut sync_daemons {
            retain(daemon, &DIRECTOR_OTHERS);
        }
        let daemons = sync_daemons.into_iter().map(Value::Mapping);
        others.insert("sync_daemons".into(), Value::Sequence(daemons.collect()));
    }
    // Whose they are to be, the file does not say.
    let owner = owner.filter(|owner| !owner.is_unmanaged());
    write_document(owner, others, services, format, out)
}

/// Writes a table as a file for `ipvsctl apply`, as YAML unless JSON is wanted.
pub(super) fn write_document(
    owner: Option<&Owner>,
    others: Mapping,
    services: Vec<Value>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut document = Mapping::new();
    if let Some(owner) = owner {
        document.insert("owner".into(), owner.as_str().into());
    }
    document.extend(others);
    document.insert("services".into(), Value::Sequence(services));
    let format = match format {
        Format::Table => Format::Yaml,
        format => format,
    };
    write_json(out, format, &serde_json::to_vec(&document)?)
}

/// A service without what is no configuration, and without what is the default.
pub(super) fn configuration(mut service: Value) -> Value {
    let Some(members) = service.as_mapping_mut() else {
        return service;
    };
    retain(members, &SERVICE_OTHERS);
    if let Some(Value::Sequence(servers)) = members.get_mut("servers") {
        // Such a server is not declared: it is removed, or a fallback server.
        servers.retain(|server| server.get("membership").is_none_or(Value::is_null));
        for server in servers.iter_mut().filter_map(Value::as_mapping_mut) {
            retain(server, &SERVER_OTHERS);
        }
    }
    service
}

fn retain(members: &mut Mapping, others: &[&str]) {
    members.retain(|name, value| {
        let name = name.as_str().unwrap_or_default();
        let is_default = match name {
            "scheduler_flags" => value.as_sequence().is_some_and(Vec::is_empty),
            "one_packet" => value.as_bool() == Some(false),
            "upper_threshold" | "lower_threshold" => value.as_u64() == Some(0),
            _ => false,
        };
        !is_default && !others.contains(&name)
    });
}
