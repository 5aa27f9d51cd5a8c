//! Memory that clients can make the daemon occupy, in bytes. A budget is charged before memory is
//! allocated, and the charge is released when the memory is freed.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::model::{Error, Reason};

/// A number of bytes that may be in use at once (`limits.max_memory_bytes`), or a share of one.
/// Clones are the same budget.
#[derive(Clone)]
pub struct Budget(Arc<Account>);

struct Account {
    limit: usize,
    used: AtomicUsize,
    /// The most that was in use since the last [`Budget::released`].
    peak: AtomicUsize,
    release: Notify,
    /// The most that was in use since the last [`Budget::released_some`].
    recent_peak: AtomicUsize,
    small_release: Notify,
    /// The budget of which this is a share.
    whole: Option<Budget>,
}

/// Bytes in use. Dropping it releases them.
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

/// A value, and the charge for the memory that it occupies.
#[derive(Debug)]
pub struct Charged<T> {
    value: T,
    _charge: Charge,
}

/// The memory that a response occupies which is produced while it is sent, as an extension of the
/// response: the chunk in transfer, and the one before, of which the connection may still hold a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBytes(pub usize);

/// Default of `limits.max_memory_bytes`. `deploy/ipvsd.toml` has the reason.
pub const DEFAULT_BYTES: usize = 512 << 20;

/// The part of a budget that only small charges may use: one in eight. Then large requests do not
/// keep small ones, such as a deletion, from being processed.
const RESERVED_PART: usize = 8;
/// The largest small charge in bytes: a body with a few real servers, with its parsed form.
const SMALL: usize = 64 << 10;

/// The part of a budget that the requests of one connection may use: one in two. A declared table of
/// 1000 services with 100 servers each needs 215 MB, which are less than a half of the default.
const CONNECTION_PART: usize = 2;

/// The part of a budget whose release is worth returning memory to the system soon: one in eight.
const RELEASED_PART: usize = 8;
/// The release that is worth it when the daemon is idle: 4 MiB, a table of 25,000 real servers.
const RELEASED_SOME: usize = 4 << 20;

// === impl StreamBytes ===

impl StreamBytes {
    /// Of a list: each chunk has at most 256 KiB.
    pub const OF_LIST: Self = Self(512 << 10);
    /// Of a watch: each chunk has at most 24 events.
    pub const OF_WATCH: Self = Self(64 << 10);
}

// === impl Budget ===

impl Budget {
    /// A budget of this many bytes.
    pub fn new(limit: usize) -> Self {
        Self::with_whole(limit, None)
    }

    /// A budget of at most this many of the same bytes.
    pub fn share(&self, limit: usize) -> Self {
        Self::with_whole(limit, Some(self.clone()))
    }

    fn with_whole(limit: usize, whole: Option<Self>) -> Self {
        Self(Arc::new(Account {
            limit,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            release: Notify::new(),
            recent_peak: AtomicUsize::new(0),
            small_release: Notify::new(),
            whole,
        }))
    }

    /// The share of the requests of one connection.
    #[must_use]
    pub fn of_connection(&self) -> Self {
        self.share(self.limit() / CONNECTION_PART)
    }

    /// The number of bytes.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether little is free, so that clients that keep memory in use must hurry.
    pub fn is_scarce(&self) -> bool {
        let Account { limit, whole, .. } = &*self.0;
        self.used() > limit - limit / 4 || whole.as_ref().is_some_and(Self::is_scarce)
    }

    /// Charges the budget, and the one of which it is a share. Fails with `TOO_LARGE` if the limit
    /// is lower, and with `RATE_LIMITED` if too much is in use.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Error> {
        let mut charge = self.empty();
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Like [`charge`](Self::charge), for a few bytes that a request cannot do without. It may use
    /// what is reserved for that.
    pub fn charge_reserved(&self, bytes: usize) -> Result<Charge, Error> {
        self.take(bytes, bytes, true)?;
        Ok(Charge {
            budget: self.clone(),
            bytes,
        })
    }

    /// A charge of no bytes.
    pub fn empty(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Waits until so much has been released that the allocator should return memory to the system.
    pub async fn released(&self) {
        self.0.release.notified().await;
    }

    /// Waits until so much has been released that the allocator should return memory to the system if
    /// no more is released soon.
    pub async fn released_some(&self) {
        self.0.small_release.notified().await;
    }

    /// Takes bytes, of a share and of the whole, for a charge that then has `total`. `uses_reserve`:
    /// also those that are reserved.
    fn take(&self, bytes: usize, total: usize, uses_reserve: bool) -> Result<(), Error> {
        let Account {
            limit,
            used,
            peak,
            recent_peak,
            whole,
            ..
        } = &*self.0;
        // The part is reserved once, of the whole.
        let reserved = match whole {
            None if !uses_reserve => limit / RESERVED_PART,
            _ => 0,
        };
        let available = limit - reserved;
        if total > available {
            return Err(self.too_large(total));
        }
        if let Some(whole) = whole {
            whole.take(bytes, total, uses_reserve)?;
        }
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= available);
        match used.fetch_update(Ordering::AcqRel, Ordering::Acquire, add) {
            Ok(before) => {
                peak.fetch_max(before + bytes, Ordering::AcqRel);
                recent_peak.fetch_max(before + bytes, Ordering::AcqRel);
                Ok(())
            }
            Err(_) => {
                if let Some(whole) = whole {
                    whole.give_back(bytes);
                }
                Err(self.in_use(bytes))
            }
        }
    }

