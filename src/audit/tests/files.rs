//! The file: how it is opened, rotated and repaired.

use std::{
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    os::unix::net::UnixDatagram,
};

use super::*;

fn rotated(dir: &TempDir) -> FileOptions {
    FileOptions {
        max_bytes: 1000,
        max_files: 3,
        ..FileOptions::new(dir.file())
    }
}

/// The older file with this number.
fn older(dir: &TempDir, number: usize) -> PathBuf {
    dir.0.join(format!("audit.log.{number}"))
}

#[test]
fn only_the_owner_may_read_the_file() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    let mode = fs::metadata(dir.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    drop(log);
}

#[test]
fn records_are_one_line_of_json_each_in_order() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    for number in 0..1000 {
        log.record(numbered(number));
    }
    log.finish();
    let records = records_of(&dir.file());
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(ids(&records), expected);
    let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let dir = TempDir::new();
    let target = dir.0.join("target");
    fs::write(&target, "").unwrap();
    symlink(&target, dir.file()).unwrap();
    let open = || AuditLog::start(&options(FileOptions::new(dir.file())));
    let error = open().unwrap_err();
    assert!(error.to_string().contains("audit.log"), "{error}");
    fs::remove_file(dir.file()).unwrap();
    fs::create_dir(dir.file()).unwrap();
    open().unwrap_err();
    fs::remove_dir(dir.file()).unwrap();
    // Without a reader, opening a pipe to write would wait.
    nix::unistd::mkfifo(&dir.file(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    open().unwrap_err();
    assert_eq!(fs::read(&target).unwrap(), b"");
}

#[test]
fn numbers_continue_after_a_restart() {
    let dir = TempDir::new();
    for start in [1, 3, 5] {
        let log = log_to(&dir.file());
        log.record(event("zero"));
        log.record(event("zero"));
        log.finish();
        let records = records_of(&dir.file());
        assert_eq!(records.last().unwrap().seq, start + 1);
    }
    // A file that was just rotated.
    fs::rename(dir.file(), older(&dir, 1)).unwrap();
    let log = log_to(&dir.file());
    log.record(event("zero"));
    log.finish();
    assert_eq!(records_of(&dir.file())[0].seq, 7);
    assert_eq!(all(&log).len(), 7);
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_are_removed() {
    let dir = TempDir::new();
    fs::write(older(&dir, 4), "of an earlier configuration\n").unwrap();
    let log = AuditLog::start(&options(rotated(&dir))).unwrap();
    for number in 0..100 {
        log.record(numbered(number));
    }
    log.finish();
    assert!(!older(&dir, 4).exists());
    let mut found = Vec::new();
    for path in [older(&dir, 3), older(&dir, 2), older(&dir, 1), dir.file()] {
        let size = fs::metadata(&path).unwrap().size();
        assert!(size <= 1000, "{}: {size}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        found.extend(records_of(&path));
    }
    // Without a gap, to the last one.
    let first = found[0].seq;
    assert!(first > 80, "{first}");
    let seqs: Vec<_> = found.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (first..=100).collect::<Vec<_>>());
}

#[test]
fn a_file_is_rotated_when_its_first_record_is_too_old() {
    let dir = TempDir::new();
    let age = |seconds: u64| FileOptions {
        max_age: Duration::from_secs(seconds),
        ..FileOptions::new(dir.file())
    };
    let write = |options: FileOptions| {
        let log = AuditLog::start(&super::options(options)).unwrap();
        log.record(event("zero"));
        log.finish();
    };
    write(age(3600));
    // An hour and a minute ago.
    let text = fs::read_to_string(dir.file()).unwrap();
    let record: AuditRecord = serde_json::from_str(&text).unwrap();
    let old = record.time - Duration::from_secs(3660);
    let text = text.replace(&format!("{:.3}", record.time), &format!("{old:.3}"));
    fs::write(dir.file(), text).unwrap();
    write(age(7200));
    assert!(!older(&dir, 1).exists());
    write(age(3600));
    assert_eq!(records_of(&older(&dir, 1)).len(), 2);
    assert_eq!(records_of(&dir.file()).len(), 1);
}

#[test]
fn a_file_that_was_moved_away_is_created_anew() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    log.record(numbered(1));
    wait_for_lines(&dir.file(), 1);
    let moved = dir.0.join("moved");
    fs::rename(dir.file(), &moved).unwrap();
    log.record(numbered(2));
    wait_for_lines(&dir.file(), 1);
    assert_eq!(ids(&records_of(&moved)), ["1"]);
    assert_eq!(ids(&records_of(&dir.file())), ["2"]);
    // On request also without a record.
    fs::rename(dir.file(), &moved).unwrap();
    log.reopen();
    wait_for("the file is created", || dir.file().exists());
}

#[test]
fn an_incomplete_last_line_does_not_spoil_the_next() {
    let dir = TempDir::new();
    fs::write(dir.file(), "{\"seq\":1,\"ti").unwrap();
    let log = log_to(&dir.file());
    log.record(numbered(1));
    log.finish();
    let lines = lines_of(&dir.file());
    assert_eq!(lines.len(), 2);
    serde_json::from_str::<AuditRecord>(&lines[1]).unwrap();
}

#[test]
fn a_file_that_cannot_be_written_is_tried_again_without_a_loss() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    log.record(numbered(1));
    wait_for_lines(&dir.file(), 1);
    // A symbolic link is neither written nor read.
    let moved = dir.0.join("moved");
    fs::rename(dir.file(), &moved).unwrap();
    symlink(&moved, dir.file()).unwrap();
    log.record(numbered(2));
    log.record(numbered(3));
    wait_for("the waiting records are found", || {
        ids(&all(&log)) == ["3", "2"]
    });
    fs::remove_file(dir.file()).unwrap();
    wait_for_lines(&dir.file(), 2);
    assert_eq!(ids(&records_of(&moved)), ["1"]);
    assert_eq!(ids(&records_of(&dir.file())), ["2", "3"]);
    assert_eq!(log.lost(), 0);
}

