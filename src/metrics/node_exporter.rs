//! node_exporter's view of the servers: its families `node_ipvs_backend_*` have these labels.
//!
//! node_exporter reads `/proc/net/ip_vs`. The samples here are the same, except where it is wrong: it does
//! not know services of SCTP, and takes their servers for those of the service before.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt};

use super::text::{Texts, labels};
use crate::model::{Server, ServiceEntry, ServiceKey};

/// The servers, each with its labels and the values of its gauges.
#[derive(Debug, Default)]
pub(super) struct Backends {
    labels: Texts,
    values: Vec<[u64; 3]>,
}

// === impl Backends ===

impl Backends {
    /// The servers of these services.
    pub(super) fn new<'a>(services: impl Iterator<Item = &'a ServiceEntry>) -> Self {
        let mut backends = Self::default();
        // Firewall marks are the same for IPv4 and IPv6: samples with the same labels are added up.
        let mut of_marks = HashMap::new();
        for ServiceEntry { service, servers } in services {
            for server in servers {
                let place = match service.key {
                    ServiceKey::Fwmark { mark, .. } => {
                        let next = backends.values.len();
                        *of_marks.entry((mark, server.key)).or_insert(next)
                    }
                    ServiceKey::Address { .. } => backends.values.len(),
                };
                let new = values(server);
                match backends.values.get_mut(place) {
                    Some(sum) => sum.iter_mut().zip(new).for_each(|(sum, new)| *sum += new),
                    None => {
                        backends.values.push(new);
                        backends
                            .labels
                            .push(|out| backend_labels(out, service.key, server));
                    }
                }
            }
        }
        backends
    }

    /// The labels and the values of a server.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], [u64; 3])> {
        let values = self.values.get(index)?;
        Some((self.labels.get(index), *values))
    }

    /// Its memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.labels.memory() + self.values.capacity() * size_of::<[u64; 3]>()
    }
}

/// Active and inactive connections, and the weight in the kernel.
fn values(server: &Server) -> [u64; 3] {
    [
        server.active_connections.into(),
        server.inactive_connections.into(),
        server.effective_weight.into(),
    ]
}

fn backend_labels(out: &mut Vec<u8>, service: ServiceKey, server: &Server) {
    let (local, port, mark, protocol) = match service {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let protocol = protocol.to_string().to_ascii_uppercase();
            (text(address), port, String::new(), protocol)
        }
        ServiceKey::Fwmark { mark, .. } => {
            (String::new(), 0, format!("{mark:08X}"), "FWM".to_owned())
        }
    };
    labels(
        out,
        &[
            ("local_address", &local),
            ("local_mark", &mark),
            ("local_port", &port.to_string()),
            ("proto", &protocol),
            ("remote_address", &text(server.key.address)),
            ("remote_port", &server.key.port.to_string()),
        ],
    );
}

/// An address as Go writes it.
fn text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}
