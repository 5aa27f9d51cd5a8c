//! A model of the kernel, whose dumps take time, and of those who read, write and watch.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use proptest::prelude::*;

use crate::{
    budget::Budget,
    model::{
        Family, Name, Op, Rates, Server, ServerConfig, ServerKey, Service, ServiceConfig,
        ServiceEntry, ServiceKey, Stats, StoredFields,
    },
    watch::{
        cache::{Read, WatchCache},
        cursor::{Cursor, Step},
        event::{Change, Entry, Event, Object, Present, What},
        options::WatchOptions,
        resource::Resource,
        seen::Seen,
        state::State,
    },
};

/// The configuration of an object, as text.
pub(super) type Shown = BTreeMap<Entry, String>;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Tick {
    /// Another program executes an operation.
    Foreign(Op),
    /// The thread for changes takes its next step; if it is idle, with this task.
    Worker(Task),
    /// The thread for long reads takes its next step.
    Reader,
    /// A watcher takes what follows.
    Watcher,
    /// The module is loaded again.
    Reload,
    /// The cache is given up.
    Forget,
}

#[derive(Clone, Debug)]
pub(super) enum Task {
    Execute(Op),
    ReadService(ServiceKey),
    ReadServer(ServiceKey, ServerKey),
}

/// The kernel's table.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel(pub(super) Vec<ServiceEntry>);

/// A dump in progress.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) id: Read,
    pub(super) read: Vec<ServiceEntry>,
    /// Services whose servers have been read.
    pub(super) done: usize,
}

/// A watcher: what it knows, and what it has been reported.
pub(super) struct Client {
    pub(super) cursor: Cursor,
    pub(super) known: Shown,
}

pub(super) struct World {
    pub(super) cache: Arc<WatchCache>,
    pub(super) kernel: Kernel,
    pub(super) world: u64,
    /// What each object has been, from the begin or the last reload on.
    pub(super) history: BTreeMap<Entry, Vec<Option<String>>>,
    /// What the events said of each object, as an index into its history.
    pub(super) reported: BTreeMap<Entry, usize>,
    pub(super) auditor: Cursor,
    pub(super) worker: Option<(Task, Option<Read>, u8)>,
    pub(super) dump: Option<Dump>,
    pub(super) client: Client,
    /// Clients that have listed, and watch from there.
    pub(super) listers: Vec<Client>,
}

pub(super) fn service_key(number: u8) -> ServiceKey {
    format!("tcp-192.0.2.{number}-80").parse().unwrap()
}

pub(super) fn server_key(number: u8) -> ServerKey {
    format!("192.168.10.{number}-80").parse().unwrap()
}

pub(super) fn service_config(scheduler: u8) -> ServiceConfig {
    let names: [&[u8]; 3] = [b"rr", b"wrr", b"wlc"];
    ServiceConfig {
        scheduler: Name::from_kernel(names[usize::from(scheduler % 3)]),
        ..ServiceConfig::new(Family::Ipv4)
    }
}

pub(super) fn server_config(weight: u8) -> ServerConfig {
    ServerConfig {
        weight: weight.into(),
        ..ServerConfig::default()
    }
}

