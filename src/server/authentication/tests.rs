use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt;

use super::{super::input_file::tests::TempPath, *};

/// A daemon with a policy file, and its log.
struct Fixture {
    path: TempPath,
    authenticator: Arc<Authenticator>,
    watcher: Watcher,
    now: Instant,
    log: Log,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

const HOUR: Duration = Duration::from_secs(3600);

impl Fixture {
    fn new(policy: &str) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = fmt::Subscriber::builder()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let path = TempPath::new();
        path.write(policy);
        let config = Config {
            policy: Some(path.0.clone()),
            ..Config::default()
        };
        let authenticator = Authenticator::load(&config).unwrap();
        Self {
            watcher: Watcher::new(&authenticator),
            path,
            authenticator,
            now: Instant::now(),
            _guard: tracing::subscriber::set_default(subscriber),
            log,
        }
    }

    /// Looks at the file after this time.
    fn look(&mut self, after: Duration, is_requested: bool) {
        self.now += after;
        let Self {
            path, watcher, now, ..
        } = self;
        self.authenticator
            .reload(watcher, &path.0, is_requested, *now);
    }

    /// What the token of the tests permits.
    fn grant(&self) -> Option<Grant> {
        let credential = Credential::Token(Sha256::of(b"secret"));
        let principal = self.authenticator.authenticate(&credential).ok()?;
        principal.grant.clone()
    }

    /// The log since the last call.
    fn log(&self) -> String {
        let bytes = std::mem::take(&mut *self.log.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn token() -> String {
    let hash = Sha256::of(b"secret");
    format!("[[token]]\nname = 'a'\nsha256 = '{hash}'\nrole = 'editor'\n")
}

#[test]
fn a_policy_that_is_being_written_is_not_used() {
    let mut daemon = Fixture::new("");
    // Without the line of its scope, the token would permit everything.
    daemon.path.write(&token());
    daemon.look(LOOK_INTERVAL, false);
    assert_eq!(daemon.grant(), None);
    let whole = format!("{}scope = [{{ports = '80'}}]\n", token());
    daemon.path.write(&whole);
    daemon.look(LOOK_INTERVAL, false);
    assert_eq!(daemon.grant(), None);
    daemon.look(LOOK_INTERVAL, false);
    let grant = daemon.grant().unwrap();
    assert_ne!(grant, Grant::of(grant.role), "it has a scope");
    daemon.look(LOOK_INTERVAL, false);
    assert_eq!(daemon.log().matches("policy reloaded").count(), 1);
}

#[test]
fn a_policy_is_read_at_once_on_request() {
    let mut daemon = Fixture::new("");
    daemon.path.write(&token());
    daemon.look(Duration::ZERO, true);
    assert!(daemon.grant().is_some());
}

#[test]
fn a_policy_that_is_changed_before_the_watch_begins_is_read() {
    let mut daemon = Fixture::new("");
    daemon.path.write(&token());
    daemon.watcher = Watcher::new(&daemon.authenticator);
    daemon.look(LOOK_INTERVAL, false);
    daemon.look(LOOK_INTERVAL, false);
    assert!(daemon.grant().is_some());
}

#[test]
fn a_faulty_policy_is_reported_once_a_day() {
    let mut daemon = Fixture::new(&token());
    fs::remove_file(&daemon.path.0).unwrap();
    daemon.look(LOOK_INTERVAL, false);
    daemon.look(LOOK_INTERVAL, false);
    let log = daemon.log();
    assert!(log.contains("cannot read the policy"), "{log}");
    assert!(log.contains("in_effect_since=\"20"), "{log}");
    daemon.look(23 * HOUR, false);
    assert_eq!(daemon.log(), "");
    for _ in 0..2 {
        daemon.look(24 * HOUR, false);
        assert_eq!(daemon.log().matches("policy not reloaded").count(), 1);
        daemon.look(LOOK_INTERVAL, false);
        assert_eq!(daemon.log(), "");
    }
    assert!(daemon.grant().is_some(), "the old policy is in effect");

    daemon.path.write("");
    daemon.look(LOOK_INTERVAL, false);
    daemon.look(LOOK_INTERVAL, false);
    assert!(daemon.log().contains("policy reloaded"));
    assert_eq!(daemon.grant(), None);
    daemon.look(48 * HOUR, false);
    assert_eq!(daemon.log(), "");
}

#[test]
fn a_policy_that_others_can_write_does_not_replace_one() {
    let mut daemon = Fixture::new(&token());
    daemon.path.write("");
    daemon.path.set_mode(0o666);
    daemon.look(LOOK_INTERVAL, true);
    assert!(daemon.log().contains("chmod go-w"));
    assert!(daemon.grant().is_some());
}
