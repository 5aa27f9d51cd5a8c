//! The sessions of browsers: cookies that stand for bearer tokens. They are in memory only, so that they
//! end with the process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use crate::{
    identity::{BrowserSession, Credential, Principal, SessionSecret},
    model::{Error, Reason, Sha256},
};

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct BrowserSessions(Mutex<HashMap<Sha256, Entry>>);

/// A session.
#[derive(Debug)]
struct Entry {
    /// The token that opened it.
    credential: Credential,
    /// The principal that opened it.
    principal: Arc<Principal>,
    end: Instant,
}

/// Longest time that a session lasts: a working day.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Most sessions.
const MAX_SESSIONS: usize = 1000;
/// Most sessions of a principal, so that one with a loop does not use up those of all.
const MAX_PER_PRINCIPAL: usize = 32;
/// Most memory in bytes of the JSON Web Tokens of all sessions. One can have 16 KiB.
const MAX_TOKEN_BYTES: usize = 4 << 20;

// === impl BrowserSessions ===

impl BrowserSessions {
    /// Opens a session that stands for a credential which is valid for this time from now on. A dry run
    /// only checks whether there is space for one.
    pub(super) fn open(
        &self,
        credential: &Credential,
        principal: &Arc<Principal>,
        valid: Duration,
        now: Instant,
        dry_run: bool,
    ) -> Result<Option<BrowserSession>, Error> {
        let mut sessions = self.lock();
        sessions.retain(|_, entry| entry.end > now);
        check_space(&sessions, credential, principal, now)?;
        if dry_run {
            return Ok(None);
        }
        let session = BrowserSession {
            secret: new_secret()?,
            lifetime: valid.min(MAX_LIFETIME),
        };
        let entry = Entry {
            credential: credential.clone(),
            principal: principal.clone(),
            end: now + session.lifetime,
        };
        sessions.insert(session.secret.hash(), entry);
        Ok(Some(session))
    }

    /// The credential that a cookie stands for; `None` if it is not known or its session has ended.
    pub(super) fn find(&self, cookie: &Sha256, now: Instant) -> Option<Credential> {
        let sessions = self.lock();
        // The map compares hashes of secrets, whose timing says nothing about a secret. The final
        // comparison does not depend on that.
        let (known, entry) = sessions.get_key_value(cookie)?;
        let is_same: bool = known.as_bytes().ct_eq(cookie.as_bytes()).into();
        let is_valid = is_same && entry.end > now;
        is_valid.then(|| entry.credential.clone())
    }

    /// Ends a session. Returns the principal that opened it; `None` if there was none.
    pub(super) fn end(&self, cookie: &Sha256, now: Instant) -> Option<Arc<Principal>> {
        let entry = self.lock().remove(cookie)?;
        (entry.end > now).then_some(entry.principal)
    }

    /// Ends the sessions of other credentials than these.
    pub(super) fn retain(&self, is_valid: impl Fn(&Credential) -> bool) {
        self.lock().retain(|_, entry| is_valid(&entry.credential));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a session for which there is no space.
fn check_space(
    sessions: &HashMap<Sha256, Entry>,
    credential: &Credential,
    principal: &Principal,
    now: Instant,
) -> Result<(), Error> {
    let is_own = |entry: &&Entry| {
        let owner = &entry.principal;
        (owner.kind, &owner.name) == (principal.kind, &principal.name)
    };
    let own = || sessions.values().filter(is_own);
    if own().count() >= MAX_PER_PRINCIPAL {
        let detail = format!(
            "{} has {MAX_PER_PRINCIPAL} sessions, the most that are permitted",
            principal.name
        );
        return Err(full(detail, own(), now));
    }
    let bytes: usize = sessions.values().map(|entry| size(&entry.credential)).sum();
    let is_full = sessions.len() >= MAX_SESSIONS || bytes + size(credential) > MAX_TOKEN_BYTES;
    match is_full {
        true => {
            let detail = "there are as many sessions of browsers as the daemon keeps";
            Err(full(detail.to_owned(), sessions.values(), now))
        }
        false => Ok(()),
    }
}

/// The error if one of these must end before another one can be opened.
fn full<'a>(detail: String, sessions: impl Iterator<Item = &'a Entry>, now: Instant) -> Error {
    let first = sessions.map(|entry| entry.end).min();
    let wait = first.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
    Error::new(Reason::RateLimited, detail)
        .with_hint(
            "end a session with DELETE /v1/session and its cookie, or wait until one expires; \
             programs need none: they send the token with each request",
        )
        .with_retry_after(wait)
}

/// Memory of a credential in bytes beside the value itself.
fn size(credential: &Credential) -> usize {
    match credential {
        Credential::Jwt(token) => token.len(),
        _ => 0,
    }
}

fn new_secret() -> Result<SessionSecret, Error> {
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Error::new(Reason::Internal, "the system has no random numbers"))?;
    Ok(SessionSecret::new(&random))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CredentialKind;

