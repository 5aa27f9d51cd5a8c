//! Tests of the quotas, with a clock that the test advances.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::net::SocketAddr;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::{accounts::MAX_ACCOUNTS, *};
use crate::identity::{CredentialKind, Peer};
use Operation::{Read, Write};

const MIB: usize = 1 << 20;

fn limits() -> QuotaLimits {
    QuotaLimits {
        reads_per_second: 10,
        reads_burst: 20,
        writes_per_second: 2,
        writes_burst: 0,
        bytes_per_second: MIB as u64,
        bytes_burst: 4 * MIB as u64,
        failed_logins_per_minute: 6,
    }
}

fn quotas(limits: &QuotaLimits) -> (Quotas<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Quotas::with_clock(limits, clock.clone()), clock)
}

fn principal(name: &str) -> QuotaKey {
    by(CredentialKind::Token, name)
}

fn by(kind: CredentialKind, name: &str) -> QuotaKey {
    QuotaKey::Principal(Arc::new(Principal {
        name: name.to_owned(),
        kind,
        grant: None,
    }))
}

fn peer(address: &str) -> QuotaKey {
    let address = SocketAddr::new(address.parse().unwrap(), 1);
    QuotaKey::Peer(PeerKey::of(Peer::Tcp(address)))
}

/// How many of these requests are admitted at once.
fn admitted(quotas: &Quotas<FakeRelativeClock>, key: &QuotaKey, operation: Operation) -> usize {
    (0..1000)
        .take_while(|_| quotas.admit(key, operation).is_ok())
        .count()
}

