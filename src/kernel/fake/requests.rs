//! The commands that change something: every check of the kernel, in the kernel's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    abi::{
        AF_INET, AF_INET6, DAEMON, DEST, FLAG_HASHED, FORWARD_MASK, FORWARD_TUNNEL, NO_SCHEDULER,
        PERSISTENCE_ENGINES, PROTOCOL_TCP, SCHEDULERS, SVC, TUNNEL_GUE, command, daemon, dest, svc,
        top,
    },
    state::{Config, Daemon, State},
    table::{Counters, Destination, Service, ServiceId, is_host},
    wire::{Attributes, Errno},
};

impl State {
    /// Executes a command that changes something, given its top-level attributes.
    pub(super) fn set(&mut self, number: u8, attrs: &Attributes<'_>) -> Result<(), Errno> {
        match number {
            command::NEW_DAEMON => self.new_daemon(&attrs.nest(top::DAEMON, DAEMON)?),
            command::DEL_DAEMON => self.del_daemon(&attrs.nest(top::DAEMON, DAEMON)?),
            command::FLUSH => {
                self.table.clear();
                Ok(())
            }
            command::SET_CONFIG => self.set_config(attrs),
            command::ZERO if !attrs.has(top::SERVICE) => {
                self.table.services_mut().for_each(zero);
                self.totals = Counters::default();
                Ok(())
            }
            _ => self.set_table(number, attrs),
        }
    }

    fn set_table(&mut self, number: u8, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let nest = attrs.nest(top::SERVICE, SVC)?;
        let id = service_id(&nest, &self.config)?;
        if matches!(number, command::NEW_SERVICE | command::SET_SERVICE) {
            let old = self.table.get(&id);
            let wanted = Parameters::parse(&nest, old.map_or(0, |old| old.flags))?;
            let exists = old.is_some();
            return match number {
                command::NEW_SERVICE if exists => Err(libc::EEXIST),
                command::NEW_SERVICE => self.new_service(id, wanted),
                _ => self.set_service(id, wanted),
            };
        }
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        match number {
            command::ZERO => {
                zero(service);
                Ok(())
            }
            command::DEL_SERVICE => self.table.remove(&id),
            _ => self.set_dest(number, id, attrs),
        }
    }

    fn new_service(&mut self, id: ServiceId, wanted: Parameters) -> Result<(), Errno> {
        self.look_up(&id, &wanted)?;
        let mut new = Service::new(id);
        wanted.put_into(&mut new, self.config.hz);
        self.table.insert(new);
        Ok(())
    }

    fn set_service(&mut self, id: ServiceId, wanted: Parameters) -> Result<(), Errno> {
        if self.table.get(&id).is_none() {
            return Err(libc::ESRCH);
        }
        self.look_up(&id, &wanted)?;
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        wanted.put_into(service, self.config.hz);
        Ok(())
    }

