//! Conversion between messages of health checks and the model.

use super::{convert::non_empty, server_message};
use crate::{
    model::{FallbackServer, HealthCheck, HealthCheckDraft, Mask, ServerCheck, ServerCheckDraft},
    proto::v1 as pb,
};

impl From<&HealthCheck> for pb::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        Self {
            r#type: Some(check.kind.as_str().to_owned()),
            interval_seconds: present(check.interval_seconds),
            timeout_seconds: present(check.timeout_seconds),
            rise: Some(check.rise),
            fall: Some(check.fall),
            port: check.port.map(u32::from),
            path: check.path.clone(),
            host: check.host.clone(),
            method: check.method.map(|method| method.as_str().to_owned()),
            expect_status: check.expect_status.as_ref().map(ToString::to_string),
            expect_body: check.expect_body.clone(),
            tls_verify: check.tls_verify,
            sni: check.sni.clone(),
            source_address: check.source_address.map(|address| address.to_string()),
            fwmark: check.fwmark,
            down_action: Some(check.down_action.as_str().to_owned()),
            min_healthy: check.min_healthy.map(|min| min.to_string()),
            below_min: check.below_min.map(|below| below.as_str().to_owned()),
            max_losses: check.max_losses.map(|max| max.to_string()),
            grpc_service: check.grpc_service.clone(),
            tls: check.tls,
            query_name: check.query_name.clone(),
            query_type: check.query_type.map(|kind| kind.as_str().to_owned()),
            expect_rcode: check.expect_rcode.map(|codes| codes.to_string()),
            transport: check
                .transport
                .map(|transport| transport.as_str().to_owned()),
            expire_seconds: check.expire_seconds,
            fallback_servers: fallback_servers(check),
            servers: check
                .servers
                .iter()
                .flat_map(|all| all.iter())
                .map(pb::ServerCheck::from)
                .collect(),
        }
    }
}

impl From<pb::HealthCheck> for HealthCheckDraft {
    fn from(check: pb::HealthCheck) -> Self {
        let servers: Vec<_> = check
            .servers
            .into_iter()
            .map(ServerCheckDraft::from)
            .collect();
        let fallback = check.fallback_servers.into_iter();
        let fallback = fallback.map(|server| server_message::draft(server, &Mask::Present));
        let fallback: Vec<_> = fallback.collect();
        Self {
            kind: check.r#type.into(),
            interval_seconds: check.interval_seconds.map(i64::from).into(),
            timeout_seconds: check.timeout_seconds.map(i64::from).into(),
            rise: check.rise.map(i64::from).into(),
            fall: check.fall.map(i64::from).into(),
            port: check.port.map(i64::from).into(),
            path: check.path.into(),
            host: check.host.into(),
            method: check.method.into(),
            expect_status: check.expect_status.into(),
            expect_body: check.expect_body.into(),
            tls_verify: check.tls_verify.into(),
            sni: check.sni.into(),
            source_address: check.source_address.into(),
            fwmark: check.fwmark.map(i64::from).into(),
            down_action: check.down_action.into(),
            min_healthy: check.min_healthy.into(),
            below_min: check.below_min.into(),
            max_losses: check.max_losses.into(),
            grpc_service: check.grpc_service.into(),
            tls: check.tls.into(),
            query_name: check.query_name.into(),
            query_type: check.query_type.into(),
            expect_rcode: check.expect_rcode.into(),
            transport: check.transport.into(),
            expire_seconds: check.expire_seconds.map(i64::from).into(),
            // Empty lists are present only if the mask names it.
            fallback_servers: Some(fallback).filter(|servers| !servers.is_empty()).into(),
            servers: Some(servers).filter(|servers| !servers.is_empty()).into(),
        }
    }
}

/// Fallback servers, without ETags: they are no resources.
fn fallback_servers(check: &HealthCheck) -> Vec<pb::Server> {
    let servers = check.fallback_servers.as_deref().unwrap_or_default();
    let message = |one: &FallbackServer| pb::Server {
        etag: String::new(),
        ..server_message::of_config(one.key, one.config)
    };
    servers.iter().map(message).collect()
}

impl From<&ServerCheck> for pb::ServerCheck {
    fn from(check: &ServerCheck) -> Self {
        let ServerCheck {
            server,
            port,
            path,
            host,
            expect_status,
            sni,
            disabled,
        } = check;
        Self {
            server: server.to_string(),
            port: port.map(u32::from),
            path: path.clone(),
            host: host.clone(),
            expect_status: expect_status.as_ref().map(ToString::to_string),
            sni: sni.clone(),
            disabled: disabled.then_some(true),
        }
    }
}

impl From<pb::ServerCheck> for ServerCheckDraft {
    fn from(check: pb::ServerCheck) -> Self {
        let pb::ServerCheck {
            server,
            port,
            path,
            host,
            expect_status,
            sni,
            disabled,
        } = check;
        Self {
            server: non_empty(server).map(Into::into),
            port: port.map(i64::from),
            path,
            host,
            expect_status,
            sni,
            disabled,
        }
    }
}

/// A number that the type may not have.
fn present(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}