#[test]
fn a_bucket_has_its_size_and_is_filled_at_its_rate() {
    let (quotas, clock) = quotas(&limits());
    let key = principal("a");
    assert_eq!(admitted(&quotas, &key, Read), 20);
    clock.advance(Duration::from_millis(99));
    assert_eq!(admitted(&quotas, &key, Read), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(admitted(&quotas, &key, Read), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(admitted(&quotas, &key, Read), 10);
    clock.advance(Duration::from_secs(1000));
    assert_eq!(admitted(&quotas, &key, Read), 20);
    // The size that is not given: ten seconds.
    assert_eq!(admitted(&quotas, &key, Write), 20);
}

#[test]
fn an_error_says_which_quota_and_when_to_retry() {
    let (quotas, clock) = quotas(&limits());
    let key = principal("a");
    admitted(&quotas, &key, Write);
    let error = quotas.admit(&key, Write).err().unwrap();
    assert_eq!(error.reason, Reason::RateLimited);
    assert!(
        error.detail.contains("quota of writes of this principal"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("quota.writes_per_second"));
    assert_eq!(error.retry_after, Some(1));
    admitted(&quotas, &key, Read);
    let error = quotas.admit(&key, Read).err().unwrap();
    assert!(error.detail.contains("quota of reads"), "{error}");
    clock.advance(Duration::from_secs(1));
    quotas.admit(&key, Write).unwrap();
    quotas.admit(&key, Read).unwrap();
}

#[test]
fn clients_have_quotas_of_their_own() {
    let (quotas, _) = quotas(&limits());
    for (used, others) in [
        (
            principal("a"),
            vec![principal("b"), by(CredentialKind::Jwt, "a")],
        ),
        (peer("192.0.2.1"), vec![peer("192.0.2.2"), peer("::1")]),
        (peer("2001:db8::1"), vec![peer("2001:db8:0:1::1")]),
    ] {
        assert_eq!(admitted(&quotas, &used, Read), 20, "{used:?}");
        assert_eq!(admitted(&quotas, &used, Read), 0);
        for other in others {
            assert_eq!(admitted(&quotas, &other, Read), 20, "{other:?}");
        }
    }
    // One host has all addresses of a /64, and both forms of one of IPv4.
    assert_eq!(admitted(&quotas, &peer("2001:db8::ffff:1"), Read), 0);
    assert_eq!(admitted(&quotas, &peer("::ffff:192.0.2.1"), Read), 0);
    let user = |uid, pid| {
        let (gid, pid) = (pid as u32, Some(pid));
        QuotaKey::Peer(PeerKey::of(Peer::Unix { uid, gid, pid }))
    };
    assert_eq!(admitted(&quotas, &user(5, 1), Read), 20);
    assert_eq!(admitted(&quotas, &user(5, 2), Read), 0);
    assert_eq!(admitted(&quotas, &user(6, 1), Read), 20);
}

#[test]
fn bytes_are_paid_before_the_next_request() {
    let (quotas, clock) = quotas(&limits());
    let key = principal("a");
    let meter = quotas.admit(&key, Read).unwrap().unwrap();
    meter.0.take_bytes(3 * MIB);
    let meter = quotas.admit(&key, Read).unwrap().unwrap();
    // 1 MiB is left.
    meter.0.take_bytes(3 * MIB);
    for _ in 0..3 {
        let error = quotas.admit(&key, Write).err().unwrap();
        assert!(error.detail.contains("quota of bytes"), "{error}");
        assert_eq!(error.retry_after, Some(2));
    }
    clock.advance(Duration::from_millis(1999));
    assert!(quotas.admit(&key, Read).is_err());
    clock.advance(Duration::from_millis(1));
    quotas.admit(&key, Read).unwrap();
    assert_eq!(admitted(&quotas, &principal("b"), Read), 20);
}

#[test]
fn a_response_larger_than_the_bucket_is_paid_by_waiting() {
    for steps in [1, 70] {
        let (quotas, clock) = quotas(&limits());
        let key = principal("a");
        let meter = quotas.admit(&key, Read).unwrap().unwrap();
        meter.0.take_bytes(11 * MIB);
        let error = quotas.admit(&key, Read).err().unwrap();
        assert_eq!(error.retry_after, Some(7));
        for _ in 0..steps {
            assert!(quotas.admit(&key, Read).is_err());
            clock.advance(Duration::from_millis(7000 / steps));
        }
        quotas.admit(&key, Read).unwrap();
    }
}

#[test]
fn small_responses_are_counted_too() {
    let (quotas, _) = quotas(&QuotaLimits {
        reads_per_second: 0,
        ..limits()
    });
    let key = principal("a");
    let mut bytes = 0;
    while let Ok(meter) = quotas.admit(&key, Read) {
        meter.unwrap().0.take_bytes(1000);
        bytes += 1000;
        assert!(bytes < 5 * MIB);
    }
    assert!(bytes >= 4 * MIB, "{bytes}");
}

#[test]
fn without_quotas_nothing_is_kept() {
    let (quotas, _) = quotas(&QuotaLimits::default());
    assert!(!quotas.limit_requests());
    assert_eq!(admitted(&quotas, &principal("a"), Read), 1000);
    assert_eq!((quotas.principals.len(), quotas.peers.len()), (0, 0));
}

#[test]
fn failed_logins_are_limited_but_lock_nobody_out() {
    let (quotas, clock) = quotas(&limits());
    let one = PeerKey::V4([192, 0, 2, 1].into());
    for _ in 0..6 {
        quotas.login_failed(one).unwrap();
    }
    let error = quotas.login_failed(one).unwrap_err();
    assert_eq!(
        (error.reason, error.retry_after),
        (Reason::RateLimited, Some(10))
    );
    quotas
        .login_failed(PeerKey::V4([192, 0, 2, 2].into()))
        .unwrap();
    quotas.admit(&QuotaKey::Peer(one), Read).unwrap();
    clock.advance(Duration::from_secs(10));
    quotas.login_failed(one).unwrap();
    quotas.login_failed(one).unwrap_err();
    let off = QuotaLimits {
        failed_logins_per_minute: 0,
        ..limits()
    };
    let (quotas, _) = self::quotas(&off);
    assert!((0..1000).all(|_| quotas.login_failed(one).is_ok()));
}

#[test]
fn the_number_of_accounts_is_bounded() {
    let (quotas, clock) = quotas(&limits());
    let owing = principal("owing");
    quotas
        .admit(&owing, Read)
        .unwrap()
        .unwrap()
        .0
        .take_bytes(100 * MIB);
    let key = |number: usize| principal(&number.to_string());
    for number in 1..MAX_ACCOUNTS {
        assert_eq!(admitted(&quotas, &key(number), Read), 20);
    }
    // All others share one account.
    assert_eq!(admitted(&quotas, &key(MAX_ACCOUNTS), Read), 20);
    assert_eq!(admitted(&quotas, &key(MAX_ACCOUNTS + 1), Read), 0);
    assert_eq!(quotas.principals.len(), MAX_ACCOUNTS);
    assert_eq!(admitted(&quotas, &peer("192.0.2.1"), Read), 20);
    // Those that are like new ones are removed.
    clock.advance(Duration::from_secs(61));
    assert_eq!(admitted(&quotas, &key(MAX_ACCOUNTS + 1), Read), 20);
    assert_eq!(quotas.principals.len(), 2);
    assert!(quotas.admit(&owing, Read).is_err());
    clock.advance(Duration::from_secs(40));
    quotas.admit(&owing, Read).unwrap();
}

#[test]
fn an_account_in_use_is_kept() {
    let (quotas, clock) = quotas(&limits());
    let key = |number: usize| principal(&number.to_string());
    let meter = quotas.admit(&key(0), Read).unwrap().unwrap();
    for number in 1..MAX_ACCOUNTS {
        quotas.admit(&key(number), Read).unwrap();
    }
    clock.advance(Duration::from_secs(1000));
    quotas.admit(&key(MAX_ACCOUNTS), Read).unwrap();
    assert_eq!(quotas.principals.len(), 2);
    meter.0.take_bytes(100 * MIB);
    assert!(quotas.admit(&key(0), Read).is_err());
}

proptest! {
    /// A client within its quota is never refused; one above never gets more than bucket and rate.
    #[test]
    fn a_client_gets_its_quota_and_no_more(
        rate in 1_u32..1000,
        burst in 1_u32..2000,
        pauses in prop::collection::vec(0_u64..20_000, 1..300),
    ) {
        let limits = QuotaLimits { reads_per_second: rate, reads_burst: burst, ..QuotaLimits::default() };
        let (quotas, clock) = quotas(&limits);
        let (greedy, modest) = (principal("greedy"), principal("modest"));
        // A little slower than the rate, which is rounded to nanoseconds.
        let interval = 1_000_000 / u64::from(rate) + 2;
        let (mut elapsed, mut granted, mut due) = (0_u64, 0_u64, 0_u64);
        for pause in pauses {
            clock.advance(Duration::from_micros(pause));
            elapsed += pause;
            granted += admitted(&quotas, &greedy, Read) as u64;
            let bound = u64::from(burst) + elapsed * u64::from(rate) / 1_000_000 + 1;
            prop_assert!(granted <= bound, "{granted} of {bound}");
            if elapsed >= due {
                prop_assert!(quotas.admit(&modest, Read).is_ok());
                due = elapsed + interval;
            }
        }
    }
}
