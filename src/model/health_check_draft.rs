//! Health checks in requests, and their validation.

use std::net::IpAddr;

use serde::Deserialize;

use super::{
    BelowMin, CheckType, DownAction, Error, Family, Field, HealthCheck, ServerCheckDraft,
    ServerDraft, ServerShare, ServiceKey, Violation,
    check::{accept, in_range},
    integer,
    key::parse_address,
};

/// A health check in a request. Absent fields keep their value (PATCH) or take the default; `null` sets the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckDraft {
    /// How a server is asked. Required.
    #[serde(rename = "type")]
    pub kind: Field<String>,
    /// Seconds between two checks.
    #[serde(deserialize_with = "integer::field")]
    pub interval_seconds: Field<i64>,
    /// Seconds after which a check without an answer has failed.
    #[serde(deserialize_with = "integer::field")]
    pub timeout_seconds: Field<i64>,
    /// Successes in a row that bring a server back.
    #[serde(deserialize_with = "integer::field")]
    pub rise: Field<i64>,
    /// Failures in a row that take a server out.
    #[serde(deserialize_with = "integer::field")]
    pub fall: Field<i64>,
    /// Port that is checked.
    #[serde(deserialize_with = "integer::field")]
    pub port: Field<i64>,
    /// Path of the request.
    pub path: Field<String>,
    /// The header `Host`.
    pub host: Field<String>,
    /// Method of the request.
    pub method: Field<String>,
    /// Status codes of a success.
    pub expect_status: Field<String>,
    /// Text in the body.
    pub expect_body: Field<String>,
    /// Whether the certificate is verified.
    pub tls_verify: Field<bool>,
    /// Name that is asked for in TLS.
    pub sni: Field<String>,
    /// Address from which checks are sent.
    pub source_address: Field<String>,
    /// Firewall mark of the packets of checks.
    #[serde(deserialize_with = "integer::field")]
    pub fwmark: Field<i64>,
    /// What happens to a server that fails.
    pub down_action: Field<String>,
    /// Servers that are to be healthy at least.
    pub min_healthy: Field<String>,
    /// What happens while fewer are.
    pub below_min: Field<String>,
    /// Servers that are taken out at most within the time in which a failure is noticed.
    pub max_losses: Field<String>,
    /// Service that is asked for.
    pub grpc_service: Field<String>,
    /// Whether the connection is encrypted.
    pub tls: Field<bool>,
    /// Name in the query.
    pub query_name: Field<String>,
    /// Type in the query.
    pub query_type: Field<String>,
    /// Response codes of a success.
    pub expect_rcode: Field<String>,
    /// Protocol of the query.
    pub transport: Field<String>,
    /// Seconds after which a result does not hold any more.
    #[serde(deserialize_with = "integer::field")]
    pub expire_seconds: Field<i64>,
    /// The servers that the service gets then. The list is replaced as a whole.
    pub fallback_servers: Field<Vec<ServerDraft>>,
    /// Settings of single servers. The list is replaced as a whole.
    pub servers: Field<Vec<ServerCheckDraft>>,
}

// === impl HealthCheckDraft ===

impl HealthCheckDraft {
    /// Whether it names no field at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What this makes of the health check of a service. Another type resets the fields that depend on it.
    pub fn apply(
        &self,
        base: Option<&HealthCheck>,
        service: ServiceKey,
    ) -> Result<HealthCheck, Error> {
        let mut violations = Vec::new();
        let kind = self.kind(base, &mut violations);
        let same = base.filter(|base| base.kind == kind);
        // Checks and results that are reported have other defaults.
        let similar = base.filter(|base| base.kind.is_probed() == kind.is_probed());
        let mut check = times(self, kind, similar, &mut violations);
        if kind.is_probed() {
            self.network(&mut check, similar, service.family(), &mut violations);
        }
        self.of_kind(&mut check, same, &mut violations);
        self.quorum(&mut check, base, &mut violations);
        self.fallback(&mut check, base, service, &mut violations);
        self.of_servers(&mut check, base, &mut violations);
        let violations = violations.into_iter().map(|Violation { field, message }| {
            Violation::new(format!("health_check.{field}"), message)
        });
        accept(check, violations.collect())
    }

    fn kind(&self, base: Option<&HealthCheck>, violations: &mut Vec<Violation>) -> CheckType {
        let base = base.map(|base| base.kind);
        let kind = word(
            "type",
            &self.kind,
            base,
            None,
            &CheckType::WORDS,
            violations,
        );
        kind.unwrap_or_else(|| {
            if violations.is_empty() {
                let message = format!("is required: {}", allowed(&CheckType::WORDS));
                violations.push(Violation::new("type", message));
            }
            CheckType::Tcp
        })
    }

    fn network(
        &self,
        check: &mut HealthCheck,
        base: Option<&HealthCheck>,
        family: Family,
        violations: &mut Vec<Violation>,
    ) {
        let of_base = |get: fn(&HealthCheck) -> Option<i64>| base.and_then(get);
        let port = of_base(|base| base.port.map(i64::from));
        check.port = optional("port", &self.port, port, u16::MAX.into(), violations);
        let mark = of_base(|base| base.fwmark.map(i64::from));
        check.fwmark = optional("fwmark", &self.fwmark, mark, u32::MAX.into(), violations);
        check.source_address = match &self.source_address {
            Field::Keep => base.and_then(|base| base.source_address),
            Field::Clear => None,
            Field::Set(text) => address(text, family)
                .map_err(|violation| violations.push(violation))
                .ok(),
        };
    }