    /// Scheduler, persistence engine and IPv6 prefix length, in this order.
    fn look_up(&mut self, id: &ServiceId, wanted: &Parameters) -> Result<(), Errno> {
        if wanted.scheduler != NO_SCHEDULER {
            let known = SCHEDULERS.iter().find(|name| **name == wanted.scheduler);
            self.modules.insert(known.ok_or(libc::ENOENT)?);
        }
        if let Some(engine) = &wanted.engine {
            let mut known = PERSISTENCE_ENGINES.iter();
            let module = known.find(|module| module.strip_prefix("pe_") == Some(engine));
            self.modules.insert(module.ok_or(libc::ENOENT)?);
        }
        if id.is_ipv6() && !(1..=128).contains(&u32::from_ne_bytes(wanted.netmask)) {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    fn set_dest(&mut self, number: u8, id: ServiceId, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let nest = attrs.nest(top::DEST, DEST)?;
        let full = number != command::DEL_DEST;
        let wanted = destination(&nest, &id, full, &self.config)?;
        let is_mixed = wanted.address.is_ipv6() != id.is_ipv6();
        if is_mixed && full && (self.daemons.any() || wanted.forward != FORWARD_TUNNEL) {
            return Err(libc::EINVAL);
        }
        if !full {
            return self.table.remove_destination(&id, wanted.address);
        }

        if i32::try_from(wanted.weight).is_err() || wanted.lower > wanted.upper {
            return Err(libc::ERANGE);
        }
        if wanted.tunnel_type == TUNNEL_GUE && wanted.tunnel_port == 0 {
            return Err(libc::EINVAL);
        }
        let service = self.table.get_mut(&id).ok_or(libc::ESRCH)?;
        if number == command::SET_DEST {
            let old = service
                .destination_mut(wanted.address)
                .ok_or(libc::ENOENT)?;
            let (connections, counters) = (old.connections, old.counters);
            *old = Destination {
                connections,
                counters,
                ..wanted
            };
            return Ok(());
        }
        if service.destination(wanted.address).is_some() {
            return Err(libc::EEXIST);
        }
        if !service.in_trash(wanted.address)
            && !is_host(wanted.address.ip(), &self.config.broadcasts)
        {
            return Err(libc::EINVAL);
        }
        self.table.insert_destination(&id, wanted)
    }

    fn set_config(&mut self, attrs: &Attributes<'_>) -> Result<(), Errno> {
        let wanted = [top::TIMEOUT_TCP, top::TIMEOUT_TCP_FIN, top::TIMEOUT_UDP]
            .map(|number| attrs.u32(number).unwrap_or(0));
        let limit = i32::MAX as u32 / self.config.hz.max(1);
        if wanted.iter().any(|seconds| *seconds > limit) {
            return Err(libc::EINVAL);
        }
        let kept = &mut self.timeouts;
        for (kept, wanted) in [&mut kept.tcp, &mut kept.tcp_fin, &mut kept.udp]
            .into_iter()
            .zip(wanted)
        {
            if wanted != 0 {
                *kept = wanted;
            }
        }
        Ok(())
    }

    fn new_daemon(&mut self, nest: &Attributes<'_>) -> Result<(), Errno> {
        let (Some(state), Some(interface), Some(sync_id)) = (
            nest.u32(daemon::STATE),
            nest.text(daemon::MCAST_IFN),
            nest.u32(daemon::SYNC_ID),
        ) else {
            return Err(libc::EINVAL);
        };
        let group = daemon_group(nest);
        if !group.is_multicast() || self.table.is_mixed() {
            return Err(libc::EINVAL);
        }
        let mtu = *self.config.interfaces.get(&interface).ok_or(libc::ENODEV)?;
        let (slot, mtu, least) = match state {
            STATE_MASTER => (&mut self.daemons.master, 1500, 1),
            STATE_BACKUP => (&mut self.daemons.backup, mtu.clamp(1500, 65535), 1024),
            _ => return Err(libc::EINVAL),
        };
        if slot.is_some() {
            return Err(libc::EEXIST);
        }
        let headers = if group.is_ipv6() { 48 } else { 28 };
        let maxlen = match nest.u16(daemon::SYNC_MAXLEN).unwrap_or(0) {
            0 => mtu - headers,
            given => u32::from(given).clamp(least, 65535 - headers),
        };
        *slot = Some(Daemon {
            interface,
            sync_id,
            maxlen: maxlen as u16,
            group,
            port: nest
                .u16(daemon::MCAST_PORT)
                .filter(|port| *port != 0)
                .unwrap_or(8848),
            ttl: nest
                .u8(daemon::MCAST_TTL)
                .filter(|ttl| *ttl != 0)
                .unwrap_or(1),
        });
        Ok(())
    }

    fn del_daemon(&mut self, nest: &Attributes<'_>) -> Result<(), Errno> {
        let slot = match nest.u32(daemon::STATE) {
            Some(STATE_MASTER) => &mut self.daemons.master,
            Some(STATE_BACKUP) => &mut self.daemons.backup,
            _ => return Err(libc::EINVAL),
        };
        slot.take().map(drop).ok_or(libc::ESRCH)
    }
}

pub(super) const STATE_MASTER: u32 = 1;
pub(super) const STATE_BACKUP: u32 = 2;

/// IPv4's group wins when both are given; without any it is IPv4's default.
fn daemon_group(nest: &Attributes<'_>) -> IpAddr {
    nest.address(daemon::MCAST_GROUP, false)
        .or_else(|| nest.address(daemon::MCAST_GROUP6, true))
        .unwrap_or(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81)))
}

fn zero(service: &mut Service) {
    service.counters = Counters::default();
    service
        .destinations_mut()
        .for_each(|dest| dest.counters = Counters::default());
}

/// What a service is made of besides its identity.
struct Parameters {
    scheduler: String,
    engine: Option<String>,
    flags: u32,
    timeout: u32,
    netmask: [u8; 4],
}

