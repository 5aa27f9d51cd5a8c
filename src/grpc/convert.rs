//! What several resources need converted.

use std::time::Duration;

use crate::{
    app::{Answer, Guard, Order, RequestContext},
    model::{Error, Include, Rates, ServerKey, ServiceKey, Stats},
    proto::v1 as pb,
};

/// The key of a service by its id, which the request has in `field`.
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

/// The key of a server by its id, which the request has in `id`.
pub(super) fn server_key(id: &str) -> Result<ServerKey, Error> {
    if id.is_empty() {
        return Err(Error::invalid(
            "id",
            "is required: the id of a real server, such as 192.168.10.1-80",
        ));
    }
    id.parse()
        .map_err(|error: Error| Error::invalid("id", error_message(error)))
}

/// A precondition by the request's `etag`.
pub(super) fn guard(etag: &str) -> Result<Guard, Error> {
    Ok(match etag {
        "" => Guard::None,
        "*" => Guard::Exists,
        etag => Guard::Matches(vec![etag.parse()?]),
    })
}

/// What an answer tells, by the request's `include`; `default` where that is empty.
pub(super) fn include(names: &[String], default: Include) -> Result<Include, Error> {
    const NONE: Include = Include {
        servers: false,
        stats: false,
        rates: false,
    };
    let mut include = if names.is_empty() { default } else { NONE };
    for (i, name) in names.iter().enumerate() {
        match name.as_str() {
            "servers" => include.servers = true,
            "stats" => include.stats = true,
            "rates" => include.rates = true,
            "none" if names.len() == 1 => {}
            "none" => {
                return Err(Error::invalid(
                    format!("include[{i}]"),
                    "none goes with no other",
                ));
            }
            other => {
                return Err(Error::invalid(
                    format!("include[{i}]"),
                    format!("{other:?} is none of servers, stats, rates and none"),
                ));
            }
        }
    }
    Ok(include)
}

/// The order by the request's `sort`; `default` where that is empty.
pub(super) fn order(sort: &str, default: Order) -> Result<Order, Error> {
    if sort.is_empty() {
        Ok(default)
    } else {
        sort.parse()
    }
}

/// A number of a request within its bounds.
pub(super) fn number<T: TryFrom<i64>>(
    value: i64,
    field: &str,
    min: i64,
    max: i64,
) -> Result<T, Error> {
    (min..=max)
        .contains(&value)
        .then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| Error::invalid(field, format!("{value} is out of range: {min} to {max}")))
}

/// The size of a page.
pub(super) fn page_size(size: Option<i64>) -> Result<Option<u32>, Error> {
    size.map(|size| number(size, "page_size", 0, u32::MAX.into()))
        .transpose()
}

/// Text where there is some: an empty string is an absent one.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A call whose answer may be as old as the request says.
pub(super) fn aged(
    context: RequestContext,
    max_age: Option<prost_types::Duration>,
) -> Result<RequestContext, Error> {
    let Some(age) = max_age else {
        return Ok(context);
    };
    // Checked before the conversion, which negates what is negative, and i64::MIN has no opposite.
    let age = (age.seconds >= 0 && age.nanos >= 0)
        .then(|| Duration::try_from(age).ok())
        .flatten();
    age.map(|age| context.with_max_age(age))
        .ok_or_else(|| Error::invalid("max_age", "is negative"))
}

/// How old an answer is.
pub(super) fn age<T>(answer: &Answer<T>) -> Option<prost_types::Duration> {
    answer.age.try_into().ok()
}

/// A size as the wire has it.
pub(super) fn count(size: usize) -> u64 {
    size as u64
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

/// What is wrong, without the name that the model has for the field.
fn error_message(error: Error) -> String {
    match error.violations.into_iter().next() {
        Some(violation) => violation.message,
        None => error.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::RequestId;
    use crate::model::Reason;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_included_is_what_is_named() {
        let told = |list: &[&str]| include(&names(list), Include::default()).unwrap();
        assert_eq!(told(&[]), Include::default());
        let none = told(&["none"]);
        assert!(!none.servers && !none.stats && !none.rates);
        let some = told(&["stats", "rates"]);
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
    fn ids_that_are_none_are_refused_by_the_field_they_came_in() {
        for wrong in ["", "tcp", "tcp-192.0.2.1-70000"] {
            let error = service_key(wrong, "id").unwrap_err();
            assert_eq!(error.reason, Reason::InvalidArgument);
            assert_eq!(error.violations.len(), 1);
            assert_eq!(error.violations[0].field, "id");
        }
        assert_eq!(server_key("").unwrap_err().violations[0].field, "id");
        assert_eq!(server_key("x").unwrap_err().violations[0].field, "id");
    }

    #[test]
    fn etags_become_guards() {
        assert_eq!(guard("").unwrap(), Guard::None);
        assert_eq!(guard("*").unwrap(), Guard::Exists);
        let etag = "s-0123456789abcdef";
        assert_eq!(
            guard(etag).unwrap(),
            Guard::Matches(vec![etag.parse().unwrap()])
        );
        assert_eq!(guard("nonsense").unwrap_err().violations[0].field, "etag");
    }

    #[test]
    fn no_age_panics_whatever_its_numbers_are() {
        let context = || RequestContext::new(RequestId::new("-"), Duration::from_secs(1));
        for seconds in [i64::MIN, -1, 0, 1, i64::MAX] {
            for nanos in [i32::MIN, -1, 0, 999_999_999, i32::MAX] {
                let asked = Some(prost_types::Duration { seconds, nanos });
                assert_eq!(aged(context(), asked).is_ok(), seconds >= 0 && nanos >= 0);
            }
        }
        assert_eq!(aged(context(), None).unwrap().max_age, Duration::ZERO);
    }

    #[test]
    fn the_size_of_a_page_is_no_negative_number() {
        assert_eq!(page_size(None).unwrap(), None);
        assert_eq!(page_size(Some(7)).unwrap(), Some(7));
        for wrong in [i64::MIN, -1, 1 << 32] {
            assert_eq!(
                page_size(Some(wrong)).unwrap_err().violations[0].field,
                "page_size"
            );
        }
    }
}
