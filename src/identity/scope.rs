//! Scopes: the services that a role is valid for.

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};

use crate::model::{Error, Owner, Protocol, ServiceKey};

/// The services that a role is valid for: those that any of the rules selects. Default: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Scope(Option<Vec<Rule>>);

/// Selects services. All fields that are present must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRule")]
pub struct Rule {
    /// Network that contains the virtual address, such as `192.0.2.0/24` or `2001:db8::1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpNet>,
    /// Ports, such as `80` or `80-443`, 0 to 65535. A service on port 0 (any port) matches only a
    /// range that contains 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Numbers<u16>>,
    /// Protocol: `tcp`, `udp` or `sctp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    /// Firewall marks, such as `100` or `100-199`, 1 to 4294967295, of both address families.
    #[serde(skip_serializing_if = "Option::is_none")]
    fwmark: Option<Numbers<u32>>,
    /// Owner of a declared table: selects its services when the table is applied, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    address: Option<String>,
    ports: Option<String>,
    protocol: Option<String>,
    fwmark: Option<String>,
    owner: Option<String>,
}

/// A number or a range, `80` or `80-443`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers<T>(RangeInclusive<T>);

// === impl Scope ===

impl Scope {
    /// The services that any of these rules selects; none if there is no rule.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(Some(rules))
    }

    /// The rules; `None` for everything.
    pub fn rules(&self) -> Option<&[Rule]> {
        self.0.as_deref()
    }

    /// Whether the scope is everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a service is within the scope.
    pub fn contains(&self, service: ServiceKey) -> bool {
        self.contains_of(service, None)
    }

    /// Whether a service is within the scope when the table of an owner is applied that has it.
    pub fn contains_of(&self, service: ServiceKey, owner: Option<&str>) -> bool {
        let rules = self.0.as_ref();
        rules.is_none_or(|rules| rules.iter().any(|rule| rule.selects(service, owner)))
    }

    /// Whether the scope names an owner, or is everything.
    pub fn names(&self, owner: &str) -> bool {
        let rules = self.0.as_ref();
        let names = |rule: &Rule| rule.owner.as_ref().map(Owner::as_str) == Some(owner);
        rules.is_none_or(|rules| rules.iter().any(names))
    }
}

// === impl Rule ===

impl Rule {
    /// The fields as they are written: address, ports, protocol, fwmark and owner.
    pub fn fields(&self) -> [Option<String>; 5] {
        let Self {
            address,
            ports,
            protocol,
            fwmark,
            owner,
        } = self;
        [
            address.map(|network| network.to_string()),
            ports.as_ref().map(Numbers::to_string),
            protocol.map(|protocol| protocol.to_string()),
            fwmark.as_ref().map(Numbers::to_string),
            owner.as_ref().map(Owner::to_string),
        ]
    }

    fn selects(&self, service: ServiceKey, of: Option<&str>) -> bool {
        let Self {
            address: network,
            ports,
            protocol: wanted,
            fwmark,
            owner,
        } = self;
        let matches = match service {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                fwmark.is_none()
                    && network.is_none_or(|network| network.contains(&address))
                    && ports.as_ref().is_none_or(|ports| ports.0.contains(&port))
                    && wanted.is_none_or(|wanted| wanted == protocol)
            }
            ServiceKey::Fwmark { mark, .. } => {
                network.is_none()
                    && ports.is_none()
                    && wanted.is_none()
                    && fwmark.as_ref().is_none_or(|marks| marks.0.contains(&mark))
            }
        };
        matches && (owner.is_none() || owner.as_ref().map(Owner::as_str) == of)
    }
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let RawRule {
            address,
            ports,
            protocol,
            fwmark,
            owner,
        } = raw;
        let of_address = address.is_some() || ports.is_some() || protocol.is_some();
        if !of_address && fwmark.is_none() && owner.is_none() {
            return Err(
                "a rule of a scope requires address, ports, protocol, fwmark or owner; \
                        without a scope, a role is valid for everything"
                    .to_owned(),
            );
        }
        if of_address && fwmark.is_some() {
            return Err(
                "a rule with fwmark excludes address, ports and protocol: a service has \
                        either; write two rules"
                    .to_owned(),
            );
        }
        let protocol = protocol.map(|text| protocol_of(&text)).transpose()?;
        let fwmark = fwmark.map(|text| Numbers::parse("fwmark", &text));
        let fwmark = fwmark.transpose()?;
        if fwmark
            .as_ref()
            .is_some_and(|Numbers(marks)| *marks.start() == 0)
        {
            return Err("fwmark: 0 is no mark".to_owned());
        }
        let owner = owner.map(|text| text.parse().map_err(|error: Error| error.to_string()));
        let owner = owner.transpose()?;
        Ok(Self {
            address: address.map(|text| network_of(&text)).transpose()?,
            ports: ports
                .map(|text| Numbers::parse("ports", &text))
                .transpose()?,
            protocol,
            fwmark,
            owner,
        })
    }
}

