//! Conversions shared by several resources.

use jiff::Timestamp;
use prost::Message;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::{
    app::{Answer, Filter, Order},
    ipvsadm,
    model::{
        Error, Include, KeptFilter, LabelSelector, Mask, Owner, Protocol, Rates, Reason, ServerKey,
        ServiceKey, Stats, Violation,
    },
    proto::v1 as pb,
};

/// Bytes in front of each message of a repeated field: a tag, and a length of at most 5 bytes.
pub(super) const ITEM_OVERHEAD: usize = 6;

/// Collects the fields at fault of a request, so that they are reported together.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Violation>);

/// The filter of a list of services.
pub(super) fn service_filter(
    fields: &mut Fields,
    protocol: Option<String>,
    address: Option<String>,
    port: Option<u32>,
    fwmark: Option<u32>,
    scheduler: Option<String>,
    (owner, label): (Option<String>, Vec<String>),
) -> Filter {
    let kept = kept_filter(fields, owner, label);
    let protocol = protocol.map(|text| Protocol::named(&text).map_err(|e| e.below("protocol")));
    let address = address.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{text:?} is not an IPv4 or IPv6 address");
            Error::invalid("address", message)
        })
    });
    let port = port.map(|port| number(port, "port", u16::MAX.into()));
    Filter {
        protocol: fields.take(protocol.transpose()).flatten(),
        address: fields.take(address.transpose()).flatten(),
        port: fields.take(port.transpose()).flatten(),
        fwmark,
        scheduler,
        kept,
    }
}

/// The filter by what is kept about services.
pub(super) fn kept_filter(
    fields: &mut Fields,
    owner: Option<String>,
    label: Vec<String>,
) -> KeptFilter {
    let selectors: Result<Vec<_>, Error> = label.iter().map(|text| text.parse()).collect();
    let selectors = selectors.and_then(LabelSelector::all);
    let owner = owner.map(|text| Owner::of_read(&text)).transpose();
    KeptFilter {
        owner: fields.take(owner).flatten(),
        labels: fields.take(selectors).unwrap_or_default(),
    }
}

/// Converts a time.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let mut timestamp = prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    };
    // Before 1970, both are negative.
    timestamp.normalize();
    timestamp
}

/// The error of a request stream that ended early.
pub(super) fn interrupted(status: Status) -> Error {
    match status.code() {
        // The code of a message that is too long.
        Code::OutOfRange => {
            Error::new(Reason::TooLarge, status.message()).with_hint("send shorter messages")
        }
        _ => {
            let message = format!("the request stream was interrupted: {}", status.message());
            Error::invalid("", message)
        }
    }
}

/// Parses the id of a service, which the request has in `field`.
pub(super) fn service_key(id: &str, field: &str) -> Result<ServiceKey, Error> {
    if id.is_empty() {
        return Err(Error::invalid(
            field,
            "is required: the id of a virtual service, such as tcp-192.0.2.1-80",
        ));
    }
    id.parse()
        .map_err(|error: Error| Error::invalid(field, error_message(error)))
}

/// Parses the id of a server, which the request has in `field`.
pub(super) fn server_key(id: &str, field: &str) -> Result<ServerKey, Error> {
    if id.is_empty() {
        return Err(Error::invalid(
            field,
            "is required: the id of a real server, such as 192.168.10.1-80",
        ));
    }
    id.parse()
        .map_err(|error: Error| Error::invalid(field, error_message(error)))
}

/// Parses the `include` of a read; `default` if it is empty.
pub(super) fn include(names: &[String], default: Include) -> Result<Include, Error> {
    let mut include = if names.is_empty() {
        default
    } else {
        Include::NONE
    };
    for (i, name) in names.iter().enumerate() {
        match name.as_str() {
            "servers" => include.servers = true,
            "stats" => include.stats = true,
            "rates" => include.rates = true,
            "none" if names.len() == 1 => {}
            "none" => {
                return Err(Error::invalid(
                    format!("include[{i}]"),
                    "none cannot be combined with other values",
                ));
            }
            other => {
                return Err(Error::invalid(
                    format!("include[{i}]"),
                    format!("{other:?} must be one of servers, stats, rates and none"),
                ));
            }
        }
    }
    Ok(include)
}

/// Parses the `sort` of a read; `default` if it is empty.
pub(super) fn order(sort: &str, default: Order) -> Result<Order, Error> {
    if sort.is_empty() {
        Ok(default)
    } else {
        sort.parse()
    }
}

