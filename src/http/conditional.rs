//! Preconditions: the headers of RFC 9110, section 13. What the tags are made of is told in `etag`.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};

use super::{Api, context::Caller, etag::Tag, problem::Problem};
use crate::{
    app::{Guard, RequestContext},
    model::{Error, Etag, Reason},
};

/// How a read is to be answered.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The request's context, with the accepted age.
    pub context: RequestContext,
    /// What the client has.
    if_none_match: Option<Tags>,
}

/// `If-Match` of a write to what exists already.
#[derive(Clone, Debug)]
pub(super) struct IfMatch(pub Guard);

/// `If-Match`, or `If-None-Match: *`, of a write that may create.
#[derive(Clone, Debug)]
pub(super) struct IfMatchOrAbsent(pub Guard);

/// A write that has no single resource a precondition could speak of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unconditional;

/// What a conditional header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<Given>),
}

/// One tag of a conditional header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    weak: bool,
    text: String,
}

// === impl Tags ===

impl Tags {
    /// What the header `name` lists; `None` where it is absent.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Error> {
        let mut tags = Vec::new();
        let mut any = false;
        let mut present = false;
        for value in headers.get_all(name) {
            present = true;
            let text = String::from_utf8_lossy(value.as_bytes());
            let mut rest = text.trim();
            if rest == "*" {
                any = true;
                continue;
            }
            while !rest.is_empty() {
                let (given, after) = Given::parse(rest).ok_or_else(|| {
                    Error::invalid(
                        name.as_str(),
                        format!("{text:?} is neither * nor a list of entity tags"),
                    )
                })?;
                tags.push(given);
                rest = after;
            }
        }
        match (present, any, tags.is_empty()) {
            (false, ..) => Ok(None),
            (_, true, true) => Ok(Some(Self::Any)),
            (_, false, false) => Ok(Some(Self::These(tags))),
            _ => Err(Error::invalid(
                name.as_str(),
                "is neither * nor a list of entity tags",
            )),
        }
    }
}

impl Given {
    /// The first tag of a list, and the list after it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (weak, text) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (tag, rest) = match text.strip_prefix('"') {
            Some(rest) => rest.split_once('"')?,
            // A bare one, as the field `etag` of a body has it.
            None => {
                let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
                text.split_at(end)
            }
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix(',') {
            Some(rest) => rest.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
        let given = Self {
            weak,
            text: tag.to_owned(),
        };
        (!tag.is_empty() && !tag.contains('"')).then_some((given, rest))
    }

    /// The part that a write compares.
    fn configuration(&self) -> Option<Etag> {
        let text = self.text.split('.').next().unwrap_or_default();
        text.parse().ok()
    }
}

// === impl Reading ===

impl Reading {
    /// Whether the client has what `tag` names, so that 304 is the answer.
    pub(super) fn has(&self, tag: Tag) -> bool {
        match &self.if_none_match {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => {
                let text = tag.text();
                tags.iter().any(|given| given.text == text)
            }
        }
    }
}

impl FromRequestParts<Api> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self {
            context: Caller::of(parts, api)
                .context()
                .with_max_age(max_age(&parts.headers)),
            if_none_match: Tags::of(&parts.headers, &header::IF_NONE_MATCH)?,
        })
    }
}

/// How old an answer may be: `Cache-Control: max-age=N`. What is not understood asks for nothing.
fn max_age(headers: &HeaderMap) -> Duration {
    let mut seconds = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-cache" || directive == "no-store" {
                return Duration::ZERO;
            }
            if let Some(age) = directive.strip_prefix("max-age=") {
                let age = age.trim_matches('"').parse().unwrap_or(0);
                seconds = Some(seconds.map_or(age, |other: u64| other.min(age)));
            }
        }
    }
    Duration::from_secs(seconds.unwrap_or(0))
}

// === impl IfMatch, IfMatchOrAbsent, Unconditional ===

