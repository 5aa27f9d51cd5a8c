//! Health checks in requests, and their validation.

use std::net::IpAddr;

use serde::Deserialize;

use super::{
    BelowMin, CheckMethod, CheckType, DownAction, Error, Family, Field, HealthCheck, ServerShare,
    StatusRanges, Violation,
    check::{accept, in_range},
    integer, is_hidden,
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
}

/// Fields that depend on the type.
const OF_HTTP: &str = "is only valid for the types http and https";
const OF_HTTPS: &str = "is only valid for the type https";

// === impl HealthCheckDraft ===

impl HealthCheckDraft {
    /// Whether it names no field at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What this makes of a health check, of a service of this family. Another type resets the fields that depend
    /// on it.
    pub fn apply(&self, base: Option<&HealthCheck>, family: Family) -> Result<HealthCheck, Error> {
        let mut violations = Vec::new();
        let kind = self.kind(base, &mut violations);
        let same = base.filter(|base| base.kind == kind);
        let mut check = HealthCheck {
            kind,
            ..times(self, base, &mut violations)
        };
        self.network(&mut check, base, family, &mut violations);
        self.http(&mut check, same, &mut violations);
        self.tls(&mut check, same, &mut violations);
        self.quorum(&mut check, base, &mut violations);
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

    fn http(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        if !check.kind.is_http() {
            for (name, is_set) in [
                ("path", is_set(&self.path)),
                ("host", is_set(&self.host)),
                ("method", is_set(&self.method)),
                ("expect_status", is_set(&self.expect_status)),
                ("expect_body", is_set(&self.expect_body)),
            ] {
                violations.extend(is_set.then(|| Violation::new(name, OF_HTTP)));
            }
            return;
        }
        let text = |field: &Field<String>, base: fn(&HealthCheck) -> &Option<String>| match field {
            Field::Keep => same.and_then(|same| base(same).clone()),
            Field::Clear => None,
            Field::Set(text) => Some(text.clone()),
        };
        let path = text(&self.path, |same| &same.path).unwrap_or_else(|| "/".to_owned());
        violations.extend(check_path(&path).err());
        check.path = Some(path);
        check.host = text(&self.host, |same| &same.host);
        violations.extend(
            check
                .host
                .as_deref()
                .and_then(|host| check_host(host).err()),
        );
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
        check.expect_body = text(&self.expect_body, |same| &same.expect_body);
        if let Some(body) = &check.expect_body {
            violations.extend(check_body(body, check.method).err());
        }
    }

    fn tls(
        &self,
        check: &mut HealthCheck,
        same: Option<&HealthCheck>,
        violations: &mut Vec<Violation>,
    ) {
        if check.kind != CheckType::Https {
            for (name, is_set) in [
                ("tls_verify", is_set(&self.tls_verify)),
                ("sni", is_set(&self.sni)),
            ] {
                violations.extend(is_set.then(|| Violation::new(name, OF_HTTPS)));
            }
            return;
        }
        let verify = same.and_then(|same| same.tls_verify).unwrap_or(true);
        check.tls_verify = Some(self.tls_verify.resolve(verify, true));
        check.sni = match &self.sni {
            Field::Keep => same.and_then(|same| same.sni.clone()),
            Field::Clear => None,
            Field::Set(name) => Some(name.clone()),
        };
        violations.extend(check.sni.as_deref().and_then(|name| check_sni(name).err()));
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
            base.and_then(|base| base.max_losses),
            violations,
        );
        check.min_healthy = share(
            "min_healthy",
            min,
            base.and_then(|base| base.min_healthy),
            violations,
        );
        let is_valid = !is_set(&self.min_healthy) || check.min_healthy.is_some();
        if check.min_healthy.is_none() && is_valid {
            if is_set(&self.below_min) {
                violations.push(Violation::new("below_min", "requires min_healthy"));
            }
            return;
        }
        let base = base.and_then(|base| base.below_min);
        let (default, words) = (Some(BelowMin::KeepAll), &BelowMin::WORDS);
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

/// A check with these times, and defaults for all else.
fn times(
    draft: &HealthCheckDraft,
    base: Option<&HealthCheck>,
    violations: &mut Vec<Violation>,
) -> HealthCheck {
    const USUAL: HealthCheck = HealthCheck::of_type(CheckType::Tcp);
    const TIMES: u32 = HealthCheck::MAX_TIMES;
    const INTERVAL: u32 = HealthCheck::MAX_INTERVAL;
    let mut number = |name, field: &Field<i64>, of: fn(&HealthCheck) -> u32, max: u32| {
        let value = match *field {
            Field::Keep => of(base.unwrap_or(&USUAL)).into(),
            Field::Clear => of(&USUAL).into(),
            Field::Set(value) => value,
        };
        in_range(value, name, 1, max.into()).unwrap_or_else(|violation| {
            violations.push(violation);
            of(&USUAL)
        })
    };
    let interval = &draft.interval_seconds;
    let interval = number(
        "interval_seconds",
        interval,
        |one| one.interval_seconds,
        INTERVAL,
    );
    let timeout = &draft.timeout_seconds;
    let timeout = number(
        "timeout_seconds",
        timeout,
        |one| one.timeout_seconds,
        INTERVAL,
    );
    let check = HealthCheck {
        interval_seconds: interval,
        timeout_seconds: timeout,
        rise: number("rise", &draft.rise, |one| one.rise, TIMES),
        fall: number("fall", &draft.fall, |one| one.fall, TIMES),
        ..USUAL
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

fn is_set<T>(field: &Field<T>) -> bool {
    matches!(field, Field::Set(_))
}

/// A number from 1 to `max` that may be absent.
fn optional<T: TryFrom<i64>>(
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
fn word<T: Copy>(
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
    match Family::of(address) == family {
        true => Ok(address),
        false => Err(Violation::new(
            field,
            format!("{address} is not of the family of the service, {family}"),
        )),
    }
}

fn check_path(path: &str) -> Result<(), Violation> {
    let max = HealthCheck::MAX_PATH;
    let is_valid = path.starts_with('/')
        && path.len() <= max
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    match is_valid {
        true => Ok(()),
        false => Err(Violation::new(
            "path",
            format!(
                "{path:?} is not a path: \"/\" and up to {max} visible ASCII characters without \"#\"; encode \
                 others as %XX"
            ),
        )),
    }
}

fn check_host(host: &str) -> Result<(), Violation> {
    let max = HealthCheck::MAX_HOST;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match (1..=max).contains(&host.len()) && host.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(Violation::new(
            "host",
            format!(
                "{host:?} is not a host: a DNS name or address of up to {max} characters, if need be with a port"
            ),
        )),
    }
}

fn check_sni(name: &str) -> Result<(), Violation> {
    let is_part = |part: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&part.len())
            && part.bytes().all(is_allowed)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_address = parse_address(name).is_some();
    match !is_address && name.len() <= 253 && name.split('.').all(is_part) {
        true => Ok(()),
        false => Err(Violation::new("sni", format!("{name:?} is not a DNS name"))),
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
