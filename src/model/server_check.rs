//! Settings of a health check for single servers.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    Error, ServerKey, StatusRanges, Violation,
    check::in_range,
    health_check_text::{check_host, check_path, check_sni},
    integer,
};

/// How a server is checked that is not checked like the others of its service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerCheck {
    /// Id of the server, which need not exist.
    pub server: ServerKey,
    /// Port that is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path and query of the request. Only `http` and `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The header `Host`. Only `http` and `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Status codes of a success. Only `http` and `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<StatusRanges>,
    /// Name that is asked for in TLS and that the certificate must have. Only `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether the server is not checked, and treated as healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// The settings of a server in a request. What is absent is as for the other servers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerCheckDraft {
    /// Id of the server.
    pub server: Option<SmolStr>,
    /// Port that is checked.
    #[serde(deserialize_with = "integer::option")]
    pub port: Option<i64>,
    /// Path of the request.
    pub path: Option<String>,
    /// The header `Host`.
    pub host: Option<String>,
    /// Status codes of a success.
    pub expect_status: Option<String>,
    /// Name that is asked for in TLS.
    pub sni: Option<String>,
    /// Whether the server is not checked.
    pub disabled: Option<bool>,
}

/// What a check has, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// A port.
    pub port: bool,
    /// A request of HTTP.
    pub http: bool,
    /// A host.
    pub host: bool,
    /// TLS.
    pub tls: bool,
}

const FIELD: &str = "servers";

// === impl ServerCheck ===

impl ServerCheck {
    /// Most servers with settings of their own in a health check.
    pub const MAX: usize = 1024;

    /// Memory in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.path, &self.host, &self.sni].into_iter().flatten();
        size_of::<Self>() + texts.map(String::len).sum::<usize>()
    }

    /// What is left of it for another type. `None`: nothing.
    pub(super) fn of_type(&self, has: Parts) -> Option<Self> {
        let left = Self {
            port: self.port.filter(|_| has.port),
            path: self.path.clone().filter(|_| has.http),
            host: self.host.clone().filter(|_| has.host),
            expect_status: self.expect_status.clone().filter(|_| has.http),
            sni: self.sni.clone().filter(|_| has.tls),
            ..self.clone()
        };
        (!left.is_empty()).then_some(left)
    }

    fn is_empty(&self) -> bool {
        let Self {
            server: _,
            port,
            path,
            host,
            expect_status,
            sni,
            disabled,
        } = self;
        let texts = [path, host, sni].into_iter().flatten().count();
        port.is_none() && texts == 0 && expect_status.is_none() && !disabled
    }
}

// === impl ServerCheckDraft ===

impl ServerCheckDraft {
    fn check(&self, has: Parts) -> Result<ServerCheck, Vec<Violation>> {
        let mut violations = Vec::new();
        let server = match self.server.as_deref().map(str::parse::<ServerKey>) {
            Some(Ok(server)) => Some(server),
            Some(Err(error)) => {
                violations.push(Violation::new("server", error.detail));
                None
            }
            None => {
                let message = "is required: the id of a server, such as 192.168.10.1-80";
                violations.push(Violation::new("server", message));
                None
            }
        };
        for (name, is_set, is_valid) in [
            ("port", self.port.is_some(), has.port),
            ("path", self.path.is_some(), has.http),
            ("host", self.host.is_some(), has.host),
            ("expect_status", self.expect_status.is_some(), has.http),
            ("sni", self.sni.is_some(), has.tls),
        ] {
            if is_set && !is_valid {
                let message = "is not valid for the type of the check";
                violations.push(Violation::new(name, message));
            }
        }
        let port_in_range = |port| in_range(port, "port", 1, u16::MAX.into());
        let status = self.expect_status.as_deref().map(|text| {
            let invalid = |error| Violation::new("expect_status", format!("{text:?} {error}"));
            text.parse::<StatusRanges>().map_err(invalid)
        });
        if violations.is_empty() {
            violations.extend(self.path.as_deref().and_then(|path| check_path(path).err()));
            violations.extend(self.host.as_deref().and_then(|host| check_host(host).err()));
            violations.extend(self.sni.as_deref().and_then(|name| check_sni(name).err()));
        }
        let check = ServerCheck {
            // Else there is a violation.
            server: server.unwrap_or(ServerKey {
                address: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port: 0,
            }),
            port: (self.port.map(port_in_range))
                .and_then(|port| port.map_err(|error| violations.push(error)).ok()),
            path: self.path.clone(),
            host: self.host.clone(),
            expect_status: status
                .and_then(|status| status.map_err(|error| violations.push(error)).ok()),
            sni: self.sni.clone(),
            disabled: self.disabled.unwrap_or(false),
        };
        if violations.is_empty() && check.is_empty() {
            let message = "has no setting: name one, or leave the server out";
            violations.push(Violation::new("server", message));
        }
        match violations.is_empty() {
            true => Ok(check),
            false => Err(violations),
        }
    }
}

/// The settings of a list of drafts, by server.
pub(super) fn list(
    drafts: &[ServerCheckDraft],
    has: Parts,
    violations: &mut Vec<Violation>,
) -> Arc<[ServerCheck]> {
    let max = ServerCheck::MAX;
    if drafts.len() > max {
        let message = format!("has {} servers; the most are {max}", drafts.len());
        violations.push(Violation::new(FIELD, message));
        return [].into();
    }
    let mut first = HashMap::new();
    let mut checks = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        match draft.check(has) {
            Ok(check) => match first.insert(check.server, index) {
                None => checks.push(check),
                Some(other) => {
                    let message = format!("duplicates {FIELD}[{other}]: {}", check.server);
                    violations.push(Violation::new(field, message));
                }
            },
            Err(invalid) => {
                violations.extend(Error::from_violations(invalid).below(&field).violations)
            }
        }
    }
    checks.sort_unstable_by_key(|check| check.server);
    checks.into()
}
