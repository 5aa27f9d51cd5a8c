//! Query strings, typed: a parameter that is unknown, repeated or wrong is refused by name.

use std::{collections::HashSet, str::FromStr};

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::problem::Problem;
use crate::model::{Error, Include, Violation};

/// What a request's query string says.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

/// A request whose query string says nothing.
#[derive(Debug)]
pub(super) struct NoQuery;

/// What can be read from a query string.
pub(super) trait FromQuery: Sized {
    /// Takes its parameters out of `params`. Faults are kept there.
    fn from_query(params: &mut Params) -> Self;
}

/// Parameters of a query string; [`take`](Params::take) them one by one.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Vec<Violation>,
}

// === impl Params ===

impl Params {
    fn of(parts: &Parts) -> Result<Self, Error> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Error::invalid("", format!("the query string is broken: {error}")))?;
        Ok(Self {
            pairs: pairs.0,
            known: Vec::new(),
            violations: Vec::new(),
        })
    }

    /// The parameter `name`, as `parse` understands it.
    pub(super) fn take_with<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let place = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, text) = self.pairs.remove(place);
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.violations.push(Violation::new(name, message));
                None
            }
        }
    }

    /// The parameter `name`, in the model's own spelling.
    pub(super) fn take<T: FromStr<Err = Error>>(&mut self, name: &'static str) -> Option<T> {
        self.take_with(name, |text| {
            text.parse::<T>().map_err(|error| {
                let message = error.violations.into_iter().next().map(|v| v.message);
                message.unwrap_or(error.detail)
            })
        })
    }

    /// The parameter `name`: a whole number.
    pub(super) fn take_number(&mut self, name: &'static str, min: u64, max: u64) -> Option<u64> {
        self.take_with(name, |text| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let number = if digits { text.parse().ok() } else { None };
            number
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("{text:?} is not a whole number, {min} to {max}"))
        })
    }

    /// The parameter `name`: true or false.
    pub(super) fn take_bool(&mut self, name: &'static str) -> Option<bool> {
        self.take_with(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        })
    }

    /// The parameter `include`: a list of `names`, or `none`.
    pub(super) fn take_include(&mut self, names: &[&str]) -> Option<Include> {
        self.take_with("include", |text| {
            let mut include = Include {
                servers: false,
                stats: false,
                rates: false,
            };
            if text == "none" {
                return Ok(include);
            }
            for name in text.split(',') {
                match name {
                    "servers" if names.contains(&name) => include.servers = true,
                    "stats" => include.stats = true,
                    "rates" => include.rates = true,
                    _ => {
                        let names = names.join(", ");
                        return Err(format!("{name:?}: a list of {names}; or none"));
                    }
                }
            }
            Ok(include)
        })
    }

    /// Refuses the parameter `name`.
    pub(super) fn refuse(&mut self, name: &'static str, message: &str) {
        self.violations.push(Violation::new(name, message));
    }

    fn finish(mut self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (name, _) in &self.pairs {
            if !seen.insert(name) {
                continue;
            }
            let message = if self.known.contains(&name.as_str()) {
                "is given more than once".to_owned()
            } else if self.known.is_empty() {
                "there is no such parameter; this request takes none".to_owned()
            } else {
                let known = self.known.join(", ");
                format!("there is no such parameter; this request takes {known}")
            };
            self.violations.push(Violation::new(name, message));
        }
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Error::from_violations(self.violations))
        }
    }
}

// === impl Query ===

impl<T: FromQuery, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::of(parts)?;
        let value = T::from_query(&mut params);
        params.finish()?;
        Ok(Self(value))
    }
}

// === impl NoQuery ===

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::of(parts)?.finish()?;
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let (parts, ()) = http::Request::get(format!("/x?{query}"))
            .body(())
            .unwrap()
            .into_parts();
        Params::of(&parts).unwrap()
    }

    #[test]
    fn unknown_repeated_and_wrong_parameters_are_refused_together_by_name() {
        let mut p = params("a=1&b=x&c=1&a=2&%E2%82%AC=1");
        assert_eq!(p.take_number("a", 0, 9), Some(1));
        assert_eq!(p.take_bool("b"), None);
        let error = p.finish().unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["b", "c", "a", "€"]);
        assert!(error.detail.contains("this request takes a, b"), "{error}");
    }

    #[test]
    fn numbers_have_digits_only_and_a_range() {
        for bad in [
            "",
            "+1",
            "-1",
            "1.0",
            "10",
            "0x1",
            "99999999999999999999999",
        ] {
            let mut p = params(&format!("n={bad}"));
            assert_eq!(p.take_number("n", 0, 9), None, "{bad}");
            assert!(p.finish().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_include_is_the_whole_list() {
        let names = ["servers", "stats", "rates"];
        let include = params("include=stats").take_include(&names).unwrap();
        assert!(!include.servers && include.stats && !include.rates);
        let include = params("include=none").take_include(&names).unwrap();
        assert!(!include.servers && !include.stats && !include.rates);
        assert!(params("include=").take_include(&names).is_none());
        assert!(
            params("include=servers")
                .take_include(&names[1..])
                .is_none()
        );
    }
}
