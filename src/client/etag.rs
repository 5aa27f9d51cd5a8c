//! Entity tags.

use std::{fmt, str::FromStr};

/// An entity tag (RFC 9110, section 8.8.3), opaque to clients. As a precondition of a write it
/// matches until the configuration of the resource changes; counters and connections do not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityTag(String);

/// A text that is not an entity tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an entity tag, such as \"r-0123456789abcdef\"")]
pub struct EntityTagError(String);

// === impl EntityTag ===

impl EntityTag {
    /// The tag as the header `ETag` has it, with its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// With or without its quotes, as the header `ETag` and the field `etag` of a body have it.
impl FromStr for EntityTag {
    type Err = EntityTagError;

    fn from_str(text: &str) -> Result<Self, EntityTagError> {
        let (weak, tag) = match text.strip_prefix("W/") {
            Some(tag) => ("W/", tag),
            None => ("", text),
        };
        let unquoted = tag
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'))
            .unwrap_or(tag);
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
        match !unquoted.is_empty() && unquoted.bytes().all(allowed) {
            true => Ok(Self(format!("{weak}\"{unquoted}\""))),
            false => Err(EntityTagError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn an_entity_tag_cannot_carry_another_header_field() {
        for text in ["", "\"\"", "a b", "a\r\nx: y", "\"a\"b\"", "W/"] {
            assert!(text.parse::<EntityTag>().is_err(), "{text:?}");
        }
        let tag = "r-0123".parse::<EntityTag>().unwrap();
        assert_eq!(tag.as_str(), "\"r-0123\"");
    }
}