/// Parses the `order` of a text: "sorted" or the name of `other`. The default is "sorted".
pub(super) fn order_by_name(
    name: Option<String>,
    other: ipvsadm::Order,
) -> Result<ipvsadm::Order, Error> {
    let order = name.map(|name| ipvsadm::Order::named(&name, other));
    Ok(order
        .transpose()
        .map_err(|message| Error::invalid("order", message))?
        .unwrap_or_default())
}

/// The value of a word; `None` if it is absent.
pub(super) fn word<T: Copy>(
    text: Option<String>,
    field: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, Error> {
    let Some(text) = text else {
        return Ok(None);
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Error::invalid(field, format!("{text:?} is not one of {}", all.join(", ")))
    })
}

/// The first of these messages, as many as have at most `limit` bytes as a repeated field, and at least
/// one.
pub(super) fn fitting<M: Message>(messages: impl Iterator<Item = M>, limit: usize) -> Vec<M> {
    let mut fitting = Vec::new();
    let mut available = limit;
    for message in messages {
        match available.checked_sub(message.encoded_len() + ITEM_OVERHEAD) {
            Some(left) => available = left,
            None if fitting.is_empty() => available = 0,
            None => break,
        }
        fitting.push(message);
    }
    fitting
}

/// Converts a number that is at most `max`.
pub(super) fn number<T: TryFrom<u32>>(value: u32, field: &str, max: u32) -> Result<T, Error> {
    (value <= max)
        .then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| Error::invalid(field, format!("{value} is out of range: 0 to {max}")))
}

/// Parses the mask of an update; an absent one counts as empty.
pub(super) fn mask(mask: Option<FieldMask>, known: &[&str]) -> Result<Mask, Error> {
    let FieldMask { paths } = mask.unwrap_or_default();
    Mask::parse(paths, known, |index| format!("update_mask.paths[{index}]"))
}

/// An empty string counts as absent.
pub(super) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The age of a result.
pub(super) fn age<T>(answer: &Answer<T>) -> Option<prost_types::Duration> {
    answer.age.try_into().ok()
}

/// A number of objects, which are in memory and thus fewer than 2^32.
pub(super) fn count<N: TryInto<u32>>(number: N) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

// === impl Fields ===

impl Fields {
    /// The value; `None`, and the fields at fault are kept, if it is invalid.
    pub(super) fn take<T>(&mut self, parsed: Result<T, Error>) -> Option<T> {
        parsed.map_err(|error| self.0.extend(error.violations)).ok()
    }

    /// The error with all fields at fault, if there are any.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Error::from_violations(self.0)),
        }
    }
}

impl From<&Stats> for pb::Stats {
    fn from(stats: &Stats) -> Self {
        let Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *stats;
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }
}

impl From<&Rates> for pb::Rates {
    fn from(rates: &Rates) -> Self {
        let Rates {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *rates;
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }
}

/// The message of an error without the model's name of the field.
fn error_message(error: Error) -> String {
    match error.violations.into_iter().next() {
        Some(violation) => violation.message,
        None => error.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn include_selects_the_named_parts() {
        let parse = |list: &[&str]| include(&names(list), Include::default()).unwrap();
        assert_eq!(parse(&[]), Include::default());
        let none = parse(&["none"]);
        assert!(!none.servers && !none.stats && !none.rates);
        let some = parse(&["stats", "rates"]);
        assert!(!some.servers && some.stats && some.rates);
        for (wrong, field) in [
            (&["stats", "none"][..], "include[1]"),
            (&["server"], "include[0]"),
            (&["servers", ""], "include[1]"),
        ] {
            let error = include(&names(wrong), Include::default()).unwrap_err();
            assert_eq!(error.violations[0].field, field);
        }
    }

    #[test]
    fn an_invalid_id_is_reported_by_the_field_of_the_request() {
        for wrong in ["", "tcp", "tcp-192.0.2.1-70000"] {
            let error = service_key(wrong, "id").unwrap_err();
            assert_eq!(error.reason, Reason::InvalidArgument);
            assert_eq!(error.violations.len(), 1);
            assert_eq!(error.violations[0].field, "id");
        }
        assert_eq!(server_key("", "id").unwrap_err().violations[0].field, "id");
        assert_eq!(server_key("x", "id").unwrap_err().violations[0].field, "id");
    }

    #[test]
    fn a_number_out_of_range_names_the_field_and_the_range() {
        assert_eq!(number::<u16>(65535, "port", 65535).unwrap(), 65535);
        let error = number::<u16>(70000, "port", 65535).unwrap_err();
        assert_eq!(error.violations[0].field, "port");
        assert_eq!(
            error.violations[0].message,
            "70000 is out of range: 0 to 65535"
        );
    }
}
