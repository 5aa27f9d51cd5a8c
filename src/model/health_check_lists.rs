//! The lists of health checks: fallback servers, and settings of single servers.

use std::sync::Arc;

use super::{
    BelowMin, CheckType, FallbackServer, Field, HealthCheck, HealthCheckDraft, ServerCheck,
    ServerKey, ServiceKey, Violation,
    server_check::{Parts, list},
};

const FALLBACK: &str = "fallback_servers";

// === impl HealthCheckDraft ===

impl HealthCheckDraft {
    /// Whether the check is to have fallback servers, if nothing else is said: it names some, or has some.
    pub(super) fn falls_back(&self, base: Option<&HealthCheck>) -> bool {
        let names =
            matches!(&self.below_min, Field::Set(word) if word == BelowMin::Fallback.as_str());
        let has = base.is_some_and(|base| base.below_min == Some(BelowMin::Fallback));
        names
            || matches!(self.fallback_servers, Field::Set(_))
            || (has && self.below_min.is_keep() && self.fallback_servers.is_keep())
    }

    /// Sets the fallback servers, after `below_min`. Another `below_min` resets them.
    pub(super) fn fallback(
        &self,
        check: &mut HealthCheck,
        base: Option<&HealthCheck>,
        service: ServiceKey,
        violations: &mut Vec<Violation>,
    ) {
        let servers = match &self.fallback_servers {
            Field::Keep => base.and_then(|base| base.fallback_servers.clone()),
            Field::Clear => None,
            Field::Set(drafts) => Some(FallbackServer::list(drafts, service, violations)),
        };
        if check.below_min == Some(BelowMin::Fallback) {
            if servers.is_none() {
                violations.push(Violation::new(
                    FALLBACK,
                    "is required with below_min fallback",
                ));
            }
            check.fallback_servers = servers;
        } else if matches!(self.fallback_servers, Field::Set(_)) && check.below_min.is_some() {
            violations.push(Violation::new(
                FALLBACK,
                "is only valid with below_min fallback",
            ));
        }
    }

    /// Sets the settings of single servers, after the type. Another type resets those that depend on it.
    pub(super) fn of_servers(
        &self,
        check: &mut HealthCheck,
        base: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        let base = base.and_then(|base| base.servers.as_deref());
        let is_grpc = check.kind == CheckType::Grpc;
        let has = Parts {
            port: check.kind.is_probed(),
            http: check.kind.is_http(),
            host: check.kind.is_http() || is_grpc,
            tls: check.kind == CheckType::Https || (is_grpc && check.tls == Some(true)),
        };
        let servers = match &self.servers {
            Field::Keep => {
                let kept = base.unwrap_or_default().iter();
                kept.filter_map(|one| one.of_type(has)).collect()
            }
            Field::Clear => [].into(),
            Field::Set(drafts) => list(drafts, has, violations),
        };
        check.servers = Some(servers).filter(|servers: &Arc<[_]>| !servers.is_empty());
    }
}

// === impl HealthCheck ===

impl HealthCheck {
    /// The settings of a server; `None`: it is checked like the others.
    pub fn settings_of(&self, server: ServerKey) -> Option<&ServerCheck> {
        let servers = self.servers.as_deref().unwrap_or_default();
        let place = servers.binary_search_by_key(&server, |one| one.server);
        place.ok().and_then(|place| servers.get(place))
    }

    /// The check of a server with settings of its own.
    #[must_use]
    pub fn with(&self, settings: &ServerCheck) -> Self {
        Self {
            port: settings.port.or(self.port),
            path: settings.path.clone().or_else(|| self.path.clone()),
            host: settings.host.clone().or_else(|| self.host.clone()),
            expect_status: (settings.expect_status.clone()).or_else(|| self.expect_status.clone()),
            sni: settings.sni.clone().or_else(|| self.sni.clone()),
            // Of these, a check of one server needs none.
            servers: None,
            fallback_servers: None,
            ..self.clone()
        }
    }
}
