//! Deletions of services and servers, for who remembers something of them.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::model::Op;

/// Deletions that the kernel has executed and that nobody has taken yet. Without need, none are noted.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    is_needed: AtomicBool,
    ops: Mutex<Vec<Op>>,
}

/// Deletions that are noted at most, about 10 MB: more are one of all services.
const MAX: usize = 131_072;

// === impl Deletions ===

impl Deletions {
    pub(super) fn need(&self, is_needed: bool) {
        self.is_needed.store(is_needed, Ordering::Release);
    }

    pub(super) fn note(&self, op: &Op) {
        let is_deletion = matches!(op, Op::DeleteServer(..) | Op::DeleteService(_) | Op::Clear);
        if !is_deletion || !self.is_needed.load(Ordering::Acquire) {
            return;
        }
        let mut ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        match ops.len() < MAX && *op != Op::Clear {
            true => ops.push(op.clone()),
            false => *ops = vec![Op::Clear],
        }
    }

    pub(super) fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_noted_while_they_are_needed_and_are_bounded() {
        let deletions = Deletions::default();
        let service: crate::model::ServiceKey = "tcp-192.0.2.1-80".parse().unwrap();
        let one = Op::DeleteService(service);
        deletions.note(&one);
        assert_eq!(deletions.take(), []);
        deletions.need(true);
        deletions.note(&one);
        deletions.note(&Op::ZeroAll);
        assert_eq!(deletions.take(), std::slice::from_ref(&one));
        assert_eq!(deletions.take(), []);
        (0..=MAX).for_each(|_| deletions.note(&one));
        assert_eq!(deletions.take(), [Op::Clear]);
    }
}
