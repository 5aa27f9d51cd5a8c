//! Sockets and their files, and what happens when there are too many clients or too few files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as BlockingUnixListener;
use std::process::Command;
use std::time::Duration;

use ipvsd::server::{BindError, Config, ListenAddress, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::harness::*;

const SHORT: Duration = Duration::from_millis(150);

fn on(address: &ListenAddress) -> Config {
    Config {
        listen: vec![address.clone()],
        ..patient()
    }
}

#[tokio::test]
async fn port_0_becomes_a_real_port_on_ipv4_and_ipv6() {
    let mut config = patient();
    config.listen.push("[::1]:0".parse().unwrap());
    let server = start(&config, stage().router);
    assert_eq!(server.addresses.len(), 2);
    for address in &server.addresses {
        let ListenAddress::Tcp(address) = address else {
            panic!("{address}")
        };
        assert_ne!(address.port(), 0);
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        assert!(
            converse(stream, &get_and_close("/hello"))
                .await
                .ends_with("hello")
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let server = start(&patient(), stage().router);
    let error = Server::bind(&on(&server.addresses[0])).err().unwrap();
    let error = format!("{:#}", anyhow::Error::from(error));
    let expected = format!(
        "cannot listen on {}: Address already in use",
        server.addresses[0]
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn the_socket_file_has_its_mode_and_goes_with_the_server() {
    for mode in [0o660, 0o600, 0o666] {
        let directory = Directory::new();
        let (path, address) = directory.socket();
        let server = start(
            &Config {
                socket_mode: mode,
                ..on(&address)
            },
            stage().router,
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            mode
        );
        server.shutdown.advance();
        soon(server.task).await.unwrap();
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    drop(BlockingUnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start(&on(&address), stage().router);
    let stream = soon(UnixStream::connect(&path)).await.unwrap();
    assert!(
        converse(stream, &get_and_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_live_socket_is_refused_and_left_alone() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    let _first = start(&on(&address), stage().router);
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    let stream = soon(UnixStream::connect(&path)).await.unwrap();
    assert!(
        converse(stream, &get_and_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_refused_and_left_alone() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    fs::write(&path, "precious").unwrap();
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_missing_directory_is_refused_with_advice() {
    let directory = Directory::new();
    let address = ListenAddress::Unix(directory.0.join("none/ipvsd.sock"));
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::NoDirectory(_)), "{error}");
}

#[tokio::test]
async fn two_that_start_at_once_do_not_both_replace_a_stale_socket() {
    let directory = Directory::new();
    let (_path, address) = directory.socket();
    let lock = File::open(&directory.0).unwrap();
    lock.lock().unwrap();
    let error = Server::bind(&on(&address)).err().unwrap();
    assert!(matches!(error, BindError::Contended(_)), "{error}");
    drop(lock);
    Server::bind(&on(&address)).unwrap();
}

#[tokio::test]
async fn the_file_of_a_successor_is_not_removed() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    let server = Server::bind(&on(&address)).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = BlockingUnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
}

#[tokio::test]
async fn when_one_address_fails_none_is_left_behind() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    let taken = start(&patient(), stage().router);
    let config = Config {
        listen: vec![address, taken.addresses[0].clone()],
        ..patient()
    };
    assert!(Server::bind(&config).is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_directory_that_forbids_it_is_an_error_and_no_panic() {
    let directory = Directory::new();
    let (_, address) = directory.socket();
    fs::set_permissions(&directory.0, Permissions::from_mode(0o000)).unwrap();
    let outcome = Server::bind(&on(&address));
    fs::set_permissions(&directory.0, Permissions::from_mode(0o700)).unwrap();
    // Root may do it all the same.
    assert_eq!(outcome.is_ok(), nix::unistd::geteuid().is_root());
}

#[tokio::test]
async fn above_the_cap_a_connection_waits_until_another_ends() {
    let mut config = patient();
    config.limits.max_connections = 1;
    let server = start(&config, stage().router);
    let mut first = server.connect().await;
    first
        .write_all(get_and_keep("/hello").as_bytes())
        .await
        .unwrap();
    listen_for(&mut first, "hello").await;

    let mut second = server.connect().await;
    second
        .write_all(get_and_close("/hello").as_bytes())
        .await
        .unwrap();
    let third = server.connect().await;
    assert!(stays_open(&mut second, SHORT).await);
    drop(first);
    assert!(listen_to_end(second).await.ends_with("hello"));
    assert!(
        converse(third, &get_and_close("/hello"))
            .await
            .ends_with("hello")
    );
}

#[tokio::test]
async fn a_cap_smaller_than_the_number_of_listeners_starves_none() {
    let mut config = patient();
    config.limits.max_connections = 1;
    config.listen = vec!["127.0.0.1:0".parse().unwrap(); 3];
    let server = start(&config, stage().router);
    for address in server.addresses.iter().chain(&server.addresses) {
        let ListenAddress::Tcp(address) = address else {
            panic!("{address}")
        };
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        assert!(
            converse(stream, &get_and_close("/hello"))
                .await
                .ends_with("hello")
        );
    }
}

#[tokio::test]
async fn a_full_house_does_not_delay_the_end() {
    let mut config = patient();
    config.limits.max_connections = 1;
    let server = start(&config, stage().router);
    let _first = server.get("/hello").await;
    let _holding = server.connect().await;
    let _waiting = server.connect().await;
    server.shutdown.advance();
    soon(server.task).await.unwrap();
}

/// Runs itself again as a process of its own with few files.
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
    let name = "server::listening::running_out_of_files_pauses_accepting_and_recovers";
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

async fn out_of_files() {
    let server = start(&patient(), stage().router);
    assert!(server.get("/hello").await.ends_with("hello"));
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!((32..64).contains(&hoard.len()));
    hoard.pop();
    // The client takes the last file; the kernel connects it, the server cannot accept it.
    let mut stream = server.connect().await;
    stream
        .write_all(get_and_close("/hello").as_bytes())
        .await
        .unwrap();
    let before = cpu_ticks(&mut hoard);
    assert!(stays_open(&mut stream, SHORT * 4).await);
    let used = cpu_ticks(&mut hoard) - before;
    assert!(used < 20, "{used} ticks of 10 ms: a busy loop");
    drop(hoard);
    assert!(listen_to_end(stream).await.ends_with("hello"));
}

/// Processor time of this process so far, in ticks of 10 ms; borrows a file from the hoard.
fn cpu_ticks(hoard: &mut Vec<File>) -> u64 {
    hoard.pop();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    hoard.push(File::open("/dev/null").unwrap());
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
