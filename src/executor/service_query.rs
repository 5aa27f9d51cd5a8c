//! Queries of a single service, which may share the send of the operations before them.

use std::sync::Arc;

use super::{
    query::TypedQuery,
    service_state::{Servers, ServiceRead, ServiceState},
};
use crate::{
    codec,
    model::{Errno, Error, Kept, Op, Query, Server, ServerKey, Service, ServiceEntry, ServiceKey},
    watch::Seen,
};

/// [`Query::Service`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceQuery(pub ServiceKey);

/// [`Query::ServiceWithServers`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceWithServersQuery(pub ServiceKey);

/// [`Query::Servers`]; `None` if the service does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServersQuery(pub ServiceKey);

/// [`Query::Server`]: one server of a service; `None` if the service does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerQuery(pub ServiceKey, pub ServerKey);

/// The result of a [`ServerQuery`].
#[derive(Clone, Debug)]
pub struct FoundServer {
    /// The server, if it exists.
    pub server: Option<Server>,
    /// The number of servers of its service.
    pub servers: usize,
}

// === impl TypedQuery ===

impl TypedQuery for ServiceQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Service(self.0))
    }

    fn service_read(&self) -> Option<ServiceRead> {
        Some(ServiceRead {
            key: self.0,
            service: true,
            servers: Servers::None,
        })
    }

    fn from_state(state: ServiceState) -> Option<Self::Answer> {
        Some(state.service?.ok().map(Self::entry))
    }

    fn show(&self, entry: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(match entry {
            Some(entry) => Seen::Service(self.0, &entry.service.config),
            None => Seen::Missing(self.0),
        });
    }

    fn project(entry: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        match entry {
            Some(_) => Ok(()),
            None => Err(codec::rejected(op, Errno::ESRCH, true)),
        }
    }
}

impl ServiceQuery {
    /// The result for a service that exists.
    pub(super) fn entry(service: Service) -> Arc<ServiceEntry> {
        Arc::new(ServiceEntry {
            service,
            servers: Vec::new(),
        })
    }
}

impl TypedQuery for ServiceWithServersQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::ServiceWithServers(self.0))
    }

    fn service_read(&self) -> Option<ServiceRead> {
        Some(ServiceRead {
            key: self.0,
            service: true,
            servers: Servers::All,
        })
    }

    fn from_state(state: ServiceState) -> Option<Self::Answer> {
        let ServiceState {
            service, servers, ..
        } = state;
        let entry = |service| Arc::new(ServiceEntry { service, servers });
        Some(service?.ok().map(entry))
    }

    fn show(&self, entry: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        match entry {
            Some(entry) => {
                see(Seen::Service(self.0, &entry.service.config));
                see(Seen::Servers(self.0, &entry.servers));
            }
            None => see(Seen::Missing(self.0)),
        }
    }

    fn shows(entry: &Self::Answer, _op: &Op) -> bool {
        entry.is_some()
    }

    fn project(entry: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match (op, entry.as_mut().map(Arc::make_mut)) {
            (Op::CreateService(key, config, stored), None) => {
                let mut service = Service::idle(*key, *config);
                service.kept = Kept::storing(&None, stored.clone());
                *entry = Some(ServiceQuery::entry(service));
                Ok(())
            }
            (Op::CreateService(..), Some(_)) => Err(Errno::EEXIST),
            (Op::DeleteService(_), Some(_)) => {
                *entry = None;
                Ok(())
            }
            (Op::SetService(_, config), Some(entry)) => {
                entry.service.config = *config;
                Ok(())
            }
            (Op::SetStored(_, stored), Some(entry)) => {
                let kept = &mut entry.service.kept;
                *kept = Kept::storing(kept, stored.clone());
                Ok(())
            }
            (op, Some(entry)) => project_servers(&mut entry.servers, op),
            (_, None) => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

impl TypedQuery for ServersQuery {
    type Answer = Option<Arc<Vec<Server>>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Servers(self.0))
    }

    fn service_read(&self) -> Option<ServiceRead> {
        Some(ServiceRead {
            key: self.0,
            service: false,
            servers: Servers::All,
        })
    }

    fn from_state(state: ServiceState) -> Option<Self::Answer> {
        let exists = !matches!(state.service, Some(Err(_)));
        Some(exists.then(|| Arc::new(state.servers)))
    }

    fn show(&self, servers: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(match servers {
            Some(servers) => Seen::Servers(self.0, servers),
            None => Seen::Missing(self.0),
        });
    }

    fn shows(servers: &Self::Answer, op: &Op) -> bool {
        match (op, servers) {
            (Op::CreateServer(_, key, _) | Op::SetServer(_, key, _), Some(servers)) => {
                servers.iter().any(|server| server.key == *key)
            }
            (_, servers) => servers.is_some(),
        }
    }

    fn project(servers: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match servers {
            Some(servers) => project_servers(Arc::make_mut(servers), op),
            None => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

impl TypedQuery for ServerQuery {
    type Answer = Option<FoundServer>;

    fn query(&self) -> Option<Query> {
        Some(Query::Server(self.0, self.1))
    }

    fn service_read(&self) -> Option<ServiceRead> {
        Some(ServiceRead {
            key: self.0,
            service: false,
            servers: Servers::One(self.1),
        })
    }

    fn from_state(state: ServiceState) -> Option<Self::Answer> {
        let exists = !matches!(state.service, Some(Err(_)));
        Some(exists.then(|| FoundServer {
            server: state.servers.first().cloned(),
            servers: state.count,
        }))
    }

    fn show(&self, found: &Self::Answer, see: &mut dyn FnMut(Seen<'_>)) {
        see(match found {
            Some(found) => {
                let config = found.server.as_ref().map(|server| &server.config);
                Seen::Server(self.0, self.1, config)
            }
            None => Seen::Missing(self.0),
        });
    }

    fn shows(found: &Self::Answer, op: &Op) -> bool {
        match (op, found) {
            (Op::CreateServer(..) | Op::SetServer(..), found) => {
                found.as_ref().is_some_and(|found| found.server.is_some())
            }
            (_, found) => found.is_some(),
        }
    }

    fn project(found: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match found {
            Some(found) => {
                let mut servers = found.server.take().into_iter().collect();
                let result = project_servers(&mut servers, op);
                found.server = servers.pop();
                result
            }
            None => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

/// Changes the servers of a service as executing `op` would, or fails as the kernel would.
fn project_servers(servers: &mut Vec<Server>, op: &Op) -> Result<(), Errno> {
    let position = |key| servers.iter().position(|server: &Server| server.key == key);
    match op {
        Op::CreateServer(_, key, config) => {
            if position(*key).is_some() {
                return Err(Errno::EEXIST);
            }
            // The kernel inserts a new server before the others.
            servers.insert(0, Server::idle(*key, *config));
        }
        Op::SetServer(_, key, config) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            let server = &mut servers[position];
            // A hold ends when the intended weight changes.
            if server.config.weight != config.weight {
                server.effective_weight = config.weight;
                server.holds = None;
            }
            server.config = *config;
        }
        Op::DeleteServer(_, key) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            servers.remove(position);
        }
        _ => {}
    }
    Ok(())
}
