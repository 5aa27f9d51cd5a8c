//! The commands that change state: the kernel's checks in the kernel's order.

use super::{
    abi::{NO_SCHEDULER, PERSISTENCE_ENGINES, SCHEDULERS},
    counters::Counters,
    destination::{self, Destination, is_unicast},
    service::{self, Parameters, Service, ServiceId},
    state::State,
    sync_daemon::{self, Start},
    wire::{Attributes, Errno},
};
use crate::codec::uapi::{command, daemon, top};

impl State {
    /// Executes a command that changes state, given its top-level attributes.
    pub(super) fn change(&mut self, number: u8, attrs: &Attributes<'_>) -> Result<(), Errno> {
        match number {
            command::NEW_DAEMON => self.new_daemon(attrs),
            command::DEL_DAEMON => self.del_daemon(attrs),
            command::FLUSH => {
                self.table.clear();
                Ok(())
            }
            command::SET_CONFIG => self.set_config(attrs),
            command::ZERO if !attrs.has(top::SERVICE) => {
                self.table.services_mut().for_each(Service::zero);
                self.totals = Counters::default();
                Ok(())
            }
            _ => self.change_service(number, attrs),
        }
    }

    fn change_service(&mut self, number: u8, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let nest = attrs.nest(top::SERVICE, &service::POLICY)?;
        let id = ServiceId::parse(&nest, self.config.ipv6)?;
        if matches!(number, command::NEW_SERVICE | command::SET_SERVICE) {
            let old = self.table.get(&id);
            let new = Parameters::parse(&nest, old.map_or(0, |old| old.flags))?;
            let exists = old.is_some();
            return match number {
                command::NEW_SERVICE if exists => Err(libc::EEXIST),
                command::NEW_SERVICE => self.new_service(id, new),
                _ => self.set_service(id, new),
            };
        }
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        match number {
            command::ZERO => {
                service.zero();
                Ok(())
            }
            command::DEL_SERVICE => self.table.remove(&id),
            _ => self.change_destination(number, id, attrs),
        }
    }

    fn new_service(&mut self, id: ServiceId, parameters: Parameters) -> Result<(), Errno> {
        self.load_modules(&id, &parameters)?;
        let mut service = Service::new(id);
        parameters.apply(&mut service, self.config.hz);
        self.table.insert(service);
        Ok(())
    }

    fn set_service(&mut self, id: ServiceId, parameters: Parameters) -> Result<(), Errno> {
        if self.table.get(&id).is_none() {
            return Err(libc::ESRCH);
        }
        self.load_modules(&id, &parameters)?;
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        parameters.apply(service, self.config.hz);
        Ok(())
    }

    /// Loads the modules of scheduler and persistence engine, and then checks the IPv6 prefix
    /// length. The kernel has this order.
    fn load_modules(&mut self, id: &ServiceId, parameters: &Parameters) -> Result<(), Errno> {
        let scheduler = &parameters.scheduler;
        if scheduler != NO_SCHEDULER {
            let known = SCHEDULERS.iter().find(|name| *name == scheduler);
            self.modules.insert(known.ok_or(libc::ENOENT)?);
        }
        if let Some(engine) = &parameters.engine {
            let mut known = PERSISTENCE_ENGINES.iter();
            let module = known.find(|module| module.strip_prefix("pe_") == Some(engine));
            self.modules.insert(module.ok_or(libc::ENOENT)?);
        }
        if id.is_ipv6() && !(1..=128).contains(&u32::from_ne_bytes(parameters.netmask)) {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    fn change_destination(
        &mut self,
        number: u8,
        id: ServiceId,
        attrs: &Attributes<'_>,
    ) -> Result<(), Errno> {
        let nest = attrs.nest(top::DEST, &destination::POLICY)?;
        let full = number != command::DEL_DEST;
        let new = Destination::parse(&nest, id.is_ipv6(), full, self.config.ipv6)?;
        if !full {
            return self.table.remove_destination(&id, new.address);
        }
        if new.is_mixed(id.is_ipv6()) && (self.daemons.any() || !new.is_tunnel()) {
            return Err(libc::EINVAL);
        }
        new.check()?;
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        if number == command::SET_DEST {
            let old = service.destination_mut(new.address).ok_or(libc::ENOENT)?;
            old.update(new);
            return Ok(());
        }
        if service.destination(new.address).is_some() {
            return Err(libc::EEXIST);
        }
        if !service.in_trash(new.address) && !is_unicast(new.address.ip(), &self.config.broadcasts)
        {
            return Err(libc::EINVAL);
        }
        self.table.insert_destination(&id, new)
    }

    fn set_config(&mut self, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let new = [top::TIMEOUT_TCP, top::TIMEOUT_TCP_FIN, top::TIMEOUT_UDP]
            .map(|number| attrs.u32(number).unwrap_or(0));
        let limit = i32::MAX as u32 / self.config.hz.max(1);
        if new.iter().any(|seconds| *seconds > limit) {
            return Err(libc::EINVAL);
        }
        let timeouts = &mut self.timeouts;
        for (timeout, new) in [&mut timeouts.tcp, &mut timeouts.tcp_fin, &mut timeouts.udp]
            .into_iter()
            .zip(new)
        {
            // That of a protocol that the kernel was built without is 0.
            if new != 0 && *timeout != 0 {
                *timeout = new;
            }
        }
        Ok(())
    }

    fn new_daemon(&mut self, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let start = Start::parse(&attrs.nest(top::DAEMON, &sync_daemon::POLICY)?)?;
        if !start.group.is_multicast() || self.table.is_mixed() {
            return Err(libc::EINVAL);
        }
        let interface = self.config.interfaces.get(&start.interface);
        let interface = *interface.ok_or(libc::ENODEV)?;
        self.last_inode += 1;
        let inode = self.last_inode;
        let slot = self.daemons.slot(start.state)?;
        if slot.is_some() {
            return Err(libc::EEXIST);
        }
        *slot = Some(start.daemon(interface, inode)?);
        Ok(())
    }

    fn del_daemon(&mut self, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let nest = attrs.nest(top::DAEMON, &sync_daemon::POLICY)?;
        let slot = self.daemons.slot(nest.u32(daemon::STATE).unwrap_or(0))?;
        slot.take().map(drop).ok_or(libc::ESRCH)
    }
}