impl Parameters {
    fn parse(nest: &Attributes<'_>, old_flags: u32) -> Result<Self, Errno> {
        let (Some(scheduler), Some(flags), Some(timeout), Some(netmask)) = (
            nest.text(svc::SCHED_NAME),
            nest.get(svc::FLAGS),
            nest.u32(svc::TIMEOUT),
            nest.u32(svc::NETMASK),
        ) else {
            return Err(libc::EINVAL);
        };
        let word = |at: usize| {
            let mut bytes = [0; 4];
            for (to, from) in bytes.iter_mut().zip(flags.iter().skip(at)) {
                *to = *from;
            }
            u32::from_ne_bytes(bytes)
        };
        let (flags, mask) = (word(0), word(4));
        Ok(Self {
            scheduler,
            engine: nest.text(svc::PE_NAME).filter(|name| !name.is_empty()),
            flags: (old_flags & !mask) | (flags & mask),
            timeout,
            netmask: netmask.to_ne_bytes(),
        })
    }

    fn put_into(self, service: &mut Service, hz: u32) {
        service.scheduler = self.scheduler;
        service.engine = self.engine;
        service.flags = self.flags | FLAG_HASHED;
        service.timeout = self.timeout.wrapping_mul(hz);
        service.netmask = self.netmask;
    }
}

/// Parses the identity of a service.
pub(super) fn service_id(nest: &Attributes<'_>, config: &Config) -> Result<ServiceId, Errno> {
    let family = nest.u16(svc::AF).ok_or(libc::EINVAL)?;
    let by_address = nest.has(svc::PROTOCOL) && nest.has(svc::ADDR) && nest.has(svc::PORT);
    let mark = nest.u32(svc::FWMARK);
    if mark.is_none() && !by_address {
        return Err(libc::EINVAL);
    }
    let ipv6 = is_ipv6(family, config)?;
    let any = if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    Ok(match mark {
        // The kernel's own confusion: mark 0 is no mark, but nothing else was parsed either.
        Some(0) => ServiceId::tcp(SocketAddr::new(any, 0)),
        Some(mark) => ServiceId::Mark { mark, ipv6 },
        None => ServiceId::Address {
            protocol: nest.u16(svc::PROTOCOL).unwrap_or(PROTOCOL_TCP),
            address: SocketAddr::new(
                nest.address(svc::ADDR, ipv6).unwrap_or(any),
                nest.port(svc::PORT).unwrap_or(0),
            ),
        },
    })
}

fn is_ipv6(family: u16, config: &Config) -> Result<bool, Errno> {
    match family {
        AF_INET => Ok(false),
        AF_INET6 if config.ipv6 => Ok(true),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

/// Parses a real server; all of it when `full`, else its identity.
fn destination(
    nest: &Attributes<'_>,
    service: &ServiceId,
    full: bool,
    config: &Config,
) -> Result<Destination, Errno> {
    if !(nest.has(dest::ADDR) && nest.has(dest::PORT)) {
        return Err(libc::EINVAL);
    }
    let needed = [
        dest::FWD_METHOD,
        dest::WEIGHT,
        dest::U_THRESH,
        dest::L_THRESH,
    ];
    if full && !needed.iter().all(|number| nest.has(*number)) {
        return Err(libc::EINVAL);
    }
    let ipv6 = match nest.u16(dest::ADDR_FAMILY).unwrap_or(0) {
        0 => service.is_ipv6(),
        family => is_ipv6(family, config)?,
    };
    let (Some(ip), Some(port)) = (nest.address(dest::ADDR, ipv6), nest.port(dest::PORT)) else {
        return Err(libc::EINVAL);
    };
    let number = |at: usize| nest.u32(at).unwrap_or(0);
    Ok(Destination {
        forward: number(dest::FWD_METHOD) & FORWARD_MASK,
        weight: number(dest::WEIGHT),
        upper: number(dest::U_THRESH),
        lower: number(dest::L_THRESH),
        tunnel_type: nest.u8(dest::TUN_TYPE).unwrap_or(0),
        tunnel_port: nest.port(dest::TUN_PORT).unwrap_or(0),
        tunnel_flags: nest.u16(dest::TUN_FLAGS).unwrap_or(0),
        ..Destination::new(SocketAddr::new(ip, port))
    })
}
