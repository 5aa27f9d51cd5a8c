//! The state of the cache, behind its lock.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    event::{Author, Event, Origin, What},
    in_progress::ReadInProgress,
    kept::KeptServices,
    log::Log,
    options::WatchOptions,
    record::{RecordKey, Records, Showing},
    resource::Resource,
    revision::{NO_EPOCH, Revision},
    seen::Seen,
    table::{Comparison, Difference, LastSeen},
    touched::{Touch, Touched},
};
use crate::{
    budget::{Budget, Charge},
    model::{Error, Kept, Op, Owner, ServiceKey, StoredFields},
};

/// The state of the cache.
#[derive(Debug)]
pub(super) struct State {
    revision: Revision,
    /// What the epoch is about: the kernel's netlink family in a network namespace.
    world: Option<u64>,
    /// The last revision of a state that is not known.
    unknown: u64,
    /// `None`: nothing is known. The next dump of the whole table fills it.
    table: Option<LastSeen>,
    kept: Arc<KeptServices>,
    records: Records,
    log: Log,
    /// The reads in progress.
    reads: Vec<ReadInProgress>,
    next_read: u64,
    /// What the operations in progress change.
    ops: Vec<Touch>,
    /// Whether they were in progress when the table became known: it may show their effect.
    ops_are_shown: bool,
    /// Of the table and the log.
    charge: Charge,
    /// The number of the change at which everything was forgotten last.
    forgotten: u64,
    dumped: Option<Instant>,
    dump_time: Duration,
}

/// Bytes by which the charge grows at least.
const CHARGE_STEP: usize = 64 << 10;

// === impl State ===

