//! Listeners: socket files, the connection limit, and the limit on open files.

use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener as BlockingUnixListener},
    process::{Command, Stdio},
    time::Duration,
};

use ipvsd::{
    app::MAX_RUNNING_CHECKS,
    server::{BindError, Config, Limits, ListenAddress, Server},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
};

use super::{harness::*, process::Process};

const SHORT: Duration = Duration::from_millis(150);

fn on(address: &ListenAddress) -> Config {
    Config {
        listen: vec![address.clone()],
        ..test_config()
    }
}

#[tokio::test]
async fn port_0_selects_a_free_port_on_ipv4_and_ipv6() {
    let mut config = test_config();
    config.listen.push("[::1]:0".parse().unwrap());
    let server = start_server(&config, setup().router);
    assert_eq!(server.addresses.len(), 2);
    for address in &server.addresses {
        let ListenAddress::Tcp(address) = address else {
            panic!("{address}")
        };
        assert_ne!(address.port(), 0);
        let stream = in_time(TcpStream::connect(address)).await.unwrap();
        assert!(
            exchange(stream, &get_close("/hello"))
                .await
                .ends_with("hello")
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let server = start_server(&test_config(), setup().router);
    let error = Server::bind(&on(&server.addresses[0])).err().unwrap();
    let error = format!("{:#}", anyhow::Error::from(error));
    let expected = format!(
        "cannot listen on {}: Address already in use",
        server.addresses[0]
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn the_socket_file_has_its_mode_and_is_removed_at_the_end() {
    for mode in [0o660, 0o600, 0o666] {
        let directory = TempDir::new();
        let (path, address) = directory.socket();
        let server = start_server(
            &Config {
                socket_mode: mode,
                ..on(&address)
            },
            setup().router,
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            mode
        );
        server.shutdown.advance();
        in_time(server.task).await.unwrap();
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    drop(BlockingUnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start_server(&on(&address), setup().router);
    let stream = in_time(UnixStream::connect(&path)).await.unwrap();
    assert!(
        exchange(stream, &get_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_socket_in_use_is_rejected_and_kept() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let _first = start_server(&on(&address), setup().router);
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    let stream = in_time(UnixStream::connect(&path)).await.unwrap();
    assert!(
        exchange(stream, &get_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_is_rejected_and_kept() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    fs::write(&path, "precious").unwrap();
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_missing_directory_is_reported() {
    let directory = TempDir::new();
    let address = ListenAddress::Unix(directory.0.join("none/ipvsd.sock"));
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::NoDirectory(_)), "{error}");
}

#[tokio::test]
async fn concurrent_starts_do_not_both_replace_a_stale_socket() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let lock = File::create(directory.0.join("ipvsd.sock.lock")).unwrap();
    lock.set_permissions(Permissions::from_mode(0o600)).unwrap();
    lock.lock().unwrap();
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::Contended(_)), "{error}");
    drop(lock);
    let server = Server::bind(&on(&address)).unwrap();
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn many_starts_at_once_leave_exactly_one_listener() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    drop(BlockingUnixListener::bind(&path).unwrap());
    let starts = (0..16).map(|_| {
        let config = on(&address);
        tokio::task::spawn_blocking(move || Server::bind(&config))
    });
    let outcomes = in_time(futures_util::future::join_all(starts)).await;
    let (servers, errors): (Vec<_>, Vec<_>) = outcomes
        .into_iter()
        .map(Result::unwrap)
        .partition(Result::is_ok);
    assert_eq!(servers.len(), 1);
    for error in errors.into_iter().filter_map(Result::err) {
        let expected = matches!(error, BindError::Contended(_) | BindError::InUse(_));
        assert!(expected, "{error}");
    }
    in_time(UnixStream::connect(&path)).await.unwrap();
}

#[tokio::test]
async fn another_users_lock_on_the_directory_does_not_prevent_the_start() {
    let directory = TempDir::new();
    let (_, address) = directory.socket();
    let lock = File::open(&directory.0).unwrap();
    lock.lock().unwrap();
    Server::bind(&on(&address)).unwrap();
}

#[tokio::test]
async fn a_lock_file_that_others_can_open_is_rejected() {
    let directory = TempDir::new();
    let (_, address) = directory.socket();
    let lock = directory.0.join("ipvsd.sock.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::ForeignLock(_)), "{error}");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(directory.0.join("elsewhere"), &lock).unwrap();
    assert!(Server::bind(&on(&address)).is_err());
    assert!(!directory.0.join("elsewhere").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_whose_owner_accepts_nothing_does_not_hang_the_start() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let _owner = BlockingUnixListener::bind(&path).unwrap();
    // tokio's connect does not block: with a full backlog it fails with EAGAIN (unix(7)).
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        waiting.push(stream);
    }
    let config = on(&address);
    let start = tokio::task::spawn_blocking(move || Server::bind(&config).err().unwrap());
    let error = in_time(start).await.unwrap();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn a_replaced_socket_file_is_not_removed() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let server = Server::bind(&on(&address)).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = BlockingUnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
}

#[tokio::test]
async fn if_one_address_fails_no_socket_file_remains() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let taken = start_server(&test_config(), setup().router);
    let config = Config {
        listen: vec![address, taken.addresses[0].clone()],
        ..test_config()
    };
    assert!(Server::bind(&config).is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_directory_without_permission_is_an_error() {
    let directory = TempDir::new();
    let (_, address) = directory.socket();
    fs::set_permissions(&directory.0, Permissions::from_mode(0o000)).unwrap();
    let outcome = Server::bind(&on(&address));
    fs::set_permissions(&directory.0, Permissions::from_mode(0o700)).unwrap();
    // Permissions do not apply to root.
    assert_eq!(outcome.is_ok(), nix::unistd::geteuid().is_root());
}

#[tokio::test]
async fn connections_above_the_limit_wait_until_another_ends() {
    let mut config = test_config();
    config.limits.max_connections = 1;
    let server = start_server(&config, setup().router);
    let mut first = server.connect().await;
    first
        .write_all(get_keep_alive("/hello").as_bytes())
        .await
        .unwrap();
    read_until(&mut first, "hello").await;

    let mut second = server.connect().await;
    second
        .write_all(get_close("/hello").as_bytes())
        .await
        .unwrap();
    let third = server.connect().await;
    assert!(stays_open(&mut second, SHORT).await);
    drop(first);
    assert!(read_to_end(second).await.ends_with("hello"));
    assert!(
        exchange(third, &get_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_limit_below_the_number_of_listeners_starves_none() {
    let mut config = test_config();
    config.limits.max_connections = 1;
    config.listen = vec!["127.0.0.1:0".parse().unwrap(); 3];
    let server = start_server(&config, setup().router);
    for address in server.addresses.iter().chain(&server.addresses) {
        let ListenAddress::Tcp(address) = address else {
            panic!("{address}")
        };
        let stream = in_time(TcpStream::connect(address)).await.unwrap();
        assert!(
            exchange(stream, &get_close("/hello"))
                .await
                .ends_with("hello")
        );
    }
}

#[tokio::test]
async fn waiting_connections_do_not_delay_the_shutdown() {
    let mut config = test_config();
    config.limits.max_connections = 1;
    let server = start_server(&config, setup().router);
    let _first = server.get("/hello").await;
    let _holding = server.connect().await;
    let _waiting = server.connect().await;
    server.shutdown.advance();
    in_time(server.task).await.unwrap();
}

/// Runs itself in a child process with a low limit on open files.
#[test]
fn running_out_of_files_pauses_accepting_and_recovers() {
    const CHILD: &str = "IPVSD_TEST_FEW_FILES";
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(out_of_files());
    }
    let name = "server::listeners::running_out_of_files_pauses_accepting_and_recovers";
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

/// The kernel's settings and facts are files: connections leave descriptors for them.
#[test]
fn connections_leave_descriptors_for_reads_of_the_kernel() {
    const LIMIT: usize = 128;
    let mut process = Process::spawn("", |command| {
        let limit = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
        let daemon = std::mem::replace(command, Command::new("sh"));
        command
            .arg("-c")
            .arg(limit)
            .arg(daemon.get_program())
            .args(daemon.get_args());
        for (name, value) in daemon.get_envs() {
            command.env(name, value.unwrap());
        }
        command.stderr(Stdio::piped())
    });
    process.read_log();
    let warning = process.wait_for("allows fewer connections");
    let field = |word: &str| word.strip_prefix("connections=")?.parse().ok();
    let connections: usize = warning.split(' ').find_map(field).unwrap();
    assert!((LIMIT / 4..LIMIT - 32).contains(&connections), "{warning}");
    let mut held: Vec<_> = (0..connections).map(|_| process.connect()).collect();
    for stream in &mut held {
        stream
            .write_all(get_keep_alive("/healthz").as_bytes())
            .unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    // More connections wait, and one of them in the daemon.
    let _waiting: Vec<_> = (0..LIMIT).map(|_| process.connect()).collect();
    let open = process.open_files();
    assert!(open <= LIMIT - 32, "{open} of {LIMIT} descriptors are open");
}

/// Health checks have descriptors beside all connections.
#[test]
fn the_limit_on_open_files_is_raised_for_connections_and_checks() {
    let process = Process::spawn("", |command| {
        let daemon = std::mem::replace(command, Command::new("sh"));
        command
            .args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\""])
            .arg(daemon.get_program())
            .args(daemon.get_args());
        let variables = daemon.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))))
    });
    process.request("GET", "/healthz");
    let limits = process.limits();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut limits = line
        .unwrap()
        .split_whitespace()
        .map(|word| word.parse::<usize>());
    let (soft, hard) = (limits.next().unwrap(), limits.next().unwrap());
    let wanted = Limits::default().max_connections + MAX_RUNNING_CHECKS;
    assert!(soft.unwrap() >= wanted.min(hard.unwrap_or(usize::MAX)));
}

async fn out_of_files() {
    let server = start_server(&test_config(), setup().router);
    assert!(server.get("/hello").await.ends_with("hello"));
    let mut open_files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!((32..64).contains(&open_files.len()));
    open_files.pop();
    // The client uses the last descriptor: the kernel completes the connection, but accept(2) fails.
    let mut stream = server.connect().await;
    stream
        .write_all(get_close("/hello").as_bytes())
        .await
        .unwrap();
    let before = cpu_ticks(&mut open_files);
    assert!(stays_open(&mut stream, SHORT * 4).await);
    let used = cpu_ticks(&mut open_files) - before;
    assert!(used < 20, "{used} ticks of 10 ms: a busy loop");
    drop(open_files);
    assert!(read_to_end(stream).await.ends_with("hello"));
}

/// CPU time of this process in ticks of 10 ms. Temporarily closes one of `open_files`.
fn cpu_ticks(open_files: &mut Vec<File>) -> u64 {
    open_files.pop();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    open_files.push(File::open("/dev/null").unwrap());
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
