//! Types of query parameters, with the words that they accept.

use std::net::IpAddr;

use utoipa::openapi::{Array, RefOr, Schema};

use super::{
    query::QueryValue,
    shape::{boolean, choice, integer, reference, text, time},
};
use crate::{
    app::Order,
    ipvsadm::{ListMode, Order as TextOrder},
    model::{
        Adopt, ConnectionProtocol, CountBy, Deletions, DrainState, EndpointFilter, Etag, EtagScope,
        Include, KeptFilter, LabelSelector, OnFailure, Owner, Protocol, RampState, Removal,
        ServiceKey,
    },
};

/// An integer from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounded<const MIN: u64, const MAX: u64>(pub u64);

/// An IP address, with or without brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(pub IpAddr);

/// A time (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub jiff::Timestamp);

/// Id of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServiceId(pub ServiceKey);

/// Owner of a declared table, or nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnerName(pub Owner);

/// Terms about labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LabelTerms(pub LabelSelector);

/// Behaviour after a failed operation of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnFailureWord(pub OnFailure);

/// Services that an apply may take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdoptWord(pub Adopt);

/// What becomes of servers that a table does not declare any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemovalWord(pub Removal);

/// State of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DrainStateWord(pub DrainState);

/// State of a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RampStateWord(pub RampState);

/// How much an apply may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaxDeletes(pub Deletions);

/// Digest of the operations of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanDigest(pub Etag);

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServiceProtocol(pub Protocol);

/// A connection's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnyProtocol(pub ConnectionProtocol);

/// Parts of a service beside its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServiceInclude(pub Include);

/// Parts of a server beside its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerInclude(pub Include);

/// Sort key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListSort(pub Order);

/// Sort key of a ranking by counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatsSort(pub Order);

const COUNTERS: [&str; 5] = [
    "connections",
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
];

/// Declares parameters with a fixed set of words.
macro_rules! choices {
    ($($(#[doc = $about:literal])+ $name:ident($kind:ty) { $($word:literal => $value:expr,)+ })+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub $kind);

        impl QueryValue for $name {
            fn schema() -> RefOr<Schema> {
                choice(&[$($word),+]).into()
            }

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self($value)),)+
                    _ => Err(unknown(text, &[$($word),+])),
                }
            }
        }
    )+};
}

choices! {
    /// Group of a connection count.
    Group(CountBy) {
        "protocol" => CountBy::Protocol,
        "client" => CountBy::Client,
        "virtual" => CountBy::Virtual,
        "destination" => CountBy::Destination,
        "state" => CountBy::State,
    }
    /// Order of saved rules.
    RulesOrder(TextOrder) {
        "sorted" => TextOrder::Sorted,
        "restorable" => TextOrder::Restorable,
    }
    /// Order of the text listing.
    ListingOrder(TextOrder) {
        "sorted" => TextOrder::Sorted,
        "kernel" => TextOrder::Kernel,
    }
    /// Behaviour after a rejected command: whether to stop.
    OnError(bool) {
        "continue" => false,
        "stop" => true,
    }
}

/// The filter by what is kept about services.
pub(super) fn kept_filter(owner: Option<OwnerName>, label: Option<LabelTerms>) -> KeptFilter {
    KeptFilter {
        owner: owner.map(|OwnerName(owner)| owner),
        labels: label.map(|LabelTerms(labels)| labels).unwrap_or_default(),
    }
}

/// The message for a word that is not in the list.
fn unknown(text: &str, words: &[&str]) -> String {
    format!("{text:?} is not one of {}", words.join(", "))
}

/// What a word of the list stands for.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        unknown(text, &all)
    })
}

/// Declares parameters whose words the model parses.
macro_rules! parsed {
    ($($name:ty, $schema:expr, $parse:expr;)+) => {$(
        impl QueryValue for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }

            fn parse(text: &str) -> Result<Self, String> {
                $parse(text)
            }
        }
    )+};
}