impl State {
    pub(super) fn new(options: &WatchOptions, budget: &Budget) -> Self {
        Self {
            revision: Revision {
                epoch: new_epoch(),
                counter: 0,
            },
            world: None,
            unknown: 0,
            table: None,
            kept: Arc::default(),
            records: Records::default(),
            log: Log::new(options.max_events),
            reads: Vec::new(),
            next_read: 0,
            ops: Vec::new(),
            ops_are_shown: false,
            charge: budget.empty(),
            forgotten: 0,
            dumped: None,
            dump_time: Duration::ZERO,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn table(&self) -> Option<&LastSeen> {
        self.table.as_ref()
    }

    /// What is kept about services.
    pub(super) fn kept(&self) -> &Arc<KeptServices> {
        &self.kept
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// When the last dump of the whole table has ended, and the time that it took.
    pub(super) fn last_dump(&self) -> (Option<Instant>, Duration) {
        (self.dumped, self.dump_time)
    }

    /// Forgets the table and the events.
    pub(super) fn forget(&mut self) {
        self.table = None;
        self.dumped = None;
        self.revision.counter += 1;
        self.log.restart(self.revision.counter);
        self.forgotten = self.revision.counter;
        self.charge.shrink_to(0);
        // The operations that they were to execute again are not known.
        for read in &mut self.reads {
            read.executed = None;
        }
    }

    /// Whether a revision is from before everything was forgotten.
    pub(super) fn is_forgotten(&self, revision: Revision) -> bool {
        revision.counter < self.forgotten
    }

    /// A socket was connected. If it is to another world, everything begins anew.
    pub(super) fn connected(&mut self, world: u64) {
        if self
            .world
            .replace(world)
            .is_some_and(|known| known != world)
        {
            self.revision.epoch = new_epoch();
            self.reads.clear();
            self.forget();
        }
    }

    /// A revision of no epoch, which no other response has.
    pub(super) fn next_unknown(&mut self) -> Revision {
        self.unknown += 1;
        Revision {
            epoch: NO_EPOCH,
            counter: self.unknown,
        }
    }

    // === reads ===

    pub(super) fn begin_read(&mut self) -> u64 {
        let mut touched = Touched::new();
        self.ops.iter().for_each(|touch| touched.add(*touch, false));
        let id = self.next_read;
        self.next_read += 1;
        let read = ReadInProgress::new(id, self.revision, touched);
        self.reads.push(read);
        id
    }

    /// Takes a read out. `None`: it is of a world that is gone.
    fn take_read(&mut self, id: u64) -> Option<ReadInProgress> {
        let place = self.reads.iter().position(|read| read.id == id)?;
        Some(self.reads.swap_remove(place))
    }

    pub(super) fn abandon_read(&mut self, id: u64) {
        drop(self.take_read(id));
    }

    /// Compares a part of what a read shows with the table. Returns whether an object may have been left
    /// out.
    pub(super) fn see(&mut self, id: u64, seen: Seen<'_>) -> bool {
        let read = self.reads.iter_mut().find(|read| read.id == id);
        let (Some(table), Some(read)) = (&mut self.table, read) else {
            return false;
        };
        let mut comparison = Comparison::new(&read.touched);
        match seen {
            Seen::Table(entries, _) => table.see_absent(entries, &mut comparison),
            Seen::Missing(key) => table.see_missing(key, &mut comparison),
            Seen::Service(key, config) => table.see_service(key, config, &mut comparison),
            Seen::Servers(key, servers) => table.see_servers(key, servers, &mut comparison),
            Seen::Server(key, server, config) => {
                table.see_server(key, server, config, &mut comparison);
            }
        }
        let Comparison {
            found,
            again,
            differs,
            ..
        } = comparison;
        read.differs |= differs | again;
        self.record(found, None, Some(id));
        again
    }

    /// A read has ended, and all that it shows has been compared. `is_whole`: it is a dump of the whole
    /// table. The result is a revision such that the read has every change up to it, and the events after it
    /// lead from the read to the table.
    pub(super) fn end_read(&mut self, id: u64, is_whole: bool) -> Option<Revision> {
        let read = self.take_read(id)?;
        self.table.as_ref()?;
        if is_whole {
            self.note_dump(read.begin);
        }
        match (read.differs, read.touched.is_nothing()) {
            (true, _) => None,
            (false, true) => Some(self.revision),
            // It has all changes from before it, and may lack those since.
            (false, false) => Some(read.revision),
        }
    }

    /// A read has ended that is a dump of the whole table, which makes it known.
    pub(super) fn fill(&mut self, id: u64, table: LastSeen) -> Option<Revision> {
        let read = self.take_read(id)?;
        // Operations are noted for it only while nothing is known: another dump was first.
        if self.table.is_some() {
            return None;
        }
        let executed = read.executed?;
        self.revision.counter += 1;
        self.log.restart(self.revision.counter);
        let revision = self.revision;
        self.table = Some(table);
        self.ops_are_shown = !self.ops.is_empty();
        self.note_dump(read.begin);
        // What they have read may be older.
        for other in &mut self.reads {
            other.touched.add(Touch::Everything, false);
        }
        // The dump may show any of them, or not: their order determines what is there now.
        for (op, author) in executed {
            let mut found = Vec::new();
            if let Some(table) = &mut self.table {
                table.execute_again(&op, &mut found);
            }
            self.record(found, author.as_ref(), None);
        }
        self.recharge();
        self.table.is_some().then_some(revision)
    }

    fn note_dump(&mut self, begin: Instant) {
        let now = Instant::now();
        self.dumped = Some(now);
        self.dump_time = now.duration_since(begin);
    }

    // === operations ===

    pub(super) fn begin_ops(&mut self, ops: &[Op]) {
        self.end_ops();
        self.ops.extend(ops.iter().filter_map(Touch::of_op));
        for read in &mut self.reads {
            self.ops
                .iter()
                .for_each(|touch| read.touched.add(*touch, false));
        }
    }

    pub(super) fn end_ops(&mut self) {
        self.ops.clear();
        self.ops_are_shown = false;
    }

    /// An operation in progress has overwritten this, which the other operation restores.
    pub(super) fn overwritten(&mut self, restores: &Op) {
        let mut found = Vec::new();
        if let Some(table) = &mut self.table {
            table.restore(restores, &mut found);
        }
        self.record(found, None, None);
    }

    /// The kernel has executed operations.
    pub(super) fn executed<'a>(
        &mut self,
        ops: impl Iterator<Item = &'a Op>,
        author: Option<&Author>,
    ) {
        let mut found = Vec::new();
        for op in ops {
            match &mut self.table {
                Some(table) if self.ops_are_shown => table.execute_again(op, &mut found),
                Some(table) => table.execute(op, &mut found),
                None => {
                    for read in &mut self.reads {
                        read.note_executed(op, author);
                    }
                }
            }
            if op.sets_stored() {
                self.record_stored(op, std::mem::take(&mut found), author);
            }
        }
        self.record(found, author, None);
    }

    /// Gives changes by an operation their revisions, and sets the stored fields. What is created has them from the
    /// beginning, and what is deleted has them to the end.
    fn record_stored(&mut self, op: &Op, found: Vec<Difference>, author: Option<&Author>) {
        let (own, foreign): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.is_own);
        self.record(foreign, author, None);
        match op {
            Op::CreateService(key, _, stored) if !own.is_empty() => {
                if Kept::stored(&self.kept.of(*key)) != stored {
                    Arc::make_mut(&mut self.kept).store(*key, stored);
                }
                self.record(own, author, None);
            }
            Op::CreateService(key, _, stored) | Op::SetStored(key, stored) => {
                self.store(*key, stored, author);
            }
            Op::DeleteService(key) => {
                self.record(own, author, None);
                self.store(*key, StoredFields::NONE, author);
            }
            _ => {
                self.record(own, author, None);
                for key in self.kept.with_stored() {
                    self.store(key, StoredFields::NONE, author);
                }
            }
        }
    }

    // === what is kept ===

    /// Owners are not known.
    pub(super) fn keep_nothing(&mut self) {
        self.kept = Arc::new(KeptServices::unknown());
    }

    /// Tables claim services, or none does any more.
    pub(super) fn claim(
        &mut self,
        claims: impl Iterator<Item = (ServiceKey, Option<Owner>)>,
        author: Option<&Author>,
    ) {
        for (service, owner) in claims {
            self.keep(service, author, |kept| kept.claim(service, owner));
        }
        self.recharge();
    }

    /// These fields are stored.
    pub(super) fn load_stored(&mut self, stored: Vec<(ServiceKey, StoredFields)>) {
        let kept = Arc::make_mut(&mut self.kept);
        stored
            .iter()
            .for_each(|(service, stored)| kept.store(*service, stored));
    }

    /// Sets the stored fields of a service. (To change what is kept copies it while somebody reads it.)
    fn store(&mut self, service: ServiceKey, stored: &StoredFields, author: Option<&Author>) {
        if Kept::stored(&self.kept.of(service)) != stored {
            self.keep(service, author, |kept| kept.store(service, stored));
        }
    }

    /// Changes what is kept about a service, which is an event if it exists.
    fn keep(
        &mut self,
        service: ServiceKey,
        author: Option<&Author>,
        change: impl FnOnce(&mut KeptServices),
    ) {
        let before = self.kept.of(service);
        change(Arc::make_mut(&mut self.kept));
        let kept = self.kept.of(service);
        if before == kept {
            return;
        }
        let table = self.table.as_ref();
        let change = table.and_then(|table| table.kept_anew(service));
        for read in &mut self.reads {
            // Without a table, no event reports what it may lack.
            if self.table.is_none() {
                read.executed = None;
            }
            read.touched.add(Touch::Service(service), change.is_some());
        }
        if let Some(change) = change {
            self.push(
                Origin::Api(author.cloned()),
                What::Listed {
                    service,
                    change,
                    kept_before: before,
                    kept,
                },
            );
            self.recharge();
        }
    }

    /// Shows a record as it is now, with the services that it is about; `None`: it does not exist any more.
    pub(super) fn show(
        &mut self,
        key: RecordKey,
        resource: Option<(Resource, Vec<ServiceKey>)>,
        showing: Showing,
        author: Option<&Author>,
    ) {
        let shown = self.records.put(&key, resource, &self.kept, showing);
        // Without a table, nobody watches.
        if let (Some((before, after)), Some(_)) = (shown, &self.table) {
            let what = What::Recorded { key, before, after };
            self.push(Origin::Api(author.cloned()), what);
            self.recharge();
        }
    }

    /// Gives changes their revisions. `by`: the read that has found them.
    fn record(&mut self, found: Vec<Difference>, author: Option<&Author>, by: Option<u64>) {
        if found.is_empty() {
            return;
        }
        for difference in found {
            let Difference {
                service,
                change,
                is_own,
            } = difference;
            let origin = match is_own {
                true => Origin::Api(author.cloned()),
                false => Origin::Foreign,
            };
            let touch = Touch::of_change(service, &change);
            for read in self.reads.iter_mut().filter(|read| Some(read.id) != by) {
                read.touched.add(touch, true);
            }
            let kept = self.kept.of(service);
            self.push(
                origin,
                What::Listed {
                    service,
                    change,
                    kept_before: kept.clone(),
                    kept,
                },
            );
        }
        self.recharge();
    }

    /// Adds an event with the next revision.
    fn push(&mut self, origin: Origin, what: What) {
        self.revision.counter += 1;
        self.log.push(Event {
            revision: self.revision,
            time: Timestamp::now(),
            origin,
            what,
        });
    }

    /// Charges what the table and the log occupy. Without memory, the cache is given up.
    fn recharge(&mut self) {
        let table = self.table.as_ref().map_or(0, LastSeen::bytes);
        let bytes = table + self.log.bytes();
        let charged = self.charge.bytes();
        if bytes + 2 * CHARGE_STEP < charged {
            self.charge.shrink_to(bytes + CHARGE_STEP);
        } else if bytes > charged {
            let grown: Result<(), Error> = self.charge.grow(bytes - charged + CHARGE_STEP);
            if let Err(error) = grown {
                tracing::warn!(%error, "no memory for the watch cache; watchers get the whole state anew");
                self.forget();
            }
        }
    }
}

/// 64 random bits, and not [`NO_EPOCH`].
fn new_epoch() -> u64 {
    // The standard library seeds it from the system's random numbers.
    RandomState::new().build_hasher().finish().max(1)
}
