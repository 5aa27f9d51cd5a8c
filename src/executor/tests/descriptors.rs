//! A process or a director without free file descriptors.

use std::{
    io::{self, Read},
    sync::atomic::{AtomicI32, Ordering},
};

use super::*;
use crate::kernel::{NamespaceId, Transport};

/// A kernel that opens nothing while an errno is set.
#[derive(Clone, Debug)]
struct NoFiles {
    kernel: FakeKernel,
    errno: Arc<AtomicI32>,
}

impl NoFiles {
    fn new() -> Self {
        Self {
            kernel: FakeKernel::new(),
            errno: Arc::default(),
        }
    }

    fn fail_with(&self, errno: i32) {
        self.errno.store(errno, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        match self.errno.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn executor(&self) -> Executor {
        Executor::start(Arc::new(self.clone()), ExecutorLimits::default()).unwrap()
    }
}

impl Kernel for NoFiles {
    fn namespace(&self) -> Option<&str> {
        None
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        Ok(NamespaceId::default())
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        self.identity()
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        self.check()?;
        self.kernel.connect()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        self.check()?;
        self.kernel.open(path)
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        self.check()?;
        self.kernel.interface_index(name)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.check()?;
        self.kernel.write(path, text)
    }
}

#[track_caller]
fn assert_names(error: &Error, errno: i32, remedy: &str) {
    assert_eq!(error.reason, Reason::KernelUnavailable);
    assert_eq!(error.errno, Some(Errno(errno)));
    assert!(error.detail.contains("no free file descriptor"), "{error}");
    let hint = error.hint.as_deref().unwrap();
    assert!(hint.contains(remedy), "{hint}");
}

#[tokio::test]
async fn files_that_cannot_be_opened_are_no_missing_settings_or_facts() {
    let kernel = NoFiles::new();
    let executor = kernel.executor();
    // Reads and changes have a socket each.
    read_fresh(&executor, InfoQuery).await.unwrap();
    execute(&executor, create_service(1)).await.unwrap();
    for (errno, remedy) in [
        (libc::EMFILE, "LimitNOFILE="),
        (libc::ENFILE, "fs.file-max"),
    ] {
        kernel.fail_with(errno);
        for error in [
            read_fresh(&executor, SettingsQuery).await.map(drop),
            read_fresh(&executor, SystemQuery).await.map(drop),
            read_fresh(&executor, EstimationQuery).await.map(drop),
            read_fresh(&executor, TotalsQuery).await.map(drop),
            execute(&executor, set_setting("drop_entry", "1"))
                .await
                .map(drop),
        ] {
            assert_names(&error.unwrap_err(), errno, remedy);
        }
        // Their sockets are still open.
        execute(&executor, create_service(errno as u32))
            .await
            .unwrap();
    }
    kernel.fail_with(libc::EIO);
    let error = read_fresh(&executor, SettingsQuery).await.unwrap_err();
    assert_eq!(error.errno, Some(Errno(libc::EIO)));
    kernel.fail_with(0);
    read_fresh(&executor, SettingsQuery).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_no_lost_reply() {
    let kernel = NoFiles::new();
    kernel.fail_with(libc::EMFILE);
    let executor = kernel.executor();
    let error = read_fresh(&executor, InfoQuery).await.unwrap_err();
    assert_names(&error, libc::EMFILE, "LimitNOFILE=");
}
