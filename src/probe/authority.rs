//! The name of a server in requests.

use std::net::SocketAddr;

use crate::model::HealthCheck;

/// `host` of the check, else the address, with its port if that is not the usual one.
pub(super) fn authority(check: &HealthCheck, address: SocketAddr, usual: u16) -> String {
    match &check.host {
        Some(host) => host.clone(),
        None if address.port() != usual => address.to_string(),
        None if address.is_ipv6() => format!("[{}]", address.ip()),
        None => address.ip().to_string(),
    }
}
