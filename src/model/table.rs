//! A table as configuration: what a text of commands makes, evaluated without a kernel.

use std::{
    cmp::Reverse,
    collections::{
        HashMap,
        hash_map::{Entry, VacantEntry},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    Error, Kept, Op, Server, ServerConfig, ServerKey, Service, ServiceConfig, ServiceEntry,
    ServiceKey, StoredFields, StoredTarget,
};

/// A virtual service as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetService {
    /// Protocol, address and port, or firewall mark.
    pub key: ServiceKey,
    /// Configuration.
    pub config: ServiceConfig,
    /// The fields that the daemon stores.
    #[serde(flatten)]
    pub stored: StoredTarget,
    /// Real servers in the order of their creation. The kernel inserts each before the others.
    pub servers: Vec<TargetServer>,
    /// Where it was asked for: see [`TargetServer::origin`].
    #[serde(skip)]
    pub origin: usize,
}

/// A real server as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetServer {
    /// Address and port.
    pub key: ServerKey,
    /// Configuration.
    pub config: ServerConfig,
    /// Where it was asked for: the number of a line, or an index in a list. For errors.
    #[serde(skip)]
    pub origin: usize,
}

/// A table without counters, and what operations make of it. Starts empty.
#[derive(Clone, Debug, Default)]
pub struct Table {
    services: HashMap<ServiceKey, Made<ServiceConfig>>,
    /// Stored fields of services that were set.
    stored: HashMap<ServiceKey, StoredFields>,
    servers: HashMap<ServiceKey, HashMap<ServerKey, Made<ServerConfig>>>,
    /// Objects made so far, which orders them.
    made: usize,
}

/// The configuration of an object that an operation has made.
#[derive(Clone, Copy, Debug)]
struct Made<C> {
    config: C,
    order: usize,
    origin: usize,
}

// === impl TargetService ===

impl TargetService {
    /// The service, without traffic.
    pub fn service(&self) -> Service {
        Service::idle(self.key, self.config)
    }
}

// === impl Table ===

impl Table {
    /// Executes an operation, or fails as the kernel would. `origin` is that of the objects which the
    /// operation makes or edits. An operation that changes no configuration has no effect.
    pub fn apply(&mut self, op: &Op, origin: usize) -> Result<(), Error> {
        self.made += 1;
        let order = self.made;
        match *op {
            Op::CreateService(key, config, ref stored) => match self.services.entry(key) {
                Entry::Vacant(entry) => {
                    insert(entry, config, order, origin);
                    if !stored.is_empty() {
                        self.stored.insert(key, stored.clone());
                    }
                }
                Entry::Occupied(_) => return Err(Error::service_exists(key)),
            },
            Op::SetStored(key, ref stored) => {
                self.servers_of(key)?;
                self.stored.insert(key, stored.clone());
            }
            Op::SetService(key, config) => self
                .services
                .get_mut(&key)
                .ok_or_else(|| Error::service_not_found(key))?
                .edit(config, origin),
            Op::DeleteService(key) => {
                self.services
                    .remove(&key)
                    .ok_or_else(|| Error::service_not_found(key))?;
                self.servers.remove(&key);
                // One that is created again has none.
                self.stored
                    .entry(key)
                    .and_modify(|stored| *stored = StoredFields::default());
            }
            Op::CreateServer(service, key, config) => match self.servers_of(service)?.entry(key) {
                Entry::Vacant(entry) => insert(entry, config, order, origin),
                Entry::Occupied(_) => return Err(Error::server_exists(service, key)),
            },
            Op::SetServer(service, key, config) => self
                .servers_of(service)?
                .get_mut(&key)
                .ok_or_else(|| Error::server_not_found(service, key))?
                .edit(config, origin),
            Op::DeleteServer(service, key) => {
                let removed = self.servers_of(service)?.remove(&key);
                removed.ok_or_else(|| Error::server_not_found(service, key))?;
            }
            Op::Clear => {
                self.services.clear();
                self.stored.clear();
                self.servers.clear();
            }
            Op::ZeroAll
            | Op::ZeroService(_)
            | Op::SetTimeouts(_)
            | Op::StartSyncDaemon(_)
            | Op::StopSyncDaemon(_)
            | Op::SetSetting { .. } => {}
        }
        Ok(())
    }

    /// The configuration of a service; `None` if it does not exist.
    pub fn service(&self, key: ServiceKey) -> Option<ServiceConfig> {
        self.services.get(&key).map(|made| made.config)
    }

    /// The stored fields of a service.
    pub fn stored(&self, key: ServiceKey) -> StoredFields {
        self.stored.get(&key).cloned().unwrap_or_default()
    }

    /// The configuration of a server; `None` if it does not exist.
    pub fn server(&self, service: ServiceKey, key: ServerKey) -> Option<ServerConfig> {
        let made = self.servers.get(&service)?.get(&key);
        made.map(|made| made.config)
    }

    /// A service with its stored fields, without its servers and traffic; `None` if it does not exist.
    pub fn bare(&self, key: ServiceKey) -> Option<Service> {
        Some(Service {
            kept: Kept::storing(&None, self.stored(key)),
            ..Service::idle(key, self.service(key)?)
        })
    }

    /// A service with its servers in the kernel's order, without traffic; `None` if it does not exist.
    pub fn entry(&self, key: ServiceKey) -> Option<ServiceEntry> {
        let service = self.bare(key)?;
        let servers = self.servers.get(&key).into_iter().flatten();
        let mut servers: Vec<_> = servers.collect();
        servers.sort_unstable_by_key(|(_, made)| Reverse(made.order));
        let servers = servers.into_iter();
        Some(ServiceEntry {
            service,
            servers: servers
                .map(|(key, made)| Server::idle(*key, made.config))
                .collect(),
        })
    }

    /// Whether a service has servers.
    pub fn has_servers(&self, service: ServiceKey) -> bool {
        let servers = self.servers.get(&service);
        servers.is_some_and(|servers| !servers.is_empty())
    }

    /// The servers of a service, which must exist.
    fn servers_of(
        &mut self,
        service: ServiceKey,
    ) -> Result<&mut HashMap<ServerKey, Made<ServerConfig>>, Error> {
        match self.services.contains_key(&service) {
            true => Ok(self.servers.entry(service).or_default()),
            false => Err(Error::service_not_found(service)),
        }
    }

    /// The services and their servers, each in the order of their creation.
    pub fn into_services(mut self) -> Vec<TargetService> {
        in_order(self.services)
            .map(|(key, made)| {
                let servers = self.servers.remove(&key).unwrap_or_default();
                let servers = in_order(servers).map(|(key, made)| TargetServer {
                    key,
                    config: made.config,
                    origin: made.origin,
                });
                TargetService {
                    key,
                    config: made.config,
                    stored: self
                        .stored
                        .remove(&key)
                        .map_or_else(StoredTarget::default, StoredTarget::exactly),
                    servers: servers.collect(),
                    origin: made.origin,
                }
            })
            .collect()
    }
}

// === impl Made ===

impl<C> Made<C> {
    fn edit(&mut self, config: C, origin: usize) {
        self.config = config;
        self.origin = origin;
    }
}

fn insert<K, C>(entry: VacantEntry<'_, K, Made<C>>, config: C, order: usize, origin: usize) {
    entry.insert(Made {
        config,
        order,
        origin,
    });
}

fn in_order<K, C>(made: HashMap<K, Made<C>>) -> impl Iterator<Item = (K, Made<C>)> {
    let mut made: Vec<_> = made.into_iter().collect();
    made.sort_unstable_by_key(|(_, made)| made.order);
    made.into_iter()
}
