//! Fields of health checks that depend on the type, and their validation.

use super::{
    CheckMethod, CheckType, Field, HealthCheck, HealthCheckDraft, QueryType, Rcodes, StatusRanges,
    Transport, Violation,
    health_check_draft::{is_set, optional, word},
    health_check_text::{check_host, check_path, check_sni, is_domain},
    is_hidden,
};

/// Types that send a request of HTTP.
const HTTP: &[CheckType] = &[CheckType::Http, CheckType::Https];
/// Types whose request names a host.
const HOST: &[CheckType] = &[CheckType::Http, CheckType::Https, CheckType::Grpc];
/// Types that can use TLS.
const TLS: &[CheckType] = &[CheckType::Https, CheckType::Grpc];
const GRPC: &[CheckType] = &[CheckType::Grpc];
const DNS: &[CheckType] = &[CheckType::Dns];
const EXTERNAL: &[CheckType] = &[CheckType::External];

// === impl HealthCheckDraft ===

impl HealthCheckDraft {
    /// What this makes of the fields that depend on the type. `same` is the check before, if it is of this type.
    pub(super) fn of_kind(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        self.refuse_others(check.kind, violations);
        match check.kind {
            CheckType::Tcp => {}
            CheckType::Http | CheckType::Https => self.http(check, same, violations),
            CheckType::Grpc => self.grpc(check, same, violations),
            CheckType::Dns => self.dns(check, same, violations),
            CheckType::External => {
                let base = same.and_then(|same| same.expire_seconds.map(i64::from));
                let (field, max) = (&self.expire_seconds, HealthCheck::MAX_EXPIRE.into());
                check.expire_seconds = optional("expire_seconds", field, base, max, violations);
            }
        }
        if HOST.contains(&check.kind) {
            check.host = text(&self.host, same.and_then(|same| same.host.as_deref()));
            let host = check.host.as_deref();
            violations.extend(host.and_then(|host| check_host(host).err()));
        }
        if TLS.contains(&check.kind) {
            self.tls(check, same, violations);
        }
    }

    /// Reports the fields that a type does not have.
    fn refuse_others(&self, kind: CheckType, violations: &mut Vec<Violation>) {
        for (name, is_set, kinds) in [
            ("path", is_set(&self.path), HTTP),
            ("host", is_set(&self.host), HOST),
            ("method", is_set(&self.method), HTTP),
            ("expect_status", is_set(&self.expect_status), HTTP),
            ("expect_body", is_set(&self.expect_body), HTTP),
            ("tls_verify", is_set(&self.tls_verify), TLS),
            ("sni", is_set(&self.sni), TLS),
            ("grpc_service", is_set(&self.grpc_service), GRPC),
            ("tls", is_set(&self.tls), GRPC),
            ("query_name", is_set(&self.query_name), DNS),
            ("query_type", is_set(&self.query_type), DNS),
            ("expect_rcode", is_set(&self.expect_rcode), DNS),
            ("transport", is_set(&self.transport), DNS),
            ("expire_seconds", is_set(&self.expire_seconds), EXTERNAL),
        ] {
            if is_set && !kinds.contains(&kind) {
                violations.push(Violation::new(name, only_for(kinds)));
            }
        }
        let of_probes = [
            ("interval_seconds", is_set(&self.interval_seconds)),
            ("timeout_seconds", is_set(&self.timeout_seconds)),
            ("port", is_set(&self.port)),
            ("source_address", is_set(&self.source_address)),
            ("fwmark", is_set(&self.fwmark)),
            ("max_losses", is_set(&self.max_losses)),
        ];
        for (name, is_set) in of_probes {
            if is_set && !kind.is_probed() {
                let message = "is not valid for the type external, whose results are reported";
                violations.push(Violation::new(name, message));
            }
        }
    }

    fn http(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        let path = text(&self.path, same.and_then(|same| same.path.as_deref()));
        let path = path.unwrap_or_else(|| "/".to_owned());
        violations.extend(check_path(&path).err());
        check.path = Some(path);
        let (base, default) = (same.and_then(|same| same.method), Some(CheckMethod::Get));
        let words = &CheckMethod::WORDS;
        check.method = word("method", &self.method, base, default, words, violations);
        check.expect_status = Some(match &self.expect_status {
            Field::Set(text) => text.parse::<StatusRanges>().unwrap_or_else(|error| {
                violations.push(Violation::new("expect_status", format!("{text:?} {error}")));
                StatusRanges::usual()
            }),
            Field::Clear => StatusRanges::usual(),
            Field::Keep => same
                .and_then(|same| same.expect_status.clone())
                .unwrap_or_else(StatusRanges::usual),
        });
        let base = same.and_then(|same| same.expect_body.as_deref());
        check.expect_body = text(&self.expect_body, base);
        if let Some(body) = &check.expect_body {
            violations.extend(check_body(body, check.method).err());
        }
    }

