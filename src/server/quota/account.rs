//! The token buckets of one principal or peer.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::server::config::QuotaLimits;

/// What a bucket size of 0 stands for: the tokens of this many seconds.
const DEFAULT_BURST_SECONDS: u32 = 10;

/// The configured quotas. `None`: not limited.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    reads: Option<Quota>,
    writes: Option<Quota>,
    bytes: Option<ByteQuota>,
    logins: Option<Quota>,
    /// Time in which the empty buckets of requests are filled.
    recovery: Duration,
}

/// A quota of bytes.
#[derive(Clone, Copy, Debug)]
struct ByteQuota {
    per_second: u64,
    /// Time in which the empty bucket is filled, in nanoseconds.
    fill_time: u64,
}

/// What a bucket has the tokens of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Reads,
    Writes,
    Bytes,
    FailedLogins,
}

/// A quota is used up.
#[derive(Debug)]
pub(super) struct UsedUp {
    pub(super) what: Counted,
    /// Time until there are tokens again.
    pub(super) wait: Duration,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The buckets of one principal or peer.
pub(super) struct Account<C: Clock> {
    reads: Option<Limiter<C>>,
    writes: Option<Limiter<C>>,
    logins: Option<Limiter<C>>,
    bytes: Option<ByteBucket>,
    clock: C,
    /// The origin of the times below.
    start: C::Instant,
    /// When a request was last counted, in nanoseconds.
    used: AtomicU64,
}

/// The bucket of bytes. The size of a response is known after its request was admitted, so the bucket may
/// owe bytes, which governor's buckets cannot. A client may exceed its quota by one response on each of its
/// connections, and waits for it afterwards.
struct ByteBucket {
    quota: ByteQuota,
    /// When the bucket will be full, in nanoseconds.
    full_at: AtomicU64,
}

// === impl Rules ===

impl Rules {
    pub(super) fn new(limits: &QuotaLimits) -> Self {
        let rule = |rate, burst| {
            let quota = Quota::per_second(NonZeroU32::new(rate)?);
            let burst = match burst {
                0 => rate.saturating_mul(DEFAULT_BURST_SECONDS),
                burst => burst,
            };
            Some(quota.allow_burst(NonZeroU32::new(burst)?))
        };
        let reads = rule(limits.reads_per_second, limits.reads_burst);
        let writes = rule(limits.writes_per_second, limits.writes_burst);
        let logins = NonZeroU32::new(limits.failed_logins_per_minute).map(Quota::per_minute);
        let all = [&reads, &writes, &logins].into_iter().flatten();
        let recovery = all.map(Quota::burst_size_replenished_in).max();
        Self {
            recovery: recovery.unwrap_or_default(),
            reads,
            writes,
            bytes: ByteQuota::new(limits.bytes_per_second, limits.bytes_burst),
            logins,
        }
    }

    /// Whether reads, writes or bytes are limited.
    pub(super) fn limit_requests(&self) -> bool {
        self.reads.is_some() || self.writes.is_some() || self.limit_bytes()
    }

    pub(super) fn limit_bytes(&self) -> bool {
        self.bytes.is_some()
    }

    pub(super) fn limit_logins(&self) -> bool {
        self.logins.is_some()
    }
}

// === impl ByteQuota ===

impl ByteQuota {
    fn new(per_second: u64, burst: u64) -> Option<Self> {
        let burst = match burst {
            0 => per_second.saturating_mul(DEFAULT_BURST_SECONDS.into()),
            burst => burst,
        };
        let fill_time = time_of(burst, per_second)?;
        Some(Self {
            per_second,
            fill_time,
        })
    }
}

/// The time of these bytes at a rate, in nanoseconds; `None` at the rate 0.
fn time_of(bytes: u64, per_second: u64) -> Option<u64> {
    let time = (u128::from(bytes) * 1_000_000_000).checked_div(per_second.into())?;
    Some(u64::try_from(time).unwrap_or(u64::MAX))
}

// === impl Account ===

impl<C: Clock + Clone> Account<C> {
    pub(super) fn new(rules: &Rules, clock: &C) -> Self {
        let limiter = |quota: Option<Quota>| {
            quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()))
        };
        Self {
            reads: limiter(rules.reads),
            writes: limiter(rules.writes),
            logins: limiter(rules.logins),
            bytes: rules.bytes.map(|quota| ByteBucket {
                quota,
                full_at: AtomicU64::new(0),
            }),
            clock: clock.clone(),
            start: clock.now(),
            used: AtomicU64::new(0),
        }
    }
}

impl<C: Clock> Account<C> {
    /// Takes a token for a request, unless the account owes bytes.
    pub(super) fn take(&self, is_write: bool) -> Result<(), UsedUp> {
        let now = self.now();
        self.used.store(now, Ordering::Relaxed);
        if let Some(bytes) = &self.bytes {
            bytes.check(now)?;
        }
        match is_write {
            true => self.take_from(self.writes.as_ref(), Counted::Writes),
            false => self.take_from(self.reads.as_ref(), Counted::Reads),
        }
    }

    /// Takes a token for a failed login.
    pub(super) fn take_login(&self) -> Result<(), UsedUp> {
        self.used.store(self.now(), Ordering::Relaxed);
        self.take_from(self.logins.as_ref(), Counted::FailedLogins)
    }

    /// Takes bytes that have been transferred.
    pub(super) fn take_bytes(&self, bytes: usize) {
        if let Some(bucket) = &self.bytes {
            bucket.take(bytes as u64, self.now());
        }
    }

    /// Whether the account is like a new one.
    pub(super) fn has_recovered(&self, rules: &Rules) -> bool {
        let (now, used) = (self.now(), self.used.load(Ordering::Relaxed));
        let is_full = |bucket: &ByteBucket| bucket.full_at.load(Ordering::Relaxed) <= now;
        u128::from(now.saturating_sub(used)) > rules.recovery.as_nanos()
            && self.bytes.as_ref().is_none_or(is_full)
    }

    fn take_from(&self, limiter: Option<&Limiter<C>>, what: Counted) -> Result<(), UsedUp> {
        let Some(Err(until)) = limiter.map(Limiter::check) else {
            return Ok(());
        };
        let wait = until.wait_time_from(self.clock.now());
        Err(UsedUp { what, wait })
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_u64()
    }
}

// === impl ByteBucket ===

impl ByteBucket {
    /// Whether the bucket owes nothing: it will be full within the time in which an empty one is filled.
    fn check(&self, now: u64) -> Result<(), UsedUp> {
        let full_at = self.full_at.load(Ordering::Relaxed);
        match full_at
            .saturating_sub(now)
            .checked_sub(self.quota.fill_time)
        {
            None | Some(0) => Ok(()),
            Some(wait) => Err(UsedUp {
                what: Counted::Bytes,
                wait: Duration::from_nanos(wait),
            }),
        }
    }

    fn take(&self, bytes: u64, now: u64) {
        let time = time_of(bytes, self.quota.per_second).unwrap_or_default();
        let later = |full_at: u64| Some(full_at.max(now).saturating_add(time));
        // It does not fail.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }
}

// === impl Counted ===

impl Counted {
    /// The name in errors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Bytes => "bytes",
            Self::FailedLogins => "failed logins",
        }
    }

    /// The key of the configuration.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Reads => "quota.reads_per_second",
            Self::Writes => "quota.writes_per_second",
            Self::Bytes => "quota.bytes_per_second",
            Self::FailedLogins => "quota.failed_logins_per_minute",
        }
    }
}