    fn give_back(&self, bytes: usize) {
        let Account {
            limit,
            used,
            peak,
            release,
            recent_peak,
            small_release,
            whole,
        } = &*self.0;
        let left = used.fetch_sub(bytes, Ordering::AcqRel) - bytes;
        if let Some(whole) = whole {
            return whole.give_back(bytes);
        }
        let report = |peak: &AtomicUsize, least: usize, release: &Notify| {
            if peak.load(Ordering::Acquire).saturating_sub(left) >= least {
                peak.store(left, Ordering::Release);
                release.notify_one();
            }
        };
        report(peak, limit / RELEASED_PART, release);
        report(recent_peak, RELEASED_SOME, small_release);
    }

    fn too_large(&self, bytes: usize) -> Error {
        let limit = self.limit();
        let whose = match self.0.whole {
            Some(_) => "one connection",
            None => "the daemon",
        };
        Error::new(
            Reason::TooLarge,
            format!("the request needs {bytes} bytes of memory; {whose} may use {limit}"),
        )
        .with_hint("split the request, or raise limits.max_memory_bytes of the daemon")
    }

    fn in_use(&self, bytes: usize) -> Error {
        let whose = match self.0.whole {
            Some(_) => "one connection",
            None => "the daemon",
        };
        Error::new(
            Reason::RateLimited,
            format!(
                "the request needs {bytes} bytes of memory; {} of the {} that {whose} may use are \
                 in use",
                self.used(),
                self.limit()
            ),
        )
        .with_hint("retry later, or raise limits.max_memory_bytes of the daemon")
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.used(), self.limit())
    }
}

// === impl Charge ===

impl Charge {
    /// Charges more. On failure, the charge is what it was.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let total = self.bytes.saturating_add(bytes);
        self.budget.take(bytes, total, total <= SMALL)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Releases what exceeds this many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.budget.give_back(excess);
    }

    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({})", self.bytes)
    }
}

// === impl Charged ===

impl<T> Charged<T> {
    /// A value whose memory has been charged.
    pub fn new(value: T, charge: Charge) -> Self {
        Self {
            value,
            _charge: charge,
        }
    }
}

impl<T> Deref for Charged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        self.value.as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics fails")]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_released_can_be_charged_again() {
        let budget = Budget::new(16 * MIB);
        let first = budget.charge(10 * MIB).unwrap();
        let error = budget.charge(10 * MIB).unwrap_err();
        assert_eq!(error.reason, Reason::RateLimited);
        assert!(error.hint.unwrap().contains("limits.max_memory_bytes"));
        drop(first);
        let mut again = budget.charge(10 * MIB).unwrap();
        again.shrink_to(MIB);
        again.grow(MIB).unwrap();
        assert_eq!(budget.used(), 2 * MIB);
        drop(again);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_can_never_fit_is_too_large() {
        let budget = Budget::new(16 * MIB);
        for too_large in [16 * MIB, usize::MAX] {
            let error = budget.charge(too_large).unwrap_err();
            assert_eq!(error.reason, Reason::TooLarge);
            assert!(error.hint.unwrap().contains("limits.max_memory_bytes"));
        }
        let error = budget.share(4 * MIB).charge(5 * MIB).unwrap_err();
        assert_eq!(error.reason, Reason::TooLarge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_is_charged_to_the_whole() {
        let budget = Budget::new(16 * MIB);
        let (one, other) = (budget.share(8 * MIB), budget.share(8 * MIB));
        let charge = one.charge(7 * MIB).unwrap();
        assert_eq!(one.charge(2 * MIB).unwrap_err().reason, Reason::RateLimited);
        let second = other.charge(7 * MIB).unwrap();
        assert_eq!(budget.used(), 14 * MIB);
        assert!(budget.is_scarce() && one.is_scarce());
        drop((charge, second));
        assert_eq!((budget.used(), one.used(), other.used()), (0, 0, 0));
    }

    #[test]
    fn large_charges_leave_space_for_small_ones() {
        let budget = Budget::new(16 * MIB);
        let mut large = budget.charge(MIB).unwrap();
        while large.grow(MIB).is_ok() {}
        assert_eq!(large.bytes(), 14 * MIB);
        let small: Vec<_> = (0..32).map(|_| budget.charge(SMALL).unwrap()).collect();
        assert_eq!(budget.used(), 16 * MIB);
        assert!(budget.charge(1).is_err());
        drop(small);
        budget.charge_reserved(MIB).unwrap();
    }

    #[tokio::test]
    async fn a_large_release_is_reported() {
        let budget = Budget::new(16 * MIB);
        let share = budget.share(8 * MIB);
        drop(share.charge(MIB).unwrap());
        drop(share.charge(3 * MIB).unwrap());
        budget.released().await;
    }

    #[tokio::test]
    async fn a_smaller_release_is_reported_too() {
        let budget = Budget::new(512 * MIB);
        let reported = |budget: &Budget| budget.released_some().now_or_never().is_some();
        drop(budget.charge(3 * MIB).unwrap());
        assert!(!reported(&budget));
        // In pieces.
        let charges = [2, 2, 2].map(|size| budget.charge(size * MIB).unwrap());
        drop(charges);
        assert!(reported(&budget) && !reported(&budget));
        assert!(budget.released().now_or_never().is_none());
    }
}