/// A network, or a single address.
fn network_of(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
            format!("address: {text:?} is neither an address nor a network such as 192.0.2.0/24")
        })?,
    };
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!(
            "address: {text:?} has bits set beyond its prefix; write {}",
            network.trunc()
        )),
    }
}

fn protocol_of(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("protocol: {text:?} is not tcp, udp or sctp")),
    }
}

// === impl Numbers ===

impl<T: FromStr + PartialOrd + Copy> Numbers<T> {
    fn parse(field: &str, text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let digits = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<T>().ok().filter(|_| is_number)
        };
        match (digits(first), digits(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!(
                "{field}: {text:?} is neither a number nor a range such as 80-443, or is too large"
            )),
        }
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Numbers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        match first == last {
            true => first.fmt(f),
            false => write!(f, "{first}-{last}"),
        }
    }
}

impl<T: fmt::Display + PartialEq> Serialize for Numbers<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(json: &str) -> Result<Scope, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn contains(json: &str, id: &str) -> bool {
        scope(json).unwrap().contains(id.parse().unwrap())
    }

    #[test]
    fn any_rule_must_match_with_all_of_its_fields() {
        let rules = r#"[{"address": "192.0.2.0/24", "ports": "80-443", "protocol": "tcp"},
                        {"fwmark": "100-199"}, {"address": "2001:db8::1"}]"#;
        for id in [
            "tcp-192.0.2.1-80",
            "tcp-192.0.2.255-443",
            "fwmark-100",
            "fwmark6-199",
            "sctp-2001:db8::1-0",
        ] {
            assert!(contains(rules, id), "{id}");
        }
        for id in [
            "udp-192.0.2.1-80",
            "tcp-192.0.3.1-80",
            "tcp-192.0.2.1-444",
            "tcp-192.0.2.1-0",
            "fwmark-99",
            "fwmark6-200",
            "tcp-2001:db8::2-80",
        ] {
            assert!(!contains(rules, id), "{id}");
        }
    }

    #[test]
    fn no_rule_is_nothing_and_no_scope_is_everything() {
        assert!(!contains("[]", "tcp-192.0.2.1-80"));
        assert!(Scope::default().contains("fwmark-1".parse().unwrap()));
        assert!(contains("null", "fwmark-1"));
    }

    #[test]
    fn a_rule_with_an_owner_matches_nothing() {
        assert!(!contains(r#"[{"owner": "k8s"}]"#, "tcp-192.0.2.1-80"));
        let both = r#"[{"owner": "k8s", "address": "192.0.2.1"}]"#;
        assert!(!contains(both, "tcp-192.0.2.1-80"));
    }

    #[test]
    fn ports_do_not_select_marks_and_marks_no_addresses() {
        assert!(!contains(r#"[{"ports": "0-65535"}]"#, "fwmark-80"));
        assert!(!contains(
            r#"[{"fwmark": "1-4294967295"}]"#,
            "tcp-192.0.2.1-80"
        ));
        assert!(contains(
            r#"[{"address": "0.0.0.0/0"}]"#,
            "udp-198.51.100.7-53"
        ));
        assert!(!contains(r#"[{"address": "0.0.0.0/0"}]"#, "udp-::1-53"));
    }

    #[test]
    fn invalid_rules_name_the_field() {
        for (rule, text) in [
            ("{}", "requires address"),
            (r#"{"ports": "443-80"}"#, "ports"),
            (r#"{"ports": "+80"}"#, "ports"),
            (r#"{"ports": "65536"}"#, "ports"),
            (r#"{"ports": ""}"#, "ports"),
            (r#"{"fwmark": "0-5"}"#, "fwmark"),
            (r#"{"fwmark": "1", "ports": "1"}"#, "excludes"),
            (r#"{"address": "192.0.2.1/24"}"#, "192.0.2.0/24"),
            (r#"{"address": "example.com"}"#, "example.com"),
            (r#"{"protocol": "icmp"}"#, "icmp"),
            (r#"{"owner": ""}"#, "owner"),
            (r#"{"owner": "Web team"}"#, "owner"),
            (r#"{"port": "80"}"#, "port"),
        ] {
            let error = scope(&format!("[{rule}]")).unwrap_err().to_string();
            assert!(error.contains(text), "{rule}: {error}");
        }
    }

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        let text = r#"[{"address":"192.0.2.0/24","ports":"80-443","protocol":"tcp"},{"fwmark":"7"},{"owner":"k8s"}]"#;
        let parsed = scope(text).unwrap();
        assert_eq!(
            serde_json::to_string(parsed.rules().unwrap()).unwrap(),
            text
        );
    }
}
