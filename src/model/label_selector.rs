//! Selectors of services by their labels.

use std::str::FromStr;

use super::{
    Error, Labels, Violation,
    labels::{check_key, check_value},
};

/// Selects services by labels: all terms must hold. Without terms, it selects every service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Term {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Condition {
    Is(String),
    /// Holds without the label, too.
    IsNot(String),
    Exists,
    IsAbsent,
}

/// Terms at most.
const MAX_TERMS: usize = 32;

/// Parses terms, separated by commas: `team=web`, `team==web`, `team!=web`, `team` (the label exists) and `!team`
/// (it does not). An empty text has no terms.
impl FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let terms = text.split(',').map(|term| Term::parse(term.trim()));
        let terms = terms.collect::<Result<Vec<_>, _>>();
        terms.and_then(|terms| Self(terms).bounded())
    }
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Whether the labels of a service match.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| term.holds(labels))
    }

    /// The selector of which the terms of all of these must hold.
    pub fn all(selectors: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let terms = selectors.into_iter().flat_map(|selector| selector.0);
        Self(terms.take(MAX_TERMS + 1).collect()).bounded()
    }

    fn bounded(self) -> Result<Self, Error> {
        match self.0.len() > MAX_TERMS {
            true => Err(Error::invalid(
                "label",
                format!("has too many terms: at most {MAX_TERMS}"),
            )),
            false => Ok(self),
        }
    }
}

// === impl Term ===

impl Term {
    fn parse(text: &str) -> Result<Self, Error> {
        let (key, condition) = match text.split_once('=') {
            Some((key, value)) => match key.strip_suffix('!') {
                Some(key) => (key, Condition::IsNot(value.trim().to_owned())),
                None => {
                    let value = value.strip_prefix('=').unwrap_or(value);
                    (key, Condition::Is(value.trim().to_owned()))
                }
            },
            None => match text.strip_prefix('!') {
                Some(key) => (key, Condition::IsAbsent),
                None => (text, Condition::Exists),
            },
        };
        let key = key.trim();
        let checked = check_key(key).and_then(|()| match &condition {
            Condition::Is(value) | Condition::IsNot(value) => check_value(key, value),
            Condition::Exists | Condition::IsAbsent => Ok(()),
        });
        match checked {
            Ok(()) => Ok(Self {
                key: key.to_owned(),
                condition,
            }),
            Err(Violation { message, .. }) => {
                let message = format!(
                    "{text:?} is no term of a selector: KEY=VALUE, KEY!=VALUE, KEY or !KEY; {message}"
                );
                Err(Error::invalid("label", message))
            }
        }
    }

    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.condition {
            Condition::Is(wanted) => value == Some(wanted),
            Condition::IsNot(other) => value != Some(other),
            Condition::Exists => value.is_some(),
            Condition::IsAbsent => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn matches(selector: &str) -> bool {
        let labels = [("team", "web"), ("empty", "")];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = Labels::from(BTreeMap::from(labels.map(owned)));
        selector.parse::<LabelSelector>().unwrap().matches(&labels)
    }

    #[test]
    fn all_terms_must_hold() {
        for selector in [
            "",
            "team=web",
            "team == web",
            " team=web , env!=dev ",
            "team",
            "!env",
            "empty=",
            "empty",
            "env!=",
        ] {
            assert!(matches(selector), "{selector}");
        }
        for selector in [
            "team=db",
            "team!=web",
            "env=dev",
            "env",
            "!team",
            "env=",
            "empty!=",
            "team=web,env",
        ] {
            assert!(!matches(selector), "{selector}");
        }
    }

    #[test]
    fn a_selector_that_is_none_is_refused() {
        for text in [
            ",", "a=b,", "=b", "!", "!a=b", "a=b=c", "a===b", "a in (b)", "a>1", "-a", "a=/",
        ] {
            let error = text.parse::<LabelSelector>().unwrap_err();
            assert_eq!(error.violations[0].field, "label", "{text}");
        }
        let terms = |count: usize| vec!["a"; count].join(",").parse::<LabelSelector>();
        assert!(terms(33).is_err());
        let full = terms(32).unwrap();
        LabelSelector::all([full.clone()]).unwrap();
        assert!(LabelSelector::all([full.clone(), full]).is_err());
    }
}
