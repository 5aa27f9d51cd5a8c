//! Conditional requests (RFC 9110, section 13) and `Cache-Control` of requests. `etag` describes the
//! tags.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, Version, header, request::Parts};
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterIn},
    },
};

use super::{
    compression,
    context::Caller,
    etag::{COMPRESSED, Tag},
    problem::Problem,
    shape::text,
    state::Api,
};
use crate::{
    app::{Guard, RequestContext},
    model::{Error, Etag},
};

/// A read: its context, with the accepted age, and `If-None-Match`.
#[derive(Clone, Debug)]
pub(super) struct ConditionalRead {
    pub context: RequestContext,
    if_none_match: Option<Tags>,
    accepts_gzip: bool,
    /// A body without a length ends with the connection, also when it is incomplete: HTTP/1.0 has no
    /// chunks.
    pub(super) needs_length: bool,
}

/// `If-Match` of a write to an existing resource.
#[derive(Clone, Debug)]
pub(super) struct IfMatch(pub Guard);

/// `If-Match`, or `If-None-Match: *`, of a write that may create the resource.
#[derive(Clone, Debug)]
pub(super) struct IfMatchOrAbsent(pub Guard);

/// A write without preconditions. A request with one is rejected, because the client would rely on
/// it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unconditional;

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<EntityTag>),
}

/// An entity tag in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntityTag {
    weak: bool,
    text: String,
}

/// Whether the client has the representation with this tag (`If-None-Match`). One that is invalid is
/// ignored.
#[cfg(feature = "dashboard")]
pub(super) fn is_known(headers: &HeaderMap, text: &str) -> bool {
    match Tags::of(headers, &header::IF_NONE_MATCH) {
        Ok(Some(Tags::Any)) => true,
        Ok(Some(Tags::These(tags))) => tags.iter().any(|tag| tag.text == text),
        Ok(None) | Err(_) => false,
    }
}

// === impl Tags ===

impl Tags {
    /// Parses the header `name`; `None` if it is absent.
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
            loop {
                // Empty elements of a list are ignored (RFC 9110, section 5.6.1.2).
                rest = rest.trim_start_matches([',', ' ', '\t']);
                if rest.is_empty() {
                    break;
                }
                let (tag, after) = EntityTag::parse(rest).ok_or_else(|| {
                    Error::invalid(
                        name.as_str(),
                        format!("{text:?} is neither * nor a list of entity tags"),
                    )
                })?;
                tags.push(tag);
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

impl EntityTag {
    /// Splits the first tag from a list.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (weak, text) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (tag, rest) = match text.strip_prefix('"') {
            Some(rest) => rest.split_once('"')?,
            // Without quotes, like the field `etag` of a body.
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
        let entity_tag = Self {
            weak,
            text: tag.to_owned(),
        };
        (!tag.is_empty() && !tag.contains('"')).then_some((entity_tag, rest))
    }

    /// The part that writes compare; `None` if this server did not issue the tag.
    fn configuration(&self) -> Option<Etag> {
        let text = self.text.split('.').next().unwrap_or_default();
        text.parse().ok()
    }
}

// === impl ConditionalRead ===

impl ConditionalRead {
    /// The suffix of the tag under which the client has the representation, so that the response is
    /// 304: as it is, or compressed if the client accepts that.
    pub(super) fn known(&self, tag: Tag) -> Option<&'static str> {
        let tags = match self.if_none_match.as_ref()? {
            Tags::Any => return Some(""),
            Tags::These(tags) => tags,
        };
        let text = tag.text();
        let suffixes = [Some(""), self.accepts_gzip.then_some(COMPRESSED)];
        let has = |suffix: &&str| {
            let known = |tag: &EntityTag| tag.text.strip_suffix(suffix) == Some(text.as_str());
            tags.iter().any(known)
        };
        suffixes.into_iter().flatten().find(has)
    }
}