    fn grpc(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        let base = same.and_then(|same| same.grpc_service.as_deref());
        let service = text(&self.grpc_service, base).unwrap_or_default();
        violations.extend(check_grpc_service(&service).err());
        check.grpc_service = Some(service);
        let tls = same.and_then(|same| same.tls).unwrap_or_default();
        check.tls = Some(self.tls.resolve(tls, false));
    }

    fn dns(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        let base = same.and_then(|same| same.query_name.as_deref());
        let name = text(&self.query_name, base).unwrap_or_else(|| ".".to_owned());
        violations.extend(check_query_name(&name).err());
        check.query_name = Some(name);
        check.query_type = word(
            "query_type",
            &self.query_type,
            same.and_then(|same| same.query_type),
            Some(QueryType::Soa),
            &QueryType::WORDS,
            violations,
        );
        let base = same.and_then(|same| same.expect_rcode);
        check.expect_rcode = Some(match &self.expect_rcode {
            Field::Set(text) => text.parse().unwrap_or_else(|error| {
                violations.push(Violation::new("expect_rcode", format!("{text:?} {error}")));
                Rcodes::USUAL
            }),
            Field::Clear => Rcodes::USUAL,
            Field::Keep => base.unwrap_or(Rcodes::USUAL),
        });
        check.transport = word(
            "transport",
            &self.transport,
            same.and_then(|same| same.transport),
            None,
            &Transport::WORDS,
            violations,
        );
    }

    fn tls(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        if check.tls == Some(false) {
            for (name, is_set) in [
                ("tls_verify", is_set(&self.tls_verify)),
                ("sni", is_set(&self.sni)),
            ] {
                violations.extend(is_set.then(|| Violation::new(name, "requires tls: true")));
            }
            return;
        }
        let verify = same.and_then(|same| same.tls_verify).unwrap_or(true);
        check.tls_verify = Some(self.tls_verify.resolve(verify, true));
        check.sni = text(&self.sni, same.and_then(|same| same.sni.as_deref()));
        violations.extend(check.sni.as_deref().and_then(|name| check_sni(name).err()));
    }
}

/// Says which types have a field.
fn only_for(kinds: &[CheckType]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("is only valid for the types {} and {last}", rest.join(", "))
        }
        _ => format!("is only valid for the type {}", words.concat()),
    }
}

/// A text that may be absent.
fn text(field: &Field<String>, base: Option<&str>) -> Option<String> {
    match field {
        Field::Keep => base.map(str::to_owned),
        Field::Clear => None,
        Field::Set(text) => Some(text.clone()),
    }
}

fn check_query_name(name: &str) -> Result<(), Violation> {
    let without_dot = name.strip_suffix('.').unwrap_or(name);
    match name == "." || is_domain(without_dot) {
        true => Ok(()),
        false => Err(Violation::new(
            "query_name",
            format!(
                "{name:?} is not a DNS name: \".\", or labels of 1 to 63 letters, digits, \"-\" and \"_\", up to {} \
                 characters in all; write others in Punycode",
                HealthCheck::MAX_QUERY_NAME
            ),
        )),
    }
}

fn check_grpc_service(name: &str) -> Result<(), Violation> {
    let max = HealthCheck::MAX_GRPC_SERVICE;
    match name.len() <= max && !name.contains(is_hidden) {
        true => Ok(()),
        false => Err(Violation::new(
            "grpc_service",
            format!(
                "must have at most {max} bytes, without control characters; \"\" for the whole server"
            ),
        )),
    }
}

fn check_body(body: &str, method: Option<CheckMethod>) -> Result<(), Violation> {
    let max = HealthCheck::MAX_BODY;
    let invalid = |message: String| Err(Violation::new("expect_body", message));
    if method == Some(CheckMethod::Head) {
        return invalid("a response to HEAD has no body: use GET".to_owned());
    }
    if body.is_empty() || body.len() > max {
        return invalid(format!("must have 1 to {max} bytes; null for any body"));
    }
    if body.contains(|c| is_hidden(c) && !matches!(c, '\n' | '\r' | '\t')) {
        return invalid("must not have control characters".to_owned());
    }
    Ok(())
}
