//! Conversion between messages of health checks and the model.

use crate::{
    model::{HealthCheck, HealthCheckDraft},
    proto::v1 as pb,
};

impl From<&HealthCheck> for pb::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        Self {
            r#type: Some(check.kind.as_str().to_owned()),
            interval_seconds: Some(check.interval_seconds),
            timeout_seconds: Some(check.timeout_seconds),
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
        }
    }
}