    const HOUR: Duration = Duration::from_secs(3600);

    fn principal(name: usize) -> Arc<Principal> {
        Arc::new(Principal {
            name: name.to_string(),
            kind: CredentialKind::Token,
            grant: None,
        })
    }

    fn token() -> Credential {
        Credential::Token(Sha256::of(b"secret"))
    }

    struct Fixture(BrowserSessions, Instant);

    impl Fixture {
        fn new() -> Self {
            Self(BrowserSessions::default(), Instant::now())
        }

        fn open(&self, of: usize, valid: Duration, at: Duration) -> Result<Sha256, Error> {
            let now = self.1 + at;
            let session = self.0.open(&token(), &principal(of), valid, now, false)?;
            let session = session.unwrap();
            assert!(session.lifetime <= valid && session.lifetime <= MAX_LIFETIME);
            Ok(session.secret.hash())
        }

        fn is_open(&self, cookie: &Sha256, at: Duration) -> bool {
            self.0.find(cookie, self.1 + at).is_some()
        }
    }

    #[test]
    fn a_session_lasts_no_longer_than_its_credential_and_twelve_hours() {
        let sessions = Fixture::new();
        let short = sessions.open(0, HOUR, Duration::ZERO).unwrap();
        let long = sessions.open(0, 100 * HOUR, Duration::ZERO).unwrap();
        let moment = Duration::from_nanos(1);
        assert!(sessions.is_open(&short, HOUR - moment));
        assert!(!sessions.is_open(&short, HOUR));
        assert!(sessions.is_open(&long, 12 * HOUR - moment));
        assert!(!sessions.is_open(&long, 12 * HOUR));
        assert_eq!(sessions.0.end(&long, sessions.1 + 12 * HOUR), None);
    }

    #[test]
    fn a_principal_cannot_use_up_the_sessions_of_others() {
        let sessions = Fixture::new();
        let first = sessions.open(0, HOUR, Duration::ZERO).unwrap();
        for _ in 1..MAX_PER_PRINCIPAL {
            sessions.open(0, 2 * HOUR, Duration::ZERO).unwrap();
        }
        let refused = sessions.open(0, HOUR, Duration::ZERO).unwrap_err();
        assert_eq!(refused.reason, Reason::RateLimited);
        assert_eq!(refused.retry_seconds(), Some(3600));
        sessions.open(1, HOUR, Duration::ZERO).unwrap();
        // The place of one that has been ended, and of one that has expired.
        assert!(sessions.0.end(&first, sessions.1).is_some());
        sessions.open(0, HOUR, Duration::ZERO).unwrap();
        assert!(sessions.open(0, HOUR, Duration::ZERO).is_err());
        sessions.open(0, HOUR, HOUR).unwrap();
    }

    #[test]
    fn the_number_of_sessions_and_their_memory_are_limited() {
        let sessions = Fixture::new();
        for number in 0..MAX_SESSIONS {
            sessions.open(number, HOUR, Duration::ZERO).unwrap();
        }
        let refused = sessions.open(MAX_SESSIONS, HOUR, Duration::ZERO);
        assert_eq!(refused.unwrap_err().reason, Reason::RateLimited);
        assert!(sessions.open(MAX_SESSIONS, HOUR, HOUR).is_ok());

        let sessions = BrowserSessions::default();
        let jwt = Credential::Jwt("x".repeat(16 << 10).into());
        let open = |number| sessions.open(&jwt, &principal(number), HOUR, Instant::now(), false);
        for number in 0..MAX_TOKEN_BYTES / (16 << 10) {
            open(number).unwrap();
        }
        assert_eq!(open(999).unwrap_err().reason, Reason::RateLimited);
    }

    #[test]
    fn a_dry_run_opens_nothing() {
        let sessions = Fixture::new();
        for _ in 0..2 * MAX_PER_PRINCIPAL {
            let opened = sessions
                .0
                .open(&token(), &principal(0), HOUR, sessions.1, true);
            assert!(opened.unwrap().is_none());
        }
    }
}
