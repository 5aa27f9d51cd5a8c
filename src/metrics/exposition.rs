//! The text of a table, written in pieces.

use super::{
    Format, Prepared,
    families::{
        NODE_GAUGES, SERVER, SERVER_GAUGES, SERVER_INFO, SERVICE, SERVICE_GAUGES, SERVICE_INFO,
    },
    text::{Created, Family, labels},
};
use crate::model::{Kept, Owner, Server, Service, ServiceEntry, ServiceKey};

/// Writes the families of services and servers. A family's samples are together, so that the table is
/// visited once per family.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    /// The family in progress.
    step: usize,
    /// The next service, by its place among the prepared ones; of node_exporter's families, the next server.
    place: usize,
    /// The next of its servers.
    server: usize,
    /// Whether the family has samples already.
    has_header: bool,
}

/// A family, and how its samples are made.
#[derive(Clone, Copy, Debug)]
enum Step {
    ServiceInfo,
    /// A counter of services, by its place.
    ServiceCounter(usize),
    ServiceGauge(usize),
    ServerInfo,
    ServerCounter(usize),
    ServerGauge(usize),
    NodeGauge(usize),
}

const STEPS: [Step; 22] = [
    Step::ServiceInfo,
    Step::ServiceCounter(0),
    Step::ServiceCounter(1),
    Step::ServiceCounter(2),
    Step::ServiceCounter(3),
    Step::ServiceCounter(4),
    Step::ServiceGauge(0),
    Step::ServiceGauge(1),
    Step::ServerInfo,
    Step::ServerCounter(0),
    Step::ServerCounter(1),
    Step::ServerCounter(2),
    Step::ServerCounter(3),
    Step::ServerCounter(4),
    Step::ServerGauge(0),
    Step::ServerGauge(1),
    Step::ServerGauge(2),
    Step::ServerGauge(3),
    Step::ServerGauge(4),
    Step::NodeGauge(0),
    Step::NodeGauge(1),
    Step::NodeGauge(2),
];

// === impl Exposition ===

