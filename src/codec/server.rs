//! The nest of a real server.

use super::{
    attributes::{
        Attributes, address_bytes, family_from, family_number, find, read_address, read_u8,
        read_u16, read_u16_be, read_u32,
    },
    counters::counters,
    server_layout::{forwarding, server_in_order},
    uapi::{dest, top},
    wire::{attribute, nest},
};
use crate::model::{Family, Forwarding, Server, ServerConfig, ServerKey, Tunnel};

/// Appends the nest of a server: its key, and its configuration if the command sets it.
pub(super) fn put_server(out: &mut Vec<u8>, key: ServerKey, config: Option<&ServerConfig>) {
    let ServerKey { address, port } = key;
    nest(out, top::DEST, |out| {
        let family = family_number(Family::of(address));
        attribute(out, dest::ADDR_FAMILY, &family.to_ne_bytes());
        attribute(out, dest::ADDR, &address_bytes(address));
        attribute(out, dest::PORT, &port.to_be_bytes());
        if let Some(config) = config {
            put_config(out, config);
        }
    });
}

/// Appends all attributes of the configuration. The kernel resets those that are absent.
fn put_config(out: &mut Vec<u8>, config: &ServerConfig) {
    let ServerConfig {
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel: Tunnel {
            kind,
            port,
            checksum,
        },
    } = *config;
    let method = u32::from(forwarding.number());
    attribute(out, dest::FWD_METHOD, &method.to_ne_bytes());
    attribute(out, dest::WEIGHT, &weight.to_ne_bytes());
    attribute(out, dest::U_THRESH, &upper_threshold.to_ne_bytes());
    attribute(out, dest::L_THRESH, &lower_threshold.to_ne_bytes());
    attribute(out, dest::TUN_TYPE, &[kind.number()]);
    attribute(out, dest::TUN_PORT, &port.to_be_bytes());
    attribute(out, dest::TUN_FLAGS, &checksum.number().to_ne_bytes());
}

/// The server in a message of `GET_DEST`, of a service of this family; `None` if the message is
/// invalid.
pub fn server(message: &[u8], service: Family) -> Option<Server> {
    let nest = find(message, top::DEST)?;
    server_in_order(nest, service).or_else(|| server_in_any_order(nest, service))
}

/// The server in a nest of any layout.
pub(super) fn server_in_any_order(nest: &[u8], service: Family) -> Option<Server> {
    let nest = Attributes::<{ dest::SLOTS }>::parse(nest);
    // Kernels before 3.18 do not send the family: servers have that of their service.
    let family = nest.read(dest::ADDR_FAMILY, None, |value| {
        read_u16(value).map(family_from)
    })?;
    let address = read_address(family.unwrap_or(service), nest.get(dest::ADDR)?)?;
    let (stats, rates) = counters(&nest, dest::STATS, dest::STATS64);
    let weight = nest.read(dest::WEIGHT, 0, read_u32)?;
    Some(Server {
        key: ServerKey {
            address,
            port: nest.read(dest::PORT, 0, read_u16_be)?,
        },
        config: ServerConfig {
            forwarding: nest.read(dest::FWD_METHOD, Forwarding::Direct, |value| {
                read_u32(value).map(forwarding)
            })?,
            weight,
            upper_threshold: nest.read(dest::U_THRESH, 0, read_u32)?,
            lower_threshold: nest.read(dest::L_THRESH, 0, read_u32)?,
            tunnel: Tunnel {
                kind: nest.read(dest::TUN_TYPE, 0, read_u8)?.into(),
                port: nest.read(dest::TUN_PORT, 0, read_u16_be)?,
                checksum: nest.read(dest::TUN_FLAGS, 0, read_u16)?.into(),
            },
        },
        effective_weight: weight,
        holds: None,
        membership: None,
        active_connections: nest.read(dest::ACTIVE_CONNS, 0, read_u32)?,
        inactive_connections: nest.read(dest::INACT_CONNS, 0, read_u32)?,
        persistent_connections: nest.read(dest::PERSIST_CONNS, 0, read_u32)?,
        stats,
        rates,
    })
}
