//! The managed network namespace is deleted, and another one gets its name.

use std::io::{self, Read};

use super::*;
use crate::kernel::{NamespaceId, Transport};

type Hook = Box<dyn Fn() + Send>;

/// A kernel with several namespaces, one of which has the managed name.
#[derive(Clone, Default)]
struct Namespaces {
    named: Arc<Mutex<Option<(u64, FakeKernel)>>>,
    /// Called after the next file is opened.
    opened: Arc<Mutex<Option<Hook>>>,
}

impl Namespaces {
    fn new() -> (Self, FakeKernel) {
        let namespaces = Self::default();
        let first = namespaces.add(1);
        (namespaces, first)
    }

    /// Gives the name to a new namespace.
    fn add(&self, inode: u64) -> FakeKernel {
        let kernel = FakeKernel::new();
        *self.named.lock().unwrap() = Some((inode, kernel.clone()));
        kernel
    }

    fn delete(&self) {
        *self.named.lock().unwrap() = None;
    }

    fn get(&self) -> io::Result<(NamespaceId, FakeKernel)> {
        let named = self.named.lock().unwrap();
        let (inode, kernel) = named
            .as_ref()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let id = NamespaceId {
            device: 4,
            inode: *inode,
        };
        Ok((id, kernel.clone()))
    }

    fn executor(&self) -> Executor {
        Executor::start(Arc::new(self.clone()), ExecutorLimits::default()).unwrap()
    }
}

impl Kernel for Namespaces {
    fn namespace(&self) -> Option<&str> {
        Some("lb")
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        Ok(self.get()?.0)
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        self.identity()
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        self.get()?.1.connect()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let file = self.get()?.1.open(path);
        let opened = self.opened.lock().unwrap().take();
        if let Some(opened) = opened {
            opened();
        }
        file
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        self.get()?.1.interface_index(name)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.get()?.1.write(path, text)
    }
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespaces").finish_non_exhaustive()
    }
}

/// Starts a master sync daemon.
async fn start_master(executor: &Executor) {
    let start = Op::StartSyncDaemon(daemon_config(SyncState::Master));
    execute(executor, start).await.unwrap();
}

async fn interface_state(executor: &Executor) -> InterfaceState {
    let daemons = read_fresh(executor, SyncDaemonsQuery).await.unwrap();
    daemons[0].interface_state
}

#[tokio::test]
async fn a_master_that_is_started_during_a_read_of_the_sync_daemons_stays_known() {
    let (namespaces, kernel) = Namespaces::new();
    kernel.add_interface("eth0", 1500);
    let executor = namespaces.executor();
    start_master(&executor).await;
    assert_eq!(interface_state(&executor).await, InterfaceState::Ok);
    let (breakpoint, stop) = Breakpoint::new();
    *namespaces.opened.lock().unwrap() = Some(Box::new(stop));
    let own = executor.clone();
    let read = tokio::spawn(async move { read_fresh(&own, SyncDaemonsQuery).await });
    let release = breakpoint.reached().await;
    let stop = Op::StopSyncDaemon(SyncState::Master);
    execute(&executor, stop).await.unwrap();
    start_master(&executor).await;
    release.send(()).unwrap();
    read.await.unwrap().unwrap();
    assert_eq!(interface_state(&executor).await, InterfaceState::Ok);
}

#[tokio::test]
async fn a_master_that_is_started_in_a_new_namespace_stays_known_to_both_threads() {
    let (namespaces, _) = Namespaces::new();
    let executor = namespaces.executor();
    connect(&executor).await;
    read_fresh(&executor, SyncDaemonsQuery).await.unwrap();
    let kernel = namespaces.add(2);
    kernel.add_interface("eth0", 1500);
    // The thread for changes enters the namespace first.
    start_master(&executor).await;
    assert_eq!(interface_state(&executor).await, InterfaceState::Ok);
}

fn assert_replaced(error: &Error) {
    assert_eq!(error.reason, Reason::KernelUnavailable);
    assert!(error.detail.contains("namespace lb"), "{error}");
}

#[tokio::test]
async fn requests_go_to_the_namespace_that_has_the_name() {
    let (namespaces, old) = Namespaces::new();
    let executor = namespaces.executor();
    execute(&executor, create_service(1)).await.unwrap();
    let new = namespaces.add(2);
    execute(&executor, create_service(2)).await.unwrap();
    assert!(old.service(id(2)).is_none());
    assert!(new.service(id(2)).is_some());
    let table = read_fresh(&executor, TableQuery).await.unwrap();
    assert_eq!(table.len(), 1);
}

#[tokio::test]
async fn without_the_name_requests_fail_and_name_it() {
    let (namespaces, old) = Namespaces::new();
    let executor = namespaces.executor();
    execute(&executor, create_service(1)).await.unwrap();
    namespaces.delete();
    for error in [
        read_fresh(&executor, TableQuery).await.unwrap_err(),
        read_fresh(&executor, SettingsQuery).await.unwrap_err(),
        execute(&executor, create_service(2)).await.unwrap_err(),
        write(&executor, with_precondition(2, create_service(2)))
            .await
            .unwrap_err(),
    ] {
        assert_replaced(&error);
        assert_eq!(error.errno, Some(Errno::ENOENT));
        assert!(error.hint.unwrap().contains("ip netns add lb"));
    }
    assert!(old.service(id(2)).is_none());
    namespaces.add(2);
    execute(&executor, create_service(2)).await.unwrap();
}

#[tokio::test]
async fn a_kept_result_of_a_replaced_namespace_is_not_returned() {
    let (namespaces, _) = Namespaces::new();
    let executor = namespaces.executor();
    execute(&executor, create_service(1)).await.unwrap();
    assert_eq!(read_cached(&executor, TableQuery).await.value.len(), 1);
    assert!(read_cached(&executor, TableQuery).await.kept);
    namespaces.add(2);
    assert_eq!(read_cached(&executor, TableQuery).await.value.len(), 0);
}

#[tokio::test]
async fn a_write_into_a_deleted_namespace_is_not_acknowledged() {
    let (namespaces, old) = Namespaces::new();
    let executor = namespaces.executor();
    let other = namespaces.clone();
    // Between the last check and the execution by the kernel.
    let fault = Fault::before(move |_| drop(other.add(2)));
    old.faults().once(On::Command(command::NEW_SERVICE), fault);
    let error = execute(&executor, create_service(1)).await.unwrap_err();
    assert_replaced(&error);
    assert!(error.detail.contains("was not changed"), "{error}");
    assert!(old.service(id(1)).is_some());
    execute(&executor, create_service(1)).await.unwrap();
    assert!(namespaces.get().unwrap().1.service(id(1)).is_some());
}

#[tokio::test]
async fn a_plan_from_a_deleted_namespace_is_not_executed_in_the_next() {
    let (namespaces, old) = Namespaces::new();
    let executor = namespaces.executor();
    execute(&executor, create_service(1)).await.unwrap();
    let other = namespaces.clone();
    let plan = move |found: &Option<Arc<ServiceEntry>>| {
        assert!(found.is_some());
        drop(other.add(2));
        Ok(Plan::of([create_service(2).into()]))
    };
    let change = Transaction::new(ServiceQuery(key(1)), plan, Nothing);
    let error = write(&executor, change).await.unwrap_err();
    assert_replaced(&error);
    assert!(error.detail.contains("nothing was changed"), "{error}");
    assert!(old.service(id(2)).is_none());
    assert!(namespaces.get().unwrap().1.service(id(2)).is_none());
}
