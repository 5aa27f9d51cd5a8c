//! Conversion between messages of virtual services and the model.

use super::{
    convert::{count, non_empty},
    server_message,
};
use crate::{
    model::{
        Error, Include, Labels, LabelsDraft, Mask, MaskText, Persistence, PersistenceDraft, Reason,
        ServiceDraft, ServiceEntry, ServiceKey, ServiceView,
    },
    proto::v1 as pb,
};

/// Converts a service to a message.
pub(super) fn message(entry: &ServiceEntry, include: Include) -> pb::Service {
    let view = ServiceView::new(entry, include);
    let servers = view.servers().into_iter().flatten();
    pb::Service {
        servers: servers.map(server_message::message).collect(),
        ..without_servers(&view)
    }
}

/// Converts a service without its servers to a message.
pub(super) fn without_servers(view: &ServiceView<'_>) -> pb::Service {
    pb::Service {
        id: view.id.to_string(),
        protocol: view.protocol.map(|protocol| protocol.to_string()),
        address: view.address.map(|address| address.to_string()),
        port: view.port.map(u32::from),
        fwmark: view.fwmark,
        family: view.family.map(|family| family.to_string()),
        scheduler: Some(view.scheduler.to_string()),
        scheduler_flags: view.scheduler_flags().map(str::to_owned).collect(),
        one_packet: Some(view.one_packet),
        persistence: view.persistence.map(pb::Persistence::from),
        netmask: view.netmask.map(|netmask| netmask.to_string()),
        persistence_engine: view.persistence_engine.map(|engine| engine.to_string()),
        servers: Vec::new(),
        server_count: view.server_count.map(count),
        stats: view.stats.map(pb::Stats::from),
        rates: view.rates.map(pb::Rates::from),
        etag: view.etag.to_string(),
        owner: view.owner.unwrap_or_default().to_owned(),
        labels: view.labels.map(Labels::to_map).unwrap_or_default(),
        // An empty message declares that there is none.
        health_check: view.health_check.map(|check| match check {
            Some(check) => check.into(),
            None => pb::HealthCheck::default(),
        }),
    }
}

/// The error for a service that exceeds `limit` bytes, the longest response message.
pub(super) fn too_large(service: ServiceKey, servers: usize, limit: usize) -> Error {
    Error::new(
        Reason::TooLarge,
        format!(
            "{service} with its {servers} servers exceeds the maximum response size of {limit} bytes"
        ),
    )
    .with_hint("set include to none, and read the servers by pages with ListServers")
}

impl From<Persistence> for pb::Persistence {
    fn from(persistence: Persistence) -> Self {
        let Persistence {
            timeout_seconds,
            netmask,
        } = persistence;
        Self {
            timeout_seconds: Some(timeout_seconds),
            netmask: Some(netmask.to_string()),
        }
    }
}

/// Converts the masked fields of a message to a draft.
pub(super) fn draft(service: pb::Service, mask: &Mask) -> ServiceDraft {
    let pb::Service {
        id,
        protocol,
        address,
        port,
        fwmark,
        family,
        scheduler,
        scheduler_flags,
        one_packet,
        persistence,
        netmask,
        persistence_engine,
        servers,
        server_count: _,
        stats: _,
        rates: _,
        etag: _,
        owner: _,
        labels,
        health_check,
    } = service;
    let flags = (!scheduler_flags.is_empty()).then_some(scheduler_flags);
    let servers = servers.into_iter();
    let servers: Vec<_> = servers
        .map(|server| server_message::draft(server, &Mask::Present))
        .collect();
    let mut draft = ServiceDraft::default();
    draft.id = non_empty(id);
    draft.protocol = protocol;
    draft.address = address;
    draft.port = port.map(i64::from);
    draft.fwmark = fwmark.map(i64::from);
    draft.family = family;
    draft.scheduler = scheduler.into();
    draft.scheduler_flags = flags.into();
    draft.one_packet = one_packet.into();
    draft.persistence = persistence.map(persistence_draft).into();
    draft.netmask = netmask.map(MaskText::Text).into();
    draft.persistence_engine = persistence_engine.into();
    let labels = labels.into_iter().map(|(key, value)| (key, Some(value)));
    let labels = LabelsDraft {
        entries: labels.collect(),
        is_whole: false,
    };
    // An empty map or list is present only if the mask names it.
    draft.labels = Some(labels)
        .filter(|labels| !labels.entries.is_empty())
        .into();
    draft.health_check = health_check.map(|check| Box::new(check.into())).into();
    draft.servers = (!servers.is_empty()).then_some(servers);
    draft.masked(mask)
}

fn persistence_draft(persistence: pb::Persistence) -> PersistenceDraft {
    let pb::Persistence {
        timeout_seconds,
        netmask,
    } = persistence;
    PersistenceDraft {
        timeout_seconds: timeout_seconds.map(i64::from).into(),
        netmask: netmask.map(MaskText::Text).into(),
    }
}
