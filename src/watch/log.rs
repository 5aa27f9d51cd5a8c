//! The last events.

use std::{collections::VecDeque, sync::Arc};

use super::event::Event;

/// The last events, bounded in number; the size of an event is bounded by that of the largest service.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Arc<Event>>,
    /// The number of the change before the first event.
    first: u64,
    max: usize,
    max_bytes: usize,
    bytes: usize,
}

/// Bytes per event of the limit. Few are larger than [`Event`].
const BYTES_PER_EVENT: usize = 512;

// === impl Log ===

impl Log {
    pub(super) fn new(max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            first: 0,
            max,
            max_bytes: max.saturating_mul(BYTES_PER_EVENT),
            bytes: 0,
        }
    }

    /// Forgets all events. The next one has the number after `counter`.
    pub(super) fn restart(&mut self, counter: u64) {
        self.events = VecDeque::new();
        self.first = counter;
        self.bytes = 0;
    }

    /// Adds the event with the next number.
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.events.push_back(Arc::new(event));
        while self.events.len() > self.max || self.bytes > self.max_bytes {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// The number of the change from which the log has all events.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The events after the change with this number.
    pub(super) fn after(&self, counter: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skipped = usize::try_from(counter.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.events.range(skipped.min(self.events.len())..)
    }

    /// Bytes that it occupies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
