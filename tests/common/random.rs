//! Numbers for tests.
#![allow(dead_code, reason = "each suite uses a part of this")]

/// Numbers without a pattern, the same in each run.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next one, from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}