fn guard(headers: &HeaderMap, may_create: bool) -> Result<Guard, Error> {
    let if_match = Tags::of(headers, &header::IF_MATCH)?;
    let if_none_match = Tags::of(headers, &header::IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(Guard::None),
        (None, Some(Tags::Any)) if may_create => Ok(Guard::Absent),
        (_, Some(_)) => Err(Error::invalid(
            "if-none-match",
            if may_create {
                "a write takes it as * and without If-Match only: create, never replace"
            } else {
                "this write takes If-Match only"
            },
        )),
        (Some(Tags::Any), None) => Ok(Guard::Exists),
        (Some(Tags::These(tags)), None) => {
            if tags.iter().any(|tag| tag.weak) {
                return Err(Error::invalid(
                    "if-match",
                    "a weak entity tag (W/) never matches here; send the tag as it was given",
                ));
            }
            let etags: Vec<_> = tags.iter().filter_map(Given::configuration).collect();
            if etags.is_empty() {
                return Err(
                    Error::new(Reason::RevisionMismatch, "the etag is not of this daemon")
                        .with_hint("send the etag that an answer carried"),
                );
            }
            Ok(Guard::Matches(etags))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(guard(&parts.headers, false)?))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatchOrAbsent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(guard(&parts.headers, true)?))
    }
}

impl<S: Sync> FromRequestParts<S> for Unconditional {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
            if parts.headers.contains_key(&name) {
                // Silence would let the client believe that it was heeded.
                return Err(Error::invalid(name.as_str(), "this request takes none").into());
            }
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::RequestId;
    use crate::model::EtagScope;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_write_compares_the_configuration_however_the_tag_is_written() {
        let etag = Etag::of(EtagScope::Service, &1);
        for text in [
            format!("\"{etag}.0123456789abcdef\""),
            format!("\"{etag}\""),
            format!("{etag}"),
            format!("\"foreign\" , \"{etag}\""),
        ] {
            let headers = headers(&[(header::IF_MATCH, &text)]);
            assert_eq!(
                guard(&headers, false).unwrap(),
                Guard::Matches(vec![etag]),
                "{text}"
            );
        }
    }

    #[test]
    fn a_foreign_tag_does_not_match_and_a_weak_one_is_refused() {
        let reason = |text| {
            let headers = headers(&[(header::IF_MATCH, text)]);
            guard(&headers, false).unwrap_err().reason
        };
        assert_eq!(reason("\"foreign\""), Reason::RevisionMismatch);
        assert_eq!(reason("W/\"s-0123456789abcdef\""), Reason::InvalidArgument);
        for broken in ["\"", "\"a", "\"a\" \"b\"", "a b", "a\"b", ","] {
            assert_eq!(reason(broken), Reason::InvalidArgument, "{broken}");
        }
    }

    #[test]
    fn a_star_asks_for_existence_and_absence() {
        let exists = headers(&[(header::IF_MATCH, "*")]);
        assert_eq!(guard(&exists, true).unwrap(), Guard::Exists);
        let absent = headers(&[(header::IF_NONE_MATCH, "*")]);
        assert_eq!(guard(&absent, true).unwrap(), Guard::Absent);
        assert!(guard(&absent, false).is_err());
        let both = headers(&[(header::IF_NONE_MATCH, "*"), (header::IF_MATCH, "*")]);
        assert!(guard(&both, true).is_err());
        assert_eq!(guard(&HeaderMap::new(), true).unwrap(), Guard::None);
    }

    #[test]
    fn a_read_compares_the_whole_tag_weak_or_not() {
        let tag = Tag::of_bytes(Some(Etag::of(EtagScope::Service, &1)), b"{}");
        let other = Tag::of_bytes(Some(Etag::of(EtagScope::Service, &1)), b"{ }");
        let reading = |text: &str| Reading {
            context: RequestContext::new(RequestId::new("-"), Duration::ZERO),
            if_none_match: Tags::of(
                &headers(&[(header::IF_NONE_MATCH, text)]),
                &header::IF_NONE_MATCH,
            )
            .unwrap(),
        };
        let text = tag.text();
        assert!(reading(&format!("\"{text}\"")).has(tag));
        assert!(reading(&format!("\"x\", W/\"{text}\"")).has(tag));
        assert!(!reading(&format!("\"{text}\"")).has(other));
        assert!(reading("*").has(other));
    }

    #[test]
    fn an_age_is_allowed_by_max_age_only() {
        let age = |text: &str| max_age(&headers(&[(header::CACHE_CONTROL, text)])).as_secs();
        assert_eq!(age("max-age=5"), 5);
        assert_eq!(age("Max-Age=5, max-age=3"), 3);
        assert_eq!(age("max-age=5, no-cache"), 0);
        assert_eq!(age("max-age=-1"), 0);
        assert_eq!(age("max-stale"), 0);
        assert_eq!(max_age(&HeaderMap::new()), Duration::ZERO);
    }
}
