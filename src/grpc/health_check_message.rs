//! Conversion between messages of health checks and the model.

use crate::{
    model::{HealthCheck, HealthCheckDraft},
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
        }
    }
}

impl From<pb::HealthCheck> for HealthCheckDraft {
    fn from(check: pb::HealthCheck) -> Self {
        let pb::HealthCheck {
            r#type: kind,
            interval_seconds,
            timeout_seconds,
            rise,
            fall,
            port,
            path,
            host,
            method,
            expect_status,
            expect_body,
            tls_verify,
            sni,
            source_address,
            fwmark,
            down_action,
            min_healthy,
            below_min,
            max_losses,
            grpc_service,
            tls,
            query_name,
            query_type,
            expect_rcode,
            transport,
            expire_seconds,
        } = check;
        Self {
            kind: kind.into(),
            interval_seconds: interval_seconds.map(i64::from).into(),
            timeout_seconds: timeout_seconds.map(i64::from).into(),
            rise: rise.map(i64::from).into(),
            fall: fall.map(i64::from).into(),
            port: port.map(i64::from).into(),
            path: path.into(),
            host: host.into(),
            method: method.into(),
            expect_status: expect_status.into(),
            expect_body: expect_body.into(),
            tls_verify: tls_verify.into(),
            sni: sni.into(),
            source_address: source_address.into(),
            fwmark: fwmark.map(i64::from).into(),
            down_action: down_action.into(),
            min_healthy: min_healthy.into(),
            below_min: below_min.into(),
            max_losses: max_losses.into(),
            grpc_service: grpc_service.into(),
            tls: tls.into(),
            query_name: query_name.into(),
            query_type: query_type.into(),
            expect_rcode: expect_rcode.into(),
            transport: transport.into(),
            expire_seconds: expire_seconds.map(i64::from).into(),
        }
    }
}

/// A number that the type may not have.
fn present(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}
