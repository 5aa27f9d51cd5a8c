//! The table of virtual services, in the kernel's dump order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use super::{
    destination::Destination,
    service::{Service, ServiceId},
    wire::Errno,
};

/// All services in the order of the kernel's dumps: hash table, bucket, newest first.
#[derive(Debug, Default)]
pub(super) struct Table {
    services: BTreeMap<Position, Service>,
    positions: HashMap<ServiceId, Position>,
    next: u64,
    /// Number of real servers of another address family than their service.
    mixed: usize,
}

type Position = ((u8, u8), Reverse<u64>);

impl Table {
    pub(super) fn get(&self, id: &ServiceId) -> Option<&Service> {
        self.services.get(self.positions.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &ServiceId) -> Option<&mut Service> {
        self.services.get_mut(self.positions.get(id)?)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    pub(super) fn services_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.services.values_mut()
    }

    pub(super) fn insert(&mut self, service: Service) {
        let position = (service.id.bucket(), Reverse(self.next));
        self.next += 1;
        self.mixed += mixed(&service);
        self.positions.insert(service.id, position);
        self.services.insert(position, service);
    }

    pub(super) fn remove(&mut self, id: &ServiceId) -> Result<(), Errno> {
        let position = self.positions.remove(id).ok_or(libc::ESRCH)?;
        let old = self.services.remove(&position).ok_or(libc::ESRCH)?;
        self.mixed -= mixed(&old);
        Ok(())
    }

    pub(super) fn insert_destination(
        &mut self,
        id: &ServiceId,
        new: Destination,
    ) -> Result<(), Errno> {
        let service = self.get_mut(id).ok_or(libc::ESRCH)?;
        service.insert(new);
        self.mixed += usize::from(new.is_mixed(id.is_ipv6()));
        Ok(())
    }

    pub(super) fn remove_destination(
        &mut self,
        id: &ServiceId,
        address: SocketAddr,
    ) -> Result<(), Errno> {
        let old = self.get_mut(id).ok_or(libc::ESRCH)?.remove(address)?;
        self.mixed -= usize::from(old.is_mixed(id.is_ipv6()));
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.services.clear();
        self.positions.clear();
        self.mixed = 0;
    }

    /// Whether any real server is of another address family than its service. No sync daemon can
    /// be started then.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed > 0
    }
}

fn mixed(service: &Service) -> usize {
    let ipv6 = service.id.is_ipv6();
    service
        .destinations()
        .filter(|destination| destination.is_mixed(ipv6))
        .count()
}