impl FromRequestParts<Api> for ConditionalRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self {
            context: Caller::of(parts, api)
                .context()
                .with_max_age(max_age(&parts.headers)),
            if_none_match: Tags::of(&parts.headers, &header::IF_NONE_MATCH)?,
            accepts_gzip: compression::is_accepted(&parts.headers),
            needs_length: parts.version <= Version::HTTP_10,
        })
    }
}

/// The accepted age: `Cache-Control: max-age=N`. Without it, or with `no-cache` or `no-store`, the read
/// is fresh. Directives that are none of these, such as `no-cache=`, are ignored.
fn max_age(headers: &HeaderMap) -> Duration {
    let mut seconds = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim();
            let is = |known: &str| directive.eq_ignore_ascii_case(known);
            if is("no-cache") || is("no-store") {
                return Duration::ZERO;
            }
            let age = directive.split_at_checked("max-age=".len());
            if let Some((_, age)) = age.filter(|(name, _)| name.eq_ignore_ascii_case("max-age=")) {
                let age = seconds_of(age);
                seconds = Some(seconds.map_or(age, |other: u64| other.min(age)));
            }
        }
    }
    Duration::from_secs(seconds.unwrap_or(0))
}

/// A number of seconds, which may be quoted (RFC 9111, section 5.2). One that is too large counts as the
/// largest (section 1.2.2), any other text as none.
fn seconds_of(text: &str) -> u64 {
    let unquoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let digits = unquoted.unwrap_or(text);
    match digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        true => digits.parse().unwrap_or(u64::MAX),
        false => 0,
    }
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
                "only * is allowed, and not together with If-Match"
            } else {
                "not allowed for this request; use If-Match"
            },
        )),
        (Some(Tags::Any), None) => Ok(Guard::Exists),
        (Some(Tags::These(tags)), None) => {
            if tags.iter().any(|tag| tag.weak) {
                return Err(Error::invalid(
                    "if-match",
                    "a weak entity tag (W/) never matches; send the ETag without W/",
                ));
            }
            let etags: Vec<_> = tags.iter().filter_map(EntityTag::configuration).collect();
            if etags.is_empty() {
                let tags: Vec<_> = tags.iter().map(|tag| tag.text.as_str()).collect();
                return Err(Etag::not_issued("if-match", &tags));
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
                return Err(Error::invalid(name.as_str(), "not allowed for this request").into());
            }
        }
        Ok(Self)
    }
}

// === the OpenAPI document ===

fn parameter(name: &str, doc: &str, pattern: Option<&str>, example: &str) -> Parameter {
    Parameter::builder()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(doc))
        .schema(Some(text().pattern(pattern)))
        .example(Some(example.into()))
        .build()
}

fn if_match() -> Parameter {
    parameter(
        "If-Match",
        "ETags of the resource, or `*` for any. The request is rejected with 412 unless the current \
         configuration matches one of them. Counters and connections are not part of the \
         configuration.",
        Some("^(\\*|\"[srt]-[0-9a-f]{16}(\\.[0-9a-f]{16})?\")$"),
        "\"r-0123456789abcdef\"",
    )
}

impl IntoParams for ConditionalRead {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let if_none_match = parameter(
            "If-None-Match",
            "ETags of representations that the client has. The response is 304 if one of them is \
             current.",
            None,
            "\"r-0123456789abcdef.0123456789abcdef\"",
        );
        let cache_control = parameter(
            "Cache-Control",
            "`max-age=N` accepts a result up to N seconds old. Default: a fresh read of the kernel.",
            None,
            "max-age=5",
        );
        vec![if_none_match, cache_control]
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![if_match()]
    }
}