parsed! {
    bool, boolean(), |text: &str| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(unknown(text, &["true", "false"])),
    };
    u16, integer(0, u16::MAX.into()), |text| number(text, 0, u16::MAX.into());
    u32, integer(0, u32::MAX.into()), |text| number(text, 0, u32::MAX.into());
    u64, integer(0, i64::MAX), |text| number(text, 0, i64::MAX as u64);
    String, text(), |text: &str| Ok(text.to_owned());
    Address, text(), |text: &str| {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = bare.unwrap_or(text).parse().map(Self);
        address.map_err(|_| format!("{text:?} is not an IPv4 or IPv6 address"))
    };
    Time, time(), |text: &str| {
        let time = text.parse().map(Self);
        time.map_err(|_| format!("{text:?} is not a time such as 2026-01-31T12:00:00Z"))
    };
    OnFailureWord, choice(&OnFailure::WORDS.map(|(word, _)| word)),
        |text: &str| word(text, &OnFailure::WORDS).map(Self);
    AdoptWord, choice(&Adopt::WORDS.map(|(word, _)| word)),
        |text: &str| word(text, &Adopt::WORDS).map(Self);
    RemovalWord, choice(&Removal::WORDS.map(|(word, _)| word)),
        |text: &str| word(text, &Removal::WORDS).map(Self);
    DrainStateWord, choice(&DrainState::WORDS.map(|(word, _)| word)),
        |text: &str| word(text, &DrainState::WORDS).map(Self);
    RampStateWord, choice(&RampState::WORDS.map(|(word, _)| word)),
        |text: &str| word(text, &RampState::WORDS).map(Self);
    MaxDeletes, text().pattern(Some("^[0-9]+%?$")),
        |text: &str| text.parse().map(Self).map_err(first_message);
    PlanDigest, text().pattern(Some("^p-[0-9a-f]{16}$")), |text: &str| {
        let plan = text.parse::<Etag>().ok().filter(|plan| plan.scope == EtagScope::Plan);
        plan.map(Self).ok_or_else(|| format!("{text:?} is not the plan of a response"))
    };
    OwnerName, text().max_length(Some(63)),
        |text: &str| Owner::of_read(text).map(Self).map_err(first_message);
    ServiceId, text(), |text: &str| text.parse().map(Self).map_err(first_message);
    EndpointFilter, text(), |text: &str| text.parse().map_err(first_message);
    ServiceProtocol, reference("Protocol"),
        |text: &str| Protocol::named(text).map(Self).map_err(first_message);
    AnyProtocol,
        text().pattern(Some("^(tcp|udp|sctp|icmp|icmpv6|ip|[0-9]{1,4})$")),
        |text: &str| text.parse().map(Self).map_err(first_message);
    ListMode, choice(&ListMode::NAMES.map(|(name, _)| name)), ListMode::named;
}

/// The text of a parse error of the model.
fn first_message(error: crate::model::Error) -> String {
    let message = error.violations.into_iter().next().map(|v| v.message);
    message.unwrap_or(error.detail)
}

/// A number in decimal digits within the bounds.
fn number<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits {
        text.parse::<u64>().ok()
    } else {
        None
    };
    number
        .filter(|number| (min..=max).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("{text:?} is not an integer from {min} to {max}"))
}

impl<const MIN: u64, const MAX: u64> QueryValue for Bounded<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        integer(MIN as i64, MAX as i64).into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        number(text, MIN, MAX).map(Self)
    }
}

/// A list whose items are a schema of their own.
pub(super) fn list(items: &str) -> utoipa::openapi::ArrayBuilder {
    Array::builder().items(reference(items)).min_items(Some(1))
}

// === impl LabelTerms ===

impl QueryValue for LabelTerms {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        Array::builder().items(text()).build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(first_message)
    }
}

// === impl ServiceInclude, ServerInclude ===

impl ServiceInclude {
    /// The allowed words.
    pub(super) const WORDS: [&str; 4] = ["none", "servers", "stats", "rates"];
}

