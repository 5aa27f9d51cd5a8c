use std::{
    cell::{Cell, RefCell},
    env,
    os::unix::fs::{PermissionsExt, chown},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::*;

/// A path of no file. Dropping it removes what is there.
pub(in crate::server) struct TempPath(pub(in crate::server) PathBuf);

impl TempPath {
    pub(in crate::server) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ipvsd-input-{}-{number}", process::id());
        Self(env::temp_dir().join(name))
    }

    /// Writes the file, which only its owner can write.
    pub(in crate::server) fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
        self.set_mode(0o644);
    }

    pub(in crate::server) fn set_mode(&self, mode: u32) {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(in crate::server) fn make_fifo(&self) {
        mkfifo(&self.0, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    }

    /// Gives the file to another user, if these tests may do that.
    pub(in crate::server) fn give_away(&self) -> bool {
        chown(&self.0, Some(12345), None).is_ok()
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn files_are_read_when_they_are_the_same_at_two_looks() {
    let state = Cell::new(1);
    let mut watched = Watched::new(1);
    let mut look = |is_requested| watched.look(is_requested, || state.get(), || state.get());
    assert_eq!(look(false), Look::Unchanged);
    state.set(2);
    assert_eq!(look(false), Look::Changing);
    state.set(3);
    assert_eq!(look(false), Look::Changing);
    assert_eq!(look(false), Look::Read(3));
    assert_eq!(look(false), Look::Unchanged);
    state.set(4);
    assert_eq!(look(true), Look::Read(4), "requested");
    assert_eq!(look(true), Look::Read(4), "requested, and unchanged");
    assert_eq!(look(false), Look::Unchanged);
    // Back to the state that was read: nothing to do, and a later change is looked at twice.
    state.set(5);
    assert_eq!(look(false), Look::Changing);
    state.set(4);
    assert_eq!(look(false), Look::Unchanged);
    state.set(5);
    assert_eq!(look(false), Look::Changing);
    assert_eq!(look(false), Look::Read(5));
    watched.read_again();
    assert_eq!(watched.look(false, || 5, || 5), Look::Read(5));
}

#[test]
fn what_changes_during_the_read_is_read_again() {
    let states = RefCell::new(vec![3, 3, 3, 2, 2]);
    let mut watched = Watched::new(1);
    let mut look = || watched.look(false, || states.borrow_mut().pop().unwrap(), || ());
    assert_eq!(look(), Look::Changing);
    assert_eq!(look(), Look::Changing, "2 before the read, 3 after it");
    assert_eq!(look(), Look::Read(()));
}

#[test]
fn each_write_changes_the_stamp() {
    let path = TempPath::new();
    assert_eq!(FileStamp::at(&path.0), None);
    path.write("1");
    let first = FileStamp::at(&path.0).unwrap();
    assert_eq!(FileStamp::at(&path.0), Some(first));
    // The same size and the old time of modification: only ctime differs.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let modified = fs::metadata(&path.0).unwrap().modified().unwrap();
    loop {
        fs::write(&path.0, "2").unwrap();
        let file = fs::File::options().write(true).open(&path.0).unwrap();
        file.set_modified(modified).unwrap();
        let stamp = FileStamp::at(&path.0).unwrap();
        assert_eq!((stamp.length, stamp.modified), (1, first.modified));
        if stamp != first {
            break;
        }
        assert!(std::time::Instant::now() < until, "the stamp stays");
    }
}

#[test]
fn only_regular_files_of_a_limited_size_are_read() {
    let path = TempPath::new();
    path.write("12345");
    assert_eq!(read(&path.0, 5).unwrap().0, b"12345");
    let error = read(&path.0, 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    fs::remove_file(&path.0).unwrap();
    path.make_fifo();
    for path in [path.0.as_path(), Path::new("/dev/zero"), Path::new("/")] {
        let error = read(path, 4).unwrap_err();
        assert_eq!(error.to_string(), "not a regular file", "{path:?}");
    }
}

#[test]
fn only_root_and_the_daemon_may_write() {
    let path = TempPath::new();
    path.write("");
    let check = || {
        let file = fs::metadata(&path.0).unwrap();
        check_writers(&path.0, &file).map_err(|error| error.to_string())
    };
    let shown = path.0.display();
    for mode in [0o600, 0o640, 0o644, 0o755] {
        path.set_mode(mode);
        assert_eq!(check(), Ok(()), "{mode:o}");
    }
    for mode in [0o660, 0o602, 0o666] {
        path.set_mode(mode);
        let error = check().unwrap_err();
        assert!(error.ends_with(&format!("chmod go-w {shown}")), "{error}");
    }
    path.set_mode(0o600);
    if path.give_away() {
        let error = check().unwrap_err();
        assert!(error.contains(&format!("{shown} belongs to the user 12345")));
        assert!(error.ends_with(&format!("chown root {shown}")), "{error}");
    }
}
