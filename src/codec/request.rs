//! Operations and reads as netlink requests.

use neli::consts::{
    genl::{CtrlAttr, CtrlCmd},
    nl::GenlId,
};

use super::{
    server::put_server,
    service::put_service,
    sync_daemon::{put_sync_daemon, put_sync_state},
    uapi::{self, command, top},
    wire::{self, Head, attribute, text},
};
use crate::model::{Op, ServiceKey, Timeouts};

/// A request whose reply is one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Get {
    /// `IPVS_CMD_GET_INFO`.
    Info,
    /// `IPVS_CMD_GET_CONFIG`.
    Timeouts,
    /// `IPVS_CMD_GET_SERVICE` of one service.
    Service(ServiceKey),
}

/// Appends a request for the number of the IPVS family. The kernel loads the module on demand.
pub fn resolve_family(out: &mut Vec<u8>, seq: u32) {
    let head = Head {
        family: GenlId::Ctrl.into(),
        seq,
        ack: false,
    };
    wire::request(out, head, false, CtrlCmd::Getfamily.into(), |out| {
        text(out, CtrlAttr::FamilyName.into(), uapi::FAMILY_NAME);
    });
}

/// Appends an operation. [`Op::SetSetting`] and [`Op::SetStored`] are no netlink commands and append nothing.
pub fn op(out: &mut Vec<u8>, head: Head, op: &Op) {
    let mut put = |command: u8, attributes: &dyn Fn(&mut Vec<u8>)| {
        wire::request(out, head, false, command, attributes);
    };
    match op {
        Op::CreateService(key, config, _) => put(command::NEW_SERVICE, &|out| {
            put_service(out, *key, Some(config));
        }),
        Op::SetService(key, config) => put(command::SET_SERVICE, &|out| {
            put_service(out, *key, Some(config));
        }),
        Op::DeleteService(key) => put(command::DEL_SERVICE, &|out| put_service(out, *key, None)),
        Op::CreateServer(key, server, config) => put(command::NEW_DEST, &|out| {
            put_service(out, *key, None);
            put_server(out, *server, Some(config));
        }),
        Op::SetServer(key, server, config) => put(command::SET_DEST, &|out| {
            put_service(out, *key, None);
            put_server(out, *server, Some(config));
        }),
        Op::DeleteServer(key, server) => put(command::DEL_DEST, &|out| {
            put_service(out, *key, None);
            put_server(out, *server, None);
        }),
        Op::Clear => put(command::FLUSH, &|_| {}),
        Op::ZeroAll => put(command::ZERO, &|_| {}),
        Op::ZeroService(key) => put(command::ZERO, &|out| put_service(out, *key, None)),
        Op::SetTimeouts(timeouts) => put(command::SET_CONFIG, &|out| put_timeouts(out, timeouts)),
        Op::StartSyncDaemon(config) => {
            put(command::NEW_DAEMON, &|out| put_sync_daemon(out, config));
        }
        Op::StopSyncDaemon(state) => put(command::DEL_DAEMON, &|out| put_sync_state(out, *state)),
        Op::SetSetting { .. } | Op::SetStored(..) => {}
    }
}

/// Appends a request whose reply is one message.
pub fn get(out: &mut Vec<u8>, head: Head, get: Get) {
    let mut put = |command: u8, attributes: &dyn Fn(&mut Vec<u8>)| {
        wire::request(out, head, false, command, attributes);
    };
    match get {
        Get::Info => put(command::GET_INFO, &|_| {}),
        Get::Timeouts => put(command::GET_CONFIG, &|_| {}),
        Get::Service(key) => put(command::GET_SERVICE, &|out| put_service(out, key, None)),
    }
}

/// Appends a request for a dump of all services.
pub fn dump_services(out: &mut Vec<u8>, head: Head) {
    wire::request(out, head, true, command::GET_SERVICE, |_| {});
}

/// Appends a request for a dump of the servers of a service. The dump of a missing service is empty.
pub fn dump_servers(out: &mut Vec<u8>, head: Head, key: ServiceKey) {
    wire::request(out, head, true, command::GET_DEST, |out| {
        put_service(out, key, None);
    });
}

/// Appends a request for a dump of the sync daemons.
pub fn dump_sync_daemons(out: &mut Vec<u8>, head: Head) {
    wire::request(out, head, true, command::GET_DAEMON, |_| {});
}

fn put_timeouts(out: &mut Vec<u8>, timeouts: &Timeouts) {
    let Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    } = timeouts;
    attribute(out, top::TIMEOUT_TCP, &tcp_seconds.to_ne_bytes());
    attribute(out, top::TIMEOUT_TCP_FIN, &tcp_fin_seconds.to_ne_bytes());
    attribute(out, top::TIMEOUT_UDP, &udp_seconds.to_ne_bytes());
}