impl QueryValue for ServiceInclude {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        list("ServiceInclude").build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        include(text, &Self::WORDS).map(Self)
    }
}

impl ServerInclude {
    /// The allowed words.
    pub(super) const WORDS: [&str; 3] = ["none", "stats", "rates"];
}

impl QueryValue for ServerInclude {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        list("ServerInclude").build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        include(text, &Self::WORDS).map(Self)
    }
}

/// The union of the listed parts; `none` adds nothing.
fn include(text: &str, words: &[&str]) -> Result<Include, String> {
    let mut include = Include::NONE;
    for word in text.split(',') {
        match word {
            _ if !words.contains(&word) => return Err(unknown(word, words)),
            "servers" => include.servers = true,
            "stats" => include.stats = true,
            "rates" => include.rates = true,
            _ => {}
        }
    }
    Ok(include)
}

// === impl ListSort, StatsSort ===

impl ListSort {
    /// The allowed words.
    pub(super) fn words() -> Vec<String> {
        let keys = ["id", "kernel"].map(str::to_owned);
        let keys = keys.into_iter().chain(counters());
        keys.flat_map(both_directions).collect()
    }
}

impl StatsSort {
    /// The allowed words.
    pub(super) fn words() -> Vec<String> {
        counters().flat_map(both_directions).collect()
    }
}

fn counters() -> impl Iterator<Item = String> {
    let group = |group| COUNTERS.map(|counter| format!("{group}.{counter}"));
    group("stats").into_iter().chain(group("rates"))
}

fn both_directions(key: String) -> [String; 2] {
    let descending = format!("-{key}");
    [key, descending]
}

/// The only sort key of a list, out of `words`.
fn sort(text: &str, words: &[String]) -> Result<Order, String> {
    if text.contains(',') {
        return Err("one sort key is allowed; equal entries are sorted by id".to_owned());
    }
    if !words.iter().any(|word| word == text) {
        let keys: Vec<&str> = words.iter().map(String::as_str).collect();
        return Err(unknown(text, &keys));
    }
    text.parse().map_err(first_message)
}

impl QueryValue for ListSort {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        list("ListSort").max_items(Some(1)).build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        sort(text, &Self::words()).map(Self)
    }
}

impl QueryValue for StatsSort {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        list("StatsSort").max_items(Some(1)).build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        sort(text, &Self::words()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_digits_within_the_bounds() {
        for bad in [
            "",
            "+1",
            "-1",
            "1.0",
            "10",
            "0x1",
            "99999999999999999999999",
        ] {
            assert!(Bounded::<0, 9>::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Bounded::<0, 9>::parse("9"), Ok(Bounded(9)));
    }

    #[test]
    fn include_is_the_union_of_its_words() {
        let parts = |text| {
            ServiceInclude::parse(text).map(|ServiceInclude(i)| (i.servers, i.stats, i.rates))
        };
        assert_eq!(parts("stats"), Ok((false, true, false)));
        assert_eq!(parts("rates,servers"), Ok((true, false, true)));
        assert_eq!(parts("none"), Ok((false, false, false)));
        assert_eq!(parts("none,stats"), parts("stats"));
        for bad in ["", "x", "stats,", "stats, rates"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
        assert!(ServerInclude::parse("servers").is_err());
    }

    #[test]
    fn every_documented_sort_key_is_accepted_and_no_other() {
        assert_eq!(ListSort::words().len(), 24);
        for word in ListSort::words() {
            let ListSort(order) = ListSort::parse(&word).unwrap();
            assert_eq!(order.descending, word.starts_with('-'));
        }
        for word in StatsSort::words() {
            assert!(StatsSort::parse(&word).is_ok(), "{word}");
        }
        for bad in [
            "",
            "id",
            "-id",
            "kernel",
            "stats",
            "stats.connections,rates.bytes_in",
        ] {
            assert!(StatsSort::parse(bad).is_err(), "{bad}");
        }
    }
}
