//! Declared tables in requests, and the options of an apply.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Director, DrainRequest, Error, Field, Reconcile, Removal, ServiceDraft, SyncDaemonDraft,
    TableSettings, TimeoutsDraft, check::in_range, integer, object, word::words,
};

/// The part of the kernel's table that an owner declares.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableDraft {
    /// All services of the owner, each with all of its servers. Required.
    #[serde(default, deserialize_with = "object::list")]
    pub services: Option<Vec<ServiceDraft>>,
    /// What the daemon does about drift. If absent, that of the declared table stays; default `off`.
    pub reconcile: Option<Reconcile>,
    /// Whether servers that exist keep their weight. If absent, that of the declared table stays; default
    /// false.
    pub keep_weights: Option<bool>,
    /// What becomes of servers that are not declared any more. If absent, that of the declared table stays;
    /// default `now`.
    pub removal: Option<Removal>,
    /// Seconds until servers that drain are deleted with the connections that they have, 1 to 2,678,400; `null`:
    /// no limit. If absent, that of the declared table stays; default no limit.
    #[serde(default, deserialize_with = "integer::field")]
    pub drain_deadline_seconds: Field<i64>,
    /// Timeouts of idle connections. If absent, the table does not declare them. One table may.
    #[serde(default, deserialize_with = "object::option")]
    pub timeouts: Option<TimeoutsDraft>,
    /// The sync daemons that run, each with its `state`; `[]`: none may. If absent, the table does not declare
    /// them. One table may.
    #[serde(default, deserialize_with = "object::list")]
    pub sync_daemons: Option<Vec<SyncDaemonDraft>>,
    owner: Option<IgnoredAny>,
    generation: Option<IgnoredAny>,
    etag: Option<IgnoredAny>,
    status: Option<IgnoredAny>,
}

/// How many services, and how many servers, an apply may delete: a number, or a part of those that the
/// owner has in the kernel, rounded up. Default 30 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// A number.
    Count(usize),
    /// Percent, 0 to 100.
    Percent(u8),
}

words! {
    /// What to do when an operation of an apply or of a batch fails.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    OnFailure {
        /// Undo the others.
        #[default]
        Rollback = "rollback",
        /// Execute no further ones.
        Stop = "stop",
        /// Execute the others.
        Continue = "continue",
    }
}

words! {
    /// Which services an apply may take over.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Adopt {
        /// None.
        #[default]
        None = "none",
        /// Those that exist and belong to no table.
        Unmanaged = "unmanaged",
        /// Those of other owners, too. Requires the role `admin`.
        Any = "any",
    }
}

// === impl TableDraft ===

impl TableDraft {
    /// The settings of the table, which has had `base`.
    pub fn settings(&self, base: TableSettings) -> Result<TableSettings, Error> {
        let max = DrainRequest::MAX_DEADLINE_SECONDS.into();
        let drain_deadline_seconds = match self.drain_deadline_seconds {
            Field::Keep => base.drain_deadline_seconds,
            Field::Clear => None,
            Field::Set(value) => {
                let deadline = in_range(value, "drain_deadline_seconds", 1, max);
                Some(deadline.map_err(|violation| Error::from_violations(vec![violation]))?)
            }
        };
        Ok(TableSettings {
            reconcile: self.reconcile.unwrap_or(base.reconcile),
            keep_weights: self.keep_weights.unwrap_or(base.keep_weights),
            removal: self.removal.unwrap_or(base.removal),
            drain_deadline_seconds,
        })
    }

    /// The timeouts and the sync daemons that it declares.
    pub fn director(&self) -> Result<Director, Error> {
        Director::of_drafts(self.timeouts.as_ref(), self.sync_daemons.as_deref())
    }
}

// === impl Deletions ===

impl Deletions {
    /// The limit for an owner that has `present` of them.
    pub fn limit(self, present: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (present * usize::from(percent)).div_ceil(100),
        }
    }
}

impl Default for Deletions {
    fn default() -> Self {
        Self::Percent(30)
    }
}

impl FromStr for Deletions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // `parse` accepts a sign.
        let digits = text.strip_suffix('%').unwrap_or(text);
        let is_number = digits.bytes().all(|c| c.is_ascii_digit());
        let value = match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|p| *p <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        };
        value.filter(|_| is_number).ok_or_else(|| {
            Error::invalid(
                "max_deletes",
                format!(
                    "{text:?} is neither a number, such as 12, nor a percentage from 0% to 100%"
                ),
            )
        })
    }
}

impl fmt::Display for Deletions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage_rounded_up() {
        let limit = |text: &str, present| text.parse::<Deletions>().unwrap().limit(present);
        assert_eq!(limit("12", 1000), 12);
        assert_eq!(limit("30%", 10), 3);
        assert_eq!(limit("30%", 11), 4);
        assert_eq!(limit("0%", 11), 0);
        assert_eq!(limit("100%", usize::MAX / 200), usize::MAX / 200);
        assert_eq!(Deletions::default().to_string(), "30%");
        for text in ["", "%", "101%", "-1", "+1", "+1%", "1.5", "30 %", "x"] {
            assert!(text.parse::<Deletions>().is_err(), "{text}");
        }
    }
}
