//! The watch cache: the configuration of the table as last seen, and the log of its changes.
//!
//! The kernel reports no changes. So every read is compared with the cache, and each difference becomes
//! an event with a revision. Operations of this process change the cache at once. The cache exists
//! only while there is a watcher, and for some time after a response with a revision. Drains, ramps and declared
//! tables are in the same log: those who keep them show each change. `docs/watch.md` describes what clients see.
//! No I/O.

mod cache;
mod cursor;
mod event;
mod in_progress;
mod kept;
mod log;
mod options;
mod record;
mod resource;
mod revision;
mod seen;
mod state;
mod table;
mod touched;

#[cfg(test)]
mod tests;

pub use cache::{NextDump, OpsInProgress, Read, Subscription, WatchCache};
pub use cursor::{Cursor, Resync, Step};
pub use event::{Author, Change, Event, Member, Origin, Present, What};
pub use kept::KeptServices;
pub use options::WatchOptions;
pub use record::{About, Record, RecordKey, Showing};
pub use resource::{MAX_LISTED, Resource};
pub use revision::Revision;
pub use seen::{Finished, Seen};
