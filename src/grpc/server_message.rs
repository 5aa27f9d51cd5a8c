//! Conversion between messages of real servers and the model.

use smol_str::SmolStr;

use super::convert::non_empty;
use crate::{
    model::{
        Hold, Include, Mask, Membership, Server, ServerConfig, ServerDraft, ServerKey, ServerView,
        TunnelDraft, TunnelView,
    },
    proto::v1 as pb,
};

/// The first byte of each server in a request: its field number in `Service` or in
/// `CreateServersRequest`, and the wire type. Other bytes can be equal, so that counting them yields
/// an upper bound of the number of servers.
pub const SERVER_TAGS: [u8; 2] = [(13 << 3) | 2, (2 << 3) | 2];

/// Converts a server to a message.
pub(super) fn message(view: ServerView<'_>) -> pb::Server {
    let ServerView {
        id,
        address,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        effective_weight,
        holds,
        membership,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
        etag,
    } = view;
    pb::Server {
        id: id.to_string(),
        address: Some(address.to_string()),
        port: Some(port.into()),
        forwarding: Some(forwarding.to_string()),
        weight: Some(weight),
        upper_threshold: Some(upper_threshold),
        lower_threshold: Some(lower_threshold),
        tunnel: tunnel.map(pb::Tunnel::from),
        active_connections,
        inactive_connections,
        persistent_connections,
        stats: stats.map(pb::Stats::from),
        rates: rates.map(pb::Rates::from),
        etag: etag.to_string(),
        effective_weight: Some(effective_weight),
        holds: holds.into_iter().flatten().map(pb::Hold::from).collect(),
        membership: membership
            .map(Membership::as_str)
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The message of a configuration alone.
pub(super) fn of_config(key: ServerKey, config: ServerConfig) -> pb::Server {
    let server = Server::idle(key, config);
    pb::Server {
        effective_weight: None,
        ..message(ServerView::new(&server, Include::NONE))
    }
}

impl From<&Hold> for pb::Hold {
    fn from(hold: &Hold) -> Self {
        let Hold { kind, id, weight } = *hold;
        Self {
            kind: kind.as_str().to_owned(),
            id: id.to_string(),
            weight,
        }
    }
}

impl From<TunnelView> for pb::Tunnel {
    fn from(tunnel: TunnelView) -> Self {
        let TunnelView {
            kind,
            port,
            checksum,
        } = tunnel;
        Self {
            r#type: Some(kind.to_string()),
            port: port.map(u32::from),
            checksum: Some(checksum.to_string()),
        }
    }
}

/// Converts the masked fields of a message to a draft.
pub(super) fn draft(server: pb::Server, mask: &Mask) -> ServerDraft {
    let pb::Server {
        id,
        address,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        active_connections: _,
        inactive_connections: _,
        persistent_connections: _,
        stats: _,
        rates: _,
        etag: _,
        effective_weight: _,
        holds: _,
        membership,
    } = server;
    let mut draft = ServerDraft::default();
    draft.membership = Some(membership.into());
    draft.id = non_empty(id).map(Into::into);
    draft.address = address.map(Into::into);
    draft.port = port.map(i64::from);
    draft.forwarding = forwarding.map(SmolStr::from).into();
    draft.weight = weight.map(i64::from).into();
    draft.upper_threshold = upper_threshold.map(i64::from).into();
    draft.lower_threshold = lower_threshold.map(i64::from).into();
    draft.tunnel = tunnel.map(tunnel_draft).map(Box::new).into();
    draft.masked(mask)
}

fn tunnel_draft(tunnel: pb::Tunnel) -> TunnelDraft {
    let pb::Tunnel {
        r#type,
        port,
        checksum,
    } = tunnel;
    TunnelDraft {
        kind: r#type.into(),
        port: port.map(i64::from).into(),
        checksum: checksum.into(),
    }
}
