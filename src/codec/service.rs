//! The nest of a virtual service.

use super::{
    attributes::{
        Attributes, address_bytes, family_from, family_number, find, read_address, read_u16,
        read_u16_be, read_u32,
    },
    counters::counters,
    uapi::{SVC_F_ONEPACKET, SVC_F_PERSISTENT, svc, top},
    wire::{attribute, nest, text},
};
use crate::model::{Family, Name, Netmask, SchedulerFlags, Service, ServiceConfig, ServiceKey};

/// Appends the nest of a service: its key, and its configuration if the command sets it.
pub(super) fn put_service(out: &mut Vec<u8>, key: ServiceKey, config: Option<&ServiceConfig>) {
    nest(out, top::SERVICE, |out| {
        attribute(out, svc::AF, &family_number(key.family()).to_ne_bytes());
        match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                attribute(out, svc::PROTOCOL, &protocol.number().to_ne_bytes());
                attribute(out, svc::ADDR, &address_bytes(address));
                attribute(out, svc::PORT, &port.to_be_bytes());
            }
            ServiceKey::Fwmark { mark, family: _ } => {
                attribute(out, svc::FWMARK, &mark.to_ne_bytes());
            }
        }
        if let Some(config) = config {
            put_config(out, config);
        }
    });
}

/// Appends all attributes of the configuration. The kernel resets those that are absent.
fn put_config(out: &mut Vec<u8>, config: &ServiceConfig) {
    let ServiceConfig {
        scheduler,
        scheduler_flags,
        one_packet,
        persistence_timeout,
        netmask,
        persistence_engine,
    } = *config;
    text(out, svc::SCHED_NAME, scheduler.as_str());
    if let Some(engine) = persistence_engine {
        text(out, svc::PE_NAME, engine.as_str());
    }
    let mut flags = scheduler_flags.bits();
    if persistence_timeout.is_some() {
        flags |= SVC_F_PERSISTENT;
    }
    if one_packet {
        flags |= SVC_F_ONEPACKET;
    }
    // Flags and mask. The kernel keeps the flags outside the mask, such as SVC_F_HASHED.
    let mask = SVC_F_PERSISTENT | SVC_F_ONEPACKET | SchedulerFlags::MASK;
    let mut pair = [0; 8];
    pair[..4].copy_from_slice(&flags.to_ne_bytes());
    pair[4..].copy_from_slice(&mask.to_ne_bytes());
    attribute(out, svc::FLAGS, &pair);
    let timeout = persistence_timeout.unwrap_or(0);
    attribute(out, svc::TIMEOUT, &timeout.to_ne_bytes());
    // IPv4: a mask in network order; IPv6: a prefix length in host order.
    let netmask = match netmask {
        Netmask::V4(mask) => mask.octets(),
        Netmask::V6(length) => length.to_ne_bytes(),
    };
    attribute(out, svc::NETMASK, &netmask);
}

/// The service in a message of `GET_SERVICE`; `None` if the message is invalid.
pub fn service(message: &[u8]) -> Option<Service> {
    let nest = Attributes::<{ svc::SLOTS }>::parse(find(message, top::SERVICE)?);
    let family = family_from(read_u16(nest.get(svc::AF)?)?)?;
    let mark = nest.read(svc::FWMARK, 0, read_u32)?;
    let key = if mark != 0 {
        ServiceKey::Fwmark { family, mark }
    } else {
        ServiceKey::Address {
            protocol: nest.read(svc::PROTOCOL, 0, read_u16)?.into(),
            address: read_address(family, nest.get(svc::ADDR)?)?,
            port: nest.read(svc::PORT, 0, read_u16_be)?,
        }
    };
    let netmask = nest.get(svc::NETMASK).and_then(|netmask| match family {
        Family::Ipv4 => netmask
            .first_chunk::<4>()
            .map(|mask| Netmask::V4((*mask).into())),
        Family::Ipv6 => read_u32(netmask).map(Netmask::V6),
    });
    let flags = nest.read(svc::FLAGS, 0, read_u32)?;
    let timeout = nest.read(svc::TIMEOUT, 0, read_u32)?;
    let engine = nest.get(svc::PE_NAME).map(Name::from_kernel);
    let (stats, rates) = counters(&nest, svc::STATS, svc::STATS64);
    Some(Service {
        key,
        config: ServiceConfig {
            scheduler: Name::from_kernel(nest.get(svc::SCHED_NAME).unwrap_or(b"none")),
            scheduler_flags: SchedulerFlags::from_bits(flags),
            one_packet: flags & SVC_F_ONEPACKET != 0,
            persistence_timeout: (flags & SVC_F_PERSISTENT != 0).then_some(timeout),
            netmask: netmask.unwrap_or(Netmask::full(family)),
            persistence_engine: engine.filter(|engine| !engine.as_str().is_empty()),
        },
        stats,
        rates,
        kept: None,
    })
}
