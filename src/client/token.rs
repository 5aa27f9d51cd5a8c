//! Bearer tokens.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use super::files::{self, FileError};

/// A bearer token (RFC 6750): 1 to 16384 visible ASCII characters. Only requests contain it; its
/// `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// A text that is not a token. The message does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token is not one of 1 to {} visible ASCII characters",
    Token::MAX_LENGTH
)]
pub struct TokenError;

// === impl Token ===

impl Token {
    /// Maximum length in bytes. A JWT of an identity provider has one or two thousand.
    pub const MAX_LENGTH: usize = 16 << 10;

    /// Reads a file that contains a token, and perhaps white space around it. A file that group or
    /// others can read is refused.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        // With an end of line.
        let content = files::read_private(path, Self::MAX_LENGTH as u64 + 2)?;
        let text = std::str::from_utf8(content.trim_ascii()).unwrap_or_default();
        text.parse()
            .map_err(|error: TokenError| FileError::content(path, format!("has no token: {error}")))
    }

    /// The text, for a request.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        match is_visible && (1..=Self::MAX_LENGTH).contains(&text.len()) {
            true => Ok(Self(text.into())),
            false => Err(TokenError),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_token_cannot_end_a_header_field_and_is_not_shown() {
        let long = "x".repeat(Token::MAX_LENGTH + 1);
        for text in ["", " ", "a b", "a\r\nx: y", "a\n", "é", "a\u{7f}", &long] {
            let error = text.parse::<Token>().unwrap_err();
            assert!(!error.to_string().contains('\n'), "{text:?}");
        }
        let token: Token = "ipvsd_0f~+/=.".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(token.secret(), "ipvsd_0f~+/=.");
        assert!(long[1..].parse::<Token>().is_ok());
    }

    #[test]
    fn a_file_may_end_with_a_newline() {
        let name = format!("ipvsd-client-{}-token", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let longest = "x".repeat(Token::MAX_LENGTH);
        for (content, expected) in [
            ("abc".to_owned(), "abc"),
            ("abc\r\n".to_owned(), "abc"),
            (format!("{longest}\n"), longest.as_str()),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(Token::read(&path).unwrap().secret(), expected);
        }
        for content in ["\n", "secret one\n", "secret\u{e9}"] {
            fs::write(&path, content).unwrap();
            let error = Token::read(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        fs::remove_file(path).unwrap();
    }
}