    fn quorum(
        &self,
        check: &mut HealthCheck,
        base: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        let action = base.map(|base| base.down_action);
        let (default, words) = (DownAction::WeightZero, &DownAction::WORDS);
        let action = word(
            "down_action",
            &self.down_action,
            action,
            Some(default),
            words,
            violations,
        );
        check.down_action = action.unwrap_or(default);
        let (losses, min) = (&self.max_losses, &self.min_healthy);
        check.max_losses = share(
            "max_losses",
            losses,
            base.and_then(|base| base.max_losses)
                .filter(|_| check.kind.is_probed()),
            violations,
        );
        check.min_healthy = share(
            "min_healthy",
            min,
            base.and_then(|base| base.min_healthy),
            violations,
        );
        let is_valid = !is_set(&self.min_healthy) || check.min_healthy.is_some();
        let falls_back = self.falls_back(base);
        if falls_back && is_valid {
            check.min_healthy = check.min_healthy.or(Some(ServerShare::Count(1)));
        }
        if check.min_healthy.is_none() && is_valid {
            if is_set(&self.below_min) {
                violations.push(Violation::new("below_min", "requires min_healthy"));
            }
            return;
        }
        let base = base.and_then(|base| base.below_min);
        let base = base.filter(|_| self.fallback_servers.is_keep());
        let default = match falls_back && !is_set(&self.below_min) {
            true => BelowMin::Fallback,
            false => BelowMin::KeepAll,
        };
        let (default, words) = (Some(default), &BelowMin::WORDS);
        check.below_min = word(
            "below_min",
            &self.below_min,
            base,
            default,
            words,
            violations,
        );
    }
}

/// A check of a type with these times, and defaults for all else.
fn times(
    draft: &HealthCheckDraft,
    kind: CheckType,
    base: Option<&HealthCheck>,
    violations: &mut Vec<Violation>,
) -> HealthCheck {
    let usual = HealthCheck::of_type(kind);
    const TIMES: u32 = HealthCheck::MAX_TIMES;
    const INTERVAL: u32 = HealthCheck::MAX_INTERVAL;
    let mut number = |name, field: &Field<i64>, of: fn(&HealthCheck) -> u32, max: u32| {
        let value = match *field {
            Field::Keep => of(base.unwrap_or(&usual)).into(),
            Field::Clear => of(&usual).into(),
            Field::Set(value) => value,
        };
        in_range(value, name, 1, max.into()).unwrap_or_else(|violation| {
            violations.push(violation);
            of(&usual)
        })
    };
    let interval = &draft.interval_seconds;
    let mut seconds = |name, field, of: fn(&HealthCheck) -> u32, max| match kind.is_probed() {
        true => number(name, field, of, max),
        false => 0,
    };
    let interval = seconds(
        "interval_seconds",
        interval,
        |one| one.interval_seconds,
        INTERVAL,
    );
    let timeout = &draft.timeout_seconds;
    let timeout = seconds(
        "timeout_seconds",
        timeout,
        |one| one.timeout_seconds,
        HealthCheck::MAX_TIMEOUT,
    );
    let check = HealthCheck {
        interval_seconds: interval,
        timeout_seconds: timeout,
        rise: number("rise", &draft.rise, |one| one.rise, TIMES),
        fall: number("fall", &draft.fall, |one| one.fall, TIMES),
        ..usual
    };
    if violations.is_empty() && timeout > interval {
        let message = format!(
            "{timeout} is longer than interval_seconds, which is {interval}: a check ends before the next"
        );
        violations.push(Violation::new("timeout_seconds", message));
    }
    check
}

/// A number of servers or a part of all.
fn share(
    name: &str,
    field: &Field<String>,
    base: Option<ServerShare>,
    violations: &mut Vec<Violation>,
) -> Option<ServerShare> {
    let text = match field {
        Field::Keep => return base,
        Field::Clear => return None,
        Field::Set(text) => text,
    };
    text.parse()
        .map_err(|error| violations.push(Violation::new(name, format!("{text:?} {error}"))))
        .ok()
}

pub(super) fn is_set<T>(field: &Field<T>) -> bool {
    matches!(field, Field::Set(_))
}

/// A number from 1 to `max` that may be absent.
pub(super) fn optional<T: TryFrom<i64>>(
    name: &str,
    field: &Field<i64>,
    base: Option<i64>,
    max: i64,
    violations: &mut Vec<Violation>,
) -> Option<T> {
    let value = match *field {
        Field::Keep => base,
        Field::Clear => None,
        Field::Set(value) => Some(value),
    }?;
    in_range(value, name, 1, max)
        .map_err(|violation| violations.push(violation))
        .ok()
}

/// One of some words.
pub(super) fn word<T: Copy>(
    name: &str,
    field: &Field<String>,
    base: Option<T>,
    default: Option<T>,
    words: &[(&str, T)],
    violations: &mut Vec<Violation>,
) -> Option<T> {
    match field {
        Field::Keep => base.or(default),
        Field::Clear => default,
        Field::Set(text) => {
            let found = words.iter().find(|(word, _)| word == text);
            if found.is_none() {
                let message = format!("{text:?} must be {}", allowed(words));
                violations.push(Violation::new(name, message));
            }
            found.map(|(_, value)| *value)
        }
    }
}

fn allowed<T>(words: &[(&str, T)]) -> String {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn address(text: &str, family: Family) -> Result<IpAddr, Violation> {
    let field = "source_address";
    let address = parse_address(text)
        .ok_or_else(|| Violation::new(field, format!("{text:?} is not an IPv4 or IPv6 address")))?;
    if address.is_unspecified() || address.is_multicast() {
        let message = format!("{address} is not the address of a director");
        return Err(Violation::new(field, message));
    }
    match Family::of(address) == family {
        true => Ok(address),
        false => Err(Violation::new(
            field,
            format!("{address} is not of the family of the service, {family}"),
        )),
    }
}
