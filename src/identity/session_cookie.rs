//! The cookie of a browser's session (RFC 6265). The director makes it from a bearer token, so that a page
//! needs to keep no secret that its scripts can read.

use std::fmt;

use cookie::{Cookie, SameSite, time};
use http::{Extensions, HeaderMap, header::COOKIE};

use super::certificate::OverTls;
use crate::model::Sha256;

/// Names of the cookie. A request can have one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookie {
    /// `__Host-ipvsd_session`, of pages over TLS. Browsers accept the name from the host itself only, so
    /// that no other host of its domain can set it.
    Host,
    /// `ipvsd_session`, of `http://localhost` and the like: some browsers refuse the prefix there.
    Local,
}

/// What a browser proves its session with: 256 random bits as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

/// A session that was opened for a browser.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// The secret. The daemon keeps its SHA-256 only.
    pub secret: SessionSecret,
    /// How long the session lasts, if nothing ends it earlier.
    pub lifetime: std::time::Duration,
}

// === impl SessionCookie ===

impl SessionCookie {
    /// All names, the one that precedes first.
    pub const ALL: [Self; 2] = [Self::Host, Self::Local];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "__Host-ipvsd_session",
            Self::Local => "ipvsd_session",
        }
    }

    /// The SHA-256 of the value in a request; `None` if the request has no such cookie. Over TLS,
    /// [`Local`](Self::Local) is not read, because other hosts of the domain can set it.
    pub fn of(self, headers: &HeaderMap, extensions: &Extensions) -> Option<Sha256> {
        let is_read = self == Self::Host || extensions.get::<OverTls>().is_none();
        let mut fields = headers.get_all(COOKIE).iter().filter(|_| is_read);
        // HTTP/2 permits several fields. Another cookie of the host may be no ASCII, or invalid.
        fields.find_map(|field| {
            let text = String::from_utf8_lossy(field.as_bytes());
            let mut cookies = Cookie::split_parse(&*text).filter_map(Result::ok);
            let own = cookies.find(|cookie| cookie.name() == self.name());
            own.map(|cookie| Sha256::of(cookie.value().as_bytes()))
        })
    }

    /// `Set-Cookie` for a session that was opened.
    pub fn set(self, session: &BrowserSession) -> String {
        self.field(&session.secret.0, session.lifetime.as_secs())
    }

    /// `Set-Cookie` that makes a browser forget the cookie.
    pub fn clear(self) -> String {
        self.field("", 0)
    }

    fn field(self, value: &str, max_age: u64) -> String {
        let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
        Cookie::build((self.name(), value))
            .http_only(true)
            .secure(true)
            .same_site(SameSite::Strict)
            .path("/")
            .max_age(time::Duration::seconds(max_age))
            .to_string()
    }
}

/// The session that a request presents, valid or not.
pub fn session_cookie(headers: &HeaderMap, extensions: &Extensions) -> Option<Sha256> {
    let mut cookies = SessionCookie::ALL.into_iter();
    cookies.find_map(|cookie| cookie.of(headers, extensions))
}

// === impl SessionSecret ===

impl SessionSecret {
    /// The secret of these random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What is kept of it.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

/// Without the secret.
impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(fields: &[&'static [u8]], is_over_tls: bool) -> Option<Sha256> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        let mut extensions = Extensions::new();
        if is_over_tls {
            extensions.insert(OverTls);
        }
        session_cookie(&headers, &extensions)
    }

    #[test]
    fn the_cookie_is_found_beside_others() {
        let hash = Some(Sha256::of(b"a1"));
        for fields in [
            &[&b"__Host-ipvsd_session=a1"[..]][..],
            &[b"other; =; \xff=\xfe;__Host-ipvsd_session=a1; x=y"],
            &[b"x=y", b"__Host-ipvsd_session=a1"],
            &[b"ipvsd_session=b2; __Host-ipvsd_session=a1"],
        ] {
            assert_eq!(read(fields, true), hash, "{fields:?}");
            assert_eq!(read(fields, false), hash, "{fields:?}");
        }
        for fields in [&[&b"a__Host-ipvsd_session=a1"[..]][..], &[b"a1"], &[]] {
            assert_eq!(read(fields, true), None, "{fields:?}");
        }
    }

    #[test]
    fn the_name_without_prefix_is_not_read_over_tls() {
        let fields = [&b"ipvsd_session=a1"[..]];
        assert_eq!(read(&fields, false), Some(Sha256::of(b"a1")));
        assert_eq!(read(&fields, true), None);
    }

    #[test]
    fn a_debug_print_has_no_secret() {
        let secret = SessionSecret::new(&[0xab; 32]);
        let session = BrowserSession {
            lifetime: std::time::Duration::from_secs(60),
            secret,
        };
        assert!(!format!("{session:?}").contains("abab"));
        let field = SessionCookie::Host.set(&session);
        let value = "ab".repeat(32);
        let expected = format!(
            "__Host-ipvsd_session={value}; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=60"
        );
        assert_eq!(field, expected);
    }
}