pub(super) fn server(key: ServerKey, config: ServerConfig) -> Server {
    Server {
        key,
        config,
        effective_weight: config.weight,
        holds: None,
        membership: None,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

// === impl Kernel ===

impl Kernel {
    pub(super) fn find(&mut self, key: ServiceKey) -> Option<&mut ServiceEntry> {
        self.0.iter_mut().find(|entry| entry.service.key == key)
    }

    /// Executes an operation; false if the kernel rejects it.
    pub(super) fn execute(&mut self, op: &Op) -> bool {
        match op {
            Op::CreateService(key, config, _) => {
                let is_new = self.find(*key).is_none();
                if is_new {
                    let service = Service {
                        key: *key,
                        config: *config,
                        stats: Stats::default(),
                        rates: Rates::default(),
                        kept: None,
                    };
                    let servers = Vec::new();
                    self.0.push(ServiceEntry { service, servers });
                }
                is_new
            }
            Op::SetService(key, config) => self
                .find(*key)
                .map(|entry| entry.service.config = *config)
                .is_some(),
            Op::DeleteService(key) => {
                let count = self.0.len();
                self.0.retain(|entry| entry.service.key != *key);
                self.0.len() < count
            }
            Op::CreateServer(key, new, config) => self.find(*key).is_some_and(|entry| {
                let is_new = entry.servers.iter().all(|server| server.key != *new);
                if is_new {
                    entry.servers.insert(0, server(*new, *config));
                }
                is_new
            }),
            Op::SetServer(key, changed, config) => self.find(*key).is_some_and(|entry| {
                let mut servers = entry.servers.iter_mut();
                let found = servers.find(|server| server.key == *changed);
                found.map(|server| server.config = *config).is_some()
            }),
            Op::DeleteServer(key, gone) => self.find(*key).is_some_and(|entry| {
                let count = entry.servers.len();
                entry.servers.retain(|server| server.key != *gone);
                entry.servers.len() < count
            }),
            Op::Clear => {
                self.0.clear();
                true
            }
            _ => false,
        }
    }

    pub(super) fn shown(&self) -> Shown {
        shown(&self.0)
    }
}

pub(super) fn shown(entries: &[ServiceEntry]) -> Shown {
    let mut all = Shown::new();
    for entry in entries {
        let key = entry.service.key;
        all.insert((key, None), format!("{:?}", entry.service.config));
        for server in &entry.servers {
            all.insert((key, Some(server.key)), format!("{:?}", server.config));
        }
    }
    all
}

/// The service or server of an event.
pub(super) fn entry(event: &Event) -> Entry {
    match event.object() {
        Object::Listed(entry) => entry,
        other => panic!("{other:?}"),
    }
}

/// The change of a service or server.
pub(super) fn change(event: &Event) -> &Change {
    match &event.what {
        What::Listed { change, .. } => change,
        other => panic!("{other:?}"),
    }
}

pub(super) fn parts(event: &Event) -> (Option<String>, Option<String>) {
    match change(event) {
        Change::Service { before, after, .. } => (
            before.map(|config| format!("{config:?}")),
            after.map(|config| format!("{config:?}")),
        ),
        Change::Server { before, after, .. } => (
            before.map(|config| format!("{config:?}")),
            after.map(|config| format!("{config:?}")),
        ),
    }
}

// === impl Client ===

impl Client {
    /// Takes one step. Returns whether there was any. A client that has received a state must be reported
    /// exactly how it changes.
    pub(super) fn step(&mut self, state: &State, is_exact: bool) -> bool {
        match self.cursor.advance(state) {
            Step::Nothing => return false,
            Step::Complete => {}
            Step::Resync(_) => self.known.clear(),
            Step::State(objects) => {
                for object in objects {
                    let Present::Listed {
                        entry, resource, ..
                    } = object
                    else {
                        panic!("{object:?}");
                    };
                    let (key, text) = match resource {
                        Resource::Service(_, config, _) => (entry, format!("{config:?}")),
                        Resource::Server(.., config) => (entry, format!("{config:?}")),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(self.known.insert(key, text), None, "sent twice");
                }
            }
            Step::Events(events) => {
                for event in events {
                    let (before, after) = parts(&event);
                    assert_ne!(before, after);
                    let key = entry(&event);
                    let known = match after {
                        Some(after) => self.known.insert(key, after),
                        None => self.known.remove(&key),
                    };
                    if is_exact {
                        assert_eq!(known, before, "{key:?}");
                    }
                }
            }
        }
        true
    }
}

// === impl World ===

impl World {
    pub(super) fn new(max_events: usize) -> Self {
        let options = WatchOptions {
            max_events,
            ..WatchOptions::default()
        };
        let cache = Arc::new(WatchCache::new(options, &Budget::new(64 << 20)));
        cache.connected(0);
        cache.retain(Instant::now());
        let begin = cache.revision();
        Self {
            cache,
            kernel: Kernel::default(),
            world: 0,
            history: BTreeMap::new(),
            reported: BTreeMap::new(),
            auditor: Cursor::at(begin),
            worker: None,
            dump: None,
            client: Client {
                cursor: Cursor::at_begin(begin),
                known: Shown::new(),
            },
            listers: Vec::new(),
        }
    }

    pub(super) fn events_after(&self, counter: u64) -> Vec<Arc<Event>> {
        self.cache.state().log().after(counter).cloned().collect()
    }

    pub(super) fn execute(&mut self, op: &Op) -> bool {
        let before = self.kernel.shown();
        let is_done = self.kernel.execute(op);
        let after = self.kernel.shown();
        for key in before.keys().chain(after.keys()) {
            if before.get(key) != after.get(key) {
                let history = self.history.entry(*key).or_insert_with(|| vec![None]);
                let now = after.get(key).cloned();
                // A key of both maps comes twice.
                if history.last() != Some(&now) {
                    history.push(now);
                }
            }
        }
        is_done
    }

    pub(super) fn tick(&mut self, tick: Tick) {
        match tick {
            Tick::Foreign(op) => drop(self.execute(&op)),
            Tick::Worker(task) => self.work(task),
            Tick::Reader => self.read(),
            Tick::Watcher => {
                self.client.step(&self.cache.state(), true);
                for lister in &mut self.listers {
                    lister.step(&self.cache.state(), false);
                }
            }
            Tick::Reload => {
                self.kernel = Kernel::default();
                self.world += 1;
                self.cache.connected(self.world);
                self.history.clear();
                self.reported.clear();
                self.dump = None;
                self.worker = None;
                self.cache.state().end_ops();
            }
            Tick::Forget => {
                self.cache.state().forget();
                self.reported.clear();
            }
        }
        self.audit();
    }

    /// Each event reports a state that the object has had, after the one that was reported before.
    pub(super) fn audit(&mut self) {
        loop {
            match self.auditor.advance(&self.cache.state()) {
                Step::Nothing => return,
                Step::Events(events) => {
                    for event in events {
                        let key = entry(&event);
                        let (_, after) = parts(&event);
                        let history = self.history.entry(key).or_insert_with(|| vec![None]);
                        let from = self.reported.get(&key).map_or(0, |reported| *reported);
                        let found = history.iter().skip(from).position(|state| *state == after);
                        let found = found.unwrap_or_else(|| {
                            panic!("{event:?} is not in {history:?} from {from} on")
                        });
                        self.reported.insert(key, from + found);
                    }
                }
                _ => {}
            }
        }
    }

    /// The steps of the thread for changes.
    pub(super) fn work(&mut self, task: Task) {
        let (task, id, step) = match self.worker.take() {
            Some(work) => work,
            None => (task, None, 0),
        };
        match (&task, step) {
            (Task::Execute(op), 0) => self.cache.state().begin_ops(std::slice::from_ref(op)),
            (Task::Execute(op), 1) => {
                if !self.execute(&op.clone()) {
                    self.cache.state().end_ops();
                    return;
                }
            }
            (Task::Execute(op), _) => {
                self.cache.state().executed([op].into_iter(), None);
                self.cache.state().end_ops();
                return;
            }
            (Task::ReadService(_) | Task::ReadServer(..), 0) => {
                self.worker = Some((task, self.cache.begin_read(), 1));
                return;
            }
            (Task::ReadService(key), _) => {
                let found = self.kernel.find(*key).cloned();
                id.unwrap().finish(|see| match &found {
                    Some(entry) => {
                        see(Seen::Service(*key, &entry.service.config));
                        see(Seen::Servers(*key, &entry.servers));
                    }
                    None => see(Seen::Missing(*key)),
                });
                return;
            }
            (Task::ReadServer(key, server), _) => {
                let found = self.kernel.find(*key).cloned();
                id.unwrap().finish(|see| match &found {
                    Some(entry) => {
                        let mut servers = entry.servers.iter();
                        let found = servers.find(|one| one.key == *server);
                        let config = found.map(|one| &one.config);
                        see(Seen::Server(*key, *server, config));
                    }
                    None => see(Seen::Missing(*key)),
                });
                return;
            }
        }
        self.worker = Some((task, id, step + 1));
    }

    /// The steps of a dump: all services, the servers of each, the end.
    pub(super) fn read(&mut self) {
        let Some(dump) = &mut self.dump else {
            self.dump = Some(Dump {
                id: self.cache.begin_read().unwrap(),
                read: Vec::new(),
                done: usize::MAX,
            });
            return;
        };
        if dump.done == usize::MAX {
            dump.read = self.kernel.0.clone();
            dump.done = 0;
            return;
        }
        if let Some(entry) = dump.read.get_mut(dump.done) {
            let found = self.kernel.find(entry.service.key);
            entry.servers = found.map(|entry| entry.servers.clone()).unwrap_or_default();
            dump.done += 1;
            return;
        }
        let Some(Dump { id, mut read, .. }) = self.dump.take() else {
            return;
        };
        // Empty services are confirmed.
        let kernel = &mut self.kernel;
        read.retain(|entry| !entry.servers.is_empty() || kernel.find(entry.service.key).is_some());
        let show = |see: &mut dyn FnMut(Seen<'_>)| see(Seen::Table(&read, read.len()));
        let finished = id.finish(show);
        if let Some(revision) = finished.revision {
            self.listers.push(Client {
                cursor: Cursor::at(revision),
                known: shown(&read),
            });
        }
    }

    /// Lets everything come to its end, and expects all to know the table.
    pub(super) fn end(mut self) {
        while self.worker.is_some() {
            self.work(Task::Execute(Op::ZeroAll));
        }
        self.dump = None;
        for _ in 0..2 {
            let steps = 3 + self.kernel.0.len();
            for _ in 0..steps {
                self.read();
            }
            assert!(self.dump.is_none());
        }
        self.audit();
        let expected = self.kernel.shown();
        while self.client.step(&self.cache.state(), true) {}
        assert_eq!(self.client.known, expected, "watcher");
        for mut lister in self.listers {
            while lister.step(&self.cache.state(), false) {}
            assert_eq!(lister.known, expected, "list and watch");
        }
    }
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let service = (0..2_u8).prop_map(service_key);
    let server = (0..3_u8).prop_map(server_key);
    (0..20_u8, service, server, 0..3_u8).prop_map(|(kind, service, server, value)| match kind {
        0..3 => Op::CreateService(service, service_config(value), StoredFields::default()),
        3..5 => Op::SetService(service, service_config(value)),
        5 => Op::DeleteService(service),
        6..11 => Op::CreateServer(service, server, server_config(value)),
        11..16 => Op::SetServer(service, server, server_config(value)),
        16..19 => Op::DeleteServer(service, server),
        _ => Op::Clear,
    })
}

pub(super) fn any_task() -> impl Strategy<Value = Task> {
    let service = (0..2_u8).prop_map(service_key);
    let server = (0..3_u8).prop_map(server_key);
    prop_oneof![
        4 => any_op().prop_map(Task::Execute),
        1 => service.clone().prop_map(Task::ReadService),
        1 => (service, server).prop_map(|(service, server)| Task::ReadServer(service, server)),
    ]
}

pub(super) fn any_tick() -> impl Strategy<Value = Tick> {
    prop_oneof![
        20 => any_op().prop_map(Tick::Foreign),
        60 => any_task().prop_map(Tick::Worker),
        60 => Just(Tick::Reader),
        20 => Just(Tick::Watcher),
        1 => Just(Tick::Reload),
        1 => Just(Tick::Forget),
    ]
}
