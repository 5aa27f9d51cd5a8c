//! Results and preconditions that the use cases share.

use std::time::Duration;

use crate::{
    executor::{Cached, Executed, Plan},
    model::{Error, Etag, Reason},
};

/// The result of a read.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The result.
    pub value: T,
    /// Time since it was read (`Age`, RFC 9111); zero if it was read for this request.
    pub age: Duration,
}

/// The result of a write.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// The resource as read back from the kernel; after an edit, with the configuration that the
    /// kernel has acknowledged and the counters from right before it; for a dry run, as it would be.
    pub value: T,
    /// Whether the write created the resource.
    pub created: bool,
    /// Whether the write changed anything.
    pub changed: bool,
    /// Whether the servers are in another order than the request lists them. Only of a replaced
    /// service: the kernel puts new servers first and cannot move others.
    pub server_order_differs: bool,
}

/// The precondition of a write on a single resource (RFC 9110, section 13). If it does not hold, the
/// write fails with `REVISION_MISMATCH` and changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// No precondition.
    #[default]
    None,
    /// The resource exists (`If-Match: *`).
    Exists,
    /// The resource does not exist (`If-None-Match: *`).
    Absent,
    /// The resource has one of these ETags (`If-Match: "…"`).
    Matches(Vec<Etag>),
}

// === impl Answer ===

impl<T> Answer<T> {
    /// The same answer with its value changed.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: f(self.value),
            age: self.age,
        }
    }
}

impl<T> From<Cached<T>> for Answer<T> {
    fn from(cached: Cached<T>) -> Self {
        Self {
            value: cached.value,
            age: cached.age,
        }
    }
}

// === impl Written ===

impl<T> From<Executed<T>> for Written<T> {
    fn from(executed: Executed<T>) -> Self {
        Self {
            created: executed.created,
            changed: executed.changed(),
            server_order_differs: false,
            value: executed.value,
        }
    }
}

impl<T> Written<T> {
    /// The same result with its value changed.
    pub fn try_map<U>(self, f: impl FnOnce(T) -> Result<U, Error>) -> Result<Written<U>, Error> {
        Ok(Written {
            value: f(self.value)?,
            created: self.created,
            changed: self.changed,
            server_order_differs: self.server_order_differs,
        })
    }
}

// === impl Guard ===

impl Guard {
    /// The precondition of a field `etag`: an ETag, `*`, or empty for none.
    pub fn of_field(text: &str) -> Result<Self, Error> {
        match text {
            "" => Ok(Self::None),
            "*" => Ok(Self::Exists),
            text => match text.parse() {
                Ok(etag) => Ok(Self::Matches(vec![etag])),
                Err(_) => Err(Etag::not_issued("etag", &[text])),
            },
        }
    }

    /// Plans if the precondition holds. A write that is [resumed](super::RequestContext::resumed) may have
    /// changed the resource itself: if there is nothing left to do, it need not hold.
    pub(super) fn plan(
        &self,
        etags: Option<&[Etag]>,
        is_resumed: bool,
        plan: impl FnOnce() -> Result<Plan, Error>,
    ) -> Result<Plan, Error> {
        let holds = self.check(etags);
        if !is_resumed {
            holds?;
            return plan();
        }
        let plan = plan()?;
        match plan.stages.iter().all(Vec::is_empty) {
            true => Ok(plan),
            false => holds.map(|()| plan),
        }
    }

    /// Checks the precondition against the ETags of a resource, `None` if it does not exist.
    pub fn check(&self, etags: Option<&[Etag]>) -> Result<(), Error> {
        let fail = |detail: &str| {
            Err(Error::new(Reason::RevisionMismatch, detail)
                .with_hint("read the resource again and retry with its current ETag"))
        };
        match (self, etags) {
            (Self::None, _) | (Self::Exists, Some(_)) | (Self::Absent, None) => Ok(()),
            (Self::Exists, None) => fail("the resource does not exist"),
            (Self::Absent, Some(_)) => fail("the resource exists already"),
            (Self::Matches(_), None) => fail("the resource does not exist any more"),
            (Self::Matches(wanted), Some(current))
                if wanted.iter().any(|etag| current.contains(etag)) =>
            {
                Ok(())
            }
            (Self::Matches(_), Some(_)) => {
                fail("the resource has changed since the ETag was issued")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_a_precondition() {
        assert_eq!(Guard::of_field("").unwrap(), Guard::None);
        assert_eq!(Guard::of_field("*").unwrap(), Guard::Exists);
        let etag = "s-0123456789abcdef";
        assert_eq!(
            Guard::of_field(etag).unwrap(),
            Guard::Matches(vec![etag.parse().unwrap()])
        );
        let error = Guard::of_field("nonsense").unwrap_err();
        assert_eq!(error.reason, Reason::RevisionMismatch);
        assert_eq!(error.violations[0].field, "etag");
    }
}