impl Exposition {
    /// A text that has not begun.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            step: 0,
            place: 0,
            server: 0,
            has_header: false,
        }
    }

    /// Appends the next piece, a few samples at most. Returns false if there is none.
    pub fn next(&mut self, table: &[ServiceEntry], prepared: &Prepared, out: &mut Vec<u8>) -> bool {
        let Some(step) = STEPS.get(self.step) else {
            return false;
        };
        let has_written = match *step {
            Step::NodeGauge(index) => self.backend(index, prepared, out),
            Step::ServiceInfo | Step::ServiceCounter(_) | Step::ServiceGauge(_) => {
                self.service(*step, table, prepared, out)
            }
            Step::ServerInfo | Step::ServerCounter(_) | Step::ServerGauge(_) => {
                self.server(*step, table, prepared, out)
            }
        };
        if !has_written {
            *self = Self {
                step: self.step + 1,
                ..Self::new(self.format)
            };
        }
        true
    }

    /// Writes the sample of the next service, if there is one.
    fn service(
        &mut self,
        step: Step,
        table: &[ServiceEntry],
        prepared: &Prepared,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some((service, id)) = prepared.service(self.place) else {
            return false;
        };
        self.place += 1;
        let Some(entry) = table.get(service.index) else {
            return true;
        };
        let format = self.format;
        match step {
            Step::ServiceCounter(index) => {
                if let (Some(family), Some(value)) =
                    (SERVICE.get(index), entry.service.stats.values().get(index))
                {
                    self.head(family, out);
                    family.sample(format, out, id, *value, service.created);
                }
            }
            Step::ServiceGauge(index) => {
                let available = entry.servers.iter().filter(|s| s.effective_weight > 0);
                let values = [entry.servers.len(), available.count()];
                if let (Some(family), Some(value)) = (SERVICE_GAUGES.get(index), values.get(index))
                {
                    self.head(family, out);
                    family.sample(format, out, id, *value as u64, Created::default());
                }
            }
            _ => {
                self.head(&SERVICE_INFO, out);
                let all = service_labels(id, &entry.service);
                SERVICE_INFO.sample(format, out, &all, 1, Created::default());
            }
        }
        true
    }

    /// Writes the sample of the next server, if there is one.
    fn server(
        &mut self,
        step: Step,
        table: &[ServiceEntry],
        prepared: &Prepared,
        out: &mut Vec<u8>,
    ) -> bool {
        let (service, server) = loop {
            let Some((service, _)) = prepared.service(self.place) else {
                return false;
            };
            let servers = table.get(service.index).map(|entry| &entry.servers);
            let is_shown = self.server < service.servers.len();
            match servers.and_then(|servers| servers.get(self.server)) {
                Some(server) if is_shown => break (service, server),
                _ => (self.place, self.server) = (self.place + 1, 0),
            }
        };
        let (id, created) = prepared.server(service.servers.start + self.server);
        self.server += 1;
        let format = self.format;
        match step {
            Step::ServerCounter(index) => {
                if let (Some(family), Some(value)) =
                    (SERVER.get(index), server.stats.values().get(index))
                {
                    self.head(family, out);
                    family.sample(format, out, id, *value, created);
                }
            }
            Step::ServerGauge(index) => {
                let values = gauges(server);
                if let (Some(family), Some(value)) = (SERVER_GAUGES.get(index), values.get(index)) {
                    self.head(family, out);
                    family.sample(format, out, id, *value, Created::default());
                }
            }
            _ => {
                self.head(&SERVER_INFO, out);
                let all = server_labels(id, server);
                SERVER_INFO.sample(format, out, &all, 1, Created::default());
            }
        }
        true
    }

    /// Writes the next sample of node_exporter, if there is one.
    fn backend(&mut self, index: usize, prepared: &Prepared, out: &mut Vec<u8>) -> bool {
        let backends = prepared.backends.as_ref();
        let backend = backends.and_then(|backends| backends.get(self.place));
        let (Some((id, values)), Some(family)) = (backend, NODE_GAUGES.get(index)) else {
            return false;
        };
        self.place += 1;
        self.head(family, out);
        let value = values.get(index).copied().unwrap_or_default();
        family.sample(self.format, out, id, value, Created::default());
        true
    }

    /// Writes the head of the family, once.
    fn head(&mut self, family: &Family, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_header, true) {
            family.header(self.format, out);
        }
    }
}

fn gauges(server: &Server) -> [u64; 5] {
    [
        server.active_connections.into(),
        server.inactive_connections.into(),
        server.persistent_connections.into(),
        server.config.weight.into(),
        server.effective_weight.into(),
    ]
}

fn service_labels(id: &[u8], service: &Service) -> Vec<u8> {
    let (protocol, address, port, mark) = match service.key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => (
            protocol.to_string(),
            address.to_string(),
            port.to_string(),
            String::new(),
        ),
        ServiceKey::Fwmark { mark, .. } => (
            String::new(),
            String::new(),
            String::new(),
            mark.to_string(),
        ),
    };
    let owner = Kept::owner(&service.kept).map_or("", Owner::as_str);
    let mut all = id.to_vec();
    all.push(b',');
    labels(
        &mut all,
        &[
            ("protocol", &protocol),
            ("local_address", &address),
            ("local_port", &port),
            ("local_mark", &mark),
            ("scheduler", service.config.scheduler.as_str()),
            ("owner", owner),
        ],
    );
    all
}

fn server_labels(id: &[u8], server: &Server) -> Vec<u8> {
    let mut all = id.to_vec();
    all.push(b',');
    labels(
        &mut all,
        &[
            ("remote_address", &server.key.address.to_string()),
            ("remote_port", &server.key.port.to_string()),
            ("forwarding", &server.config.forwarding.to_string()),
        ],
    );
    all
}