#[test]
fn a_full_file_system_leaves_no_incomplete_line() {
    /// The file, for the process with the limit.
    const VARIABLE: &str = "IPVSD_TEST_FULL_FILE";
    match std::env::var(VARIABLE) {
        Ok(path) => write_beyond_the_limit(Path::new(&path)),
        Err(_) => {
            // A limit of the size of files stands for a full disk. It is one of the process, so that
            // another one, which runs this test only, has it. A shell makes it ignore the signal.
            let dir = TempDir::new();
            let name = "audit::tests::files::a_full_file_system_leaves_no_incomplete_line";
            let output = std::process::Command::new("sh")
                .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(VARIABLE, dir.file())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let records = records_of(&dir.file());
            let expected: Vec<_> = (1..=100).map(|number| number.to_string()).collect();
            assert_eq!(
                ids(&records),
                expected,
                "each record is there once, as a whole"
            );
        }
    }
}

fn write_beyond_the_limit(path: &Path) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 1000, hard).unwrap();
    let log = log_to(path);
    for number in 1..=100 {
        log.record(numbered(number));
    }
    // An incomplete line is there until it is truncated.
    wait_for("the file is full of complete lines", || {
        let text = fs::read_to_string(path).unwrap();
        (501..=1000).contains(&text.len()) && text.ends_with('\n')
    });
    assert_eq!(all(&log).len(), 100, "the others wait");
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    wait_for_lines(path, 100);
    assert_eq!(log.lost(), 0);
}

#[test]
fn foreign_lines_stay_and_are_left_out() {
    let dir = TempDir::new();
    let log = log_to(&dir.file());
    log.record(numbered(1));
    wait_for_lines(&dir.file(), 1);
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(dir.file())
        .unwrap();
    file.write_all(b"garbage\n{}\n\xff\xfe\n\n[1]\n").unwrap();
    file.write_all(&vec![b'x'; 300_000]).unwrap();
    file.write_all(b"\n").unwrap();
    log.record(numbered(2));
    log.finish();
    assert_eq!(ids(&all(&log)), ["2", "1"]);
}

#[test]
fn the_journal_receives_one_datagram_for_each_record() {
    let dir = TempDir::new();
    let path = dir.0.join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(TIMEOUT)).unwrap();
    let options = AuditOptions {
        sink: SinkOptions::Journal(path.clone()),
        ..AuditOptions::default()
    };
    let log = AuditLog::start(&options).unwrap();
    let receive = |journal: &UnixDatagram| {
        let mut datagram = [0; 65536];
        let length = journal.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    };
    log.record(numbered(1));
    let text = receive(&journal);
    let (head, message) = text.split_once("\nMESSAGE=").unwrap();
    assert_eq!(
        head,
        "SYSLOG_IDENTIFIER=ipvsd-audit\nSYSLOG_FACILITY=13\nPRIORITY=5"
    );
    let record: AuditRecord = serde_json::from_str(message.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(ids(&[record]), ["1"]);
    // The journal is restarted.
    drop(journal);
    fs::remove_file(&path).unwrap();
    log.record(numbered(2));
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(receive(&journal).contains("\"request_id\":\"2\""));
    // They can be read from memory.
    assert_eq!(ids(&all(&log)), ["2", "1"]);
}

#[test]
fn a_missing_journal_is_an_error_at_the_start() {
    let dir = TempDir::new();
    let options = AuditOptions {
        sink: SinkOptions::Journal(dir.0.join("nothing")),
        ..AuditOptions::default()
    };
    let error = AuditLog::start(&options).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}