impl IntoParams for IfMatchOrAbsent {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let if_none_match = parameter(
            "If-None-Match",
            "`*`: the request is rejected with 412 if the resource exists. Not together with \
             `If-Match`.",
            Some("^\\*$"),
            "*",
        );
        vec![if_match(), if_none_match]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::RequestId;
    use crate::model::{EtagScope, Reason};

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_write_compares_the_configuration_in_every_spelling_of_the_tag() {
        let etag = Etag::of(EtagScope::Service, &1);
        for text in [
            format!("\"{etag}.0123456789abcdef\""),
            format!("\"{etag}.0123456789abcdef-gzip\""),
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
    fn a_tag_of_another_server_does_not_match_and_a_weak_tag_is_refused() {
        let reason = |text| {
            let headers = headers(&[(header::IF_MATCH, text)]);
            guard(&headers, false).unwrap_err().reason
        };
        assert_eq!(reason("\"foreign\""), Reason::RevisionMismatch);
        // The tag of a list.
        assert_eq!(reason("\"0123456789abcdef\""), Reason::RevisionMismatch);
        assert_eq!(reason("W/\"s-0123456789abcdef\""), Reason::InvalidArgument);
        for broken in ["\"", "\"a", "\"a\" \"b\"", "a b", "a\"b", ","] {
            assert_eq!(reason(broken), Reason::InvalidArgument, "{broken}");
        }
    }

    #[test]
    fn a_star_requires_existence_or_absence() {
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
    fn a_read_compares_the_whole_tag_and_ignores_weakness() {
        let tag = Tag::of_bytes(Some(Etag::of(EtagScope::Service, &1)), b"{}");
        let other = Tag::of_bytes(Some(Etag::of(EtagScope::Service, &1)), b"{ }");
        let read = |text: &str, accepts_gzip| ConditionalRead {
            context: RequestContext::new(RequestId::new("-"), Duration::ZERO),
            if_none_match: Tags::of(
                &headers(&[(header::IF_NONE_MATCH, text)]),
                &header::IF_NONE_MATCH,
            )
            .unwrap(),
            accepts_gzip,
            needs_length: false,
        };
        let text = tag.text();
        let plain = format!("\"{text}\"");
        let zipped = format!("\"{text}-gzip\"");
        assert_eq!(read(&plain, false).known(tag), Some(""));
        assert_eq!(read(&plain, true).known(tag), Some(""));
        assert_eq!(
            read(&format!("\"x\", W/{plain}"), false).known(tag),
            Some("")
        );
        assert_eq!(read(&plain, true).known(other), None);
        assert_eq!(read(&zipped, true).known(tag), Some("-gzip"));
        assert_eq!(read(&zipped, false).known(tag), None);
        assert_eq!(read("*", true).known(other), Some(""));
    }

    #[test]
    fn only_max_age_permits_an_older_result() {
        let age = |text: &str| max_age(&headers(&[(header::CACHE_CONTROL, text)])).as_secs();
        assert_eq!(age("max-age=5"), 5);
        assert_eq!(age("Max-Age=5, max-age=3"), 3);
        assert_eq!(age("max-age=5, no-cache"), 0);
        assert_eq!(age("max-age=-1"), 0);
        assert_eq!(age("max-stale"), 0);
        assert_eq!(age("NO-STORE, MAX-AGE=\"5\""), 0);
        assert_eq!(max_age(&HeaderMap::new()), Duration::ZERO);
    }

    #[test]
    fn malformed_directives_are_ignored_but_for_the_value_of_max_age() {
        let age = |text: &str| max_age(&headers(&[(header::CACHE_CONTROL, text)])).as_secs();
        for ignored in [
            "max-age",
            "max-age ",
            "max-age =1",
            "no-cache=",
            "no-store=",
            "no-cache=x",
            "=",
        ] {
            assert_eq!(age(ignored), 0, "{ignored}");
            assert_eq!(age(&format!("{ignored}, max-age=5")), 5, "{ignored}");
            assert_eq!(age(&format!("max-age=5,{ignored}")), 5, "{ignored}");
        }
        for zero in [
            "max-age=",
            "max-age=\"\"",
            "max-age=x",
            "max-age=1 2",
            "max-age= 1",
            "max-age=+1",
            "max-age=\"1",
        ] {
            assert_eq!(age(&format!("max-age=5, {zero}")), 0, "{zero}");
        }
        assert_eq!(age("max-age=\"5\""), 5);
        assert_eq!(age("max-age=99999999999999999999"), u64::MAX);
    }
}
