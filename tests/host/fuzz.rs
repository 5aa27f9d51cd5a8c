//! Random bytes over both protocols: rejected or ignored, never a panic, and the kernel is unchanged.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics fails"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    kernel::FakeKernel,
    server::{Authenticator, Config, ListenAddress, Server, Shutdown, build_router},
};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};

/// How long a client waits; the daemon closes silent connections sooner.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The daemon in this process, on the fake kernel. It ends with the runtime.
struct Daemon {
    kernel: FakeKernel,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Daemon {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let kernel = FakeKernel::new();
        let executor =
            Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
        let app = App::new(executor, AppOptions::default());
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            dev: true,
            ..Config::default()
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let server = Server::bind(&config).unwrap();
            sender.send(server.addresses()).unwrap();
            let shutdown = Shutdown::new();
            let budget = app.budget().clone();
            let router = build_router(
                app,
                &config,
                &Authenticator::load(&config).unwrap(),
                &shutdown,
            );
            server.serve(router, &budget, &shutdown).await;
        });
        let address = match receiver.recv().unwrap().as_slice() {
            [ListenAddress::Tcp(address)] => *address,
            other => unreachable!("{other:?}"),
        };
        Self {
            kernel,
            address,
            _runtime: runtime,
        }
    }

    /// Sends bytes and reads until the daemon closes the connection.
    fn send(&self, bytes: &[u8], more: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        // The daemon may close before it has read all.
        let _ = stream.write_all(bytes);
        if !more {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let waits = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waits, "the connection was not closed: {bytes:?}");
        answer
    }

    /// Asserts that the daemon responds and that the table is unchanged.
    fn check(&self) {
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = self.send(request, true);
        assert!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(self.kernel.services(), []);
    }
}

/// Whether the response is that of a handler that panicked.
fn panicked(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    text.starts_with("HTTP/1.1 500 ") || text.contains("\"reason\":\"INTERNAL\"")
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(Cases {
        cases,
        failure_persistence: None,
        ..Cases::default()
    })
}

#[test]
fn random_bytes_change_nothing() {
    let daemon = Daemon::start();
    let start = prop_oneof![
        Just(Vec::new()),
        Just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        Just(b"GET /v1/services HTTP/1.1\r\n".to_vec()),
        Just(
            b"POST /v1/services HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_vec()
        ),
    ];
    let bytes = (start, proptest::collection::vec(any::<u8>(), 0..400));
    cases(150)
        .run(&bytes, |(mut start, noise)| {
            start.extend(noise);
            prop_assert!(!panicked(&daemon.send(&start, false)));
            Ok(())
        })
        .unwrap();
    daemon.check();
}

#[test]
fn random_paths_and_bodies_are_rejected_over_http() {
    let daemon = Daemon::start();
    let method = prop_oneof![
        Just("GET"),
        Just("PUT"),
        Just("PATCH"),
        Just("DELETE"),
        Just("POST")
    ];
    let path = prop_oneof![
        "/v1/(services|connections|settings|timeouts|sync-daemons|stats|zero|rules)(/[!-~&&[^?#]]{0,40})?(\\?[!-~]{0,40})?",
        "/v1/services/(tcp|fwmark6?|udp)-[0-9a-f:.-]{0,30}(/servers(/[0-9a-f:.-]{0,30})?)?",
        "/[!-~]{0,60}",
    ];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}:,\"a-z0-9.-]{0,200}".prop_map(String::into_bytes),
    ];
    cases(400)
        .run(&(method, path, body), |(method, path, body)| {
            let mut request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend(body);
            let answer = daemon.send(&request, true);
            prop_assert!(answer.starts_with(b"HTTP/1.1 "), "{:?}", answer);
            prop_assert!(!panicked(&answer), "{}", String::from_utf8_lossy(&answer));
            Ok(())
        })
        .unwrap();
    daemon.check();
}

#[test]
fn random_messages_are_rejected_over_grpc() {
    const METHODS: [&str; 12] = [
        "ListServices",
        "CreateService",
        "UpdateService",
        "ReplaceService",
        "DeleteService",
        "ClearServices",
        "CreateServers",
        "UpdateServer",
        "SetTimeouts",
        "StartSyncDaemon",
        "ListConnections",
        "UpdateSettings",
    ];
    let daemon = Daemon::start();
    let message = (
        proptest::sample::select(&METHODS[..]),
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..120),
    );
    cases(300)
        .run(&message, |(method, honest, noise)| {
            // A frame of the right length, or random bytes instead of a frame. As grpc-web,
            // which needs no HTTP/2.
            let mut body = Vec::new();
            if honest {
                body.push(0);
                body.extend(u32::try_from(noise.len()).unwrap().to_be_bytes());
            }
            body.extend(noise);
            let mut request = format!(
                "POST /ipvsd.v1.IpvsService/{method} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                     content-type: application/grpc-web\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend(body);
            let answer = daemon.send(&request, true);
            let text = String::from_utf8_lossy(&answer);
            prop_assert!(text.starts_with("HTTP/1.1 "), "{}", text);
            // 13 is INTERNAL, tonic's own status for a malformed frame.
            let own = !text.contains("ipvsd failed on this request");
            prop_assert!(own && !panicked(&answer), "{}", text);
            Ok(())
        })
        .unwrap();
    // A random message may set timeouts by accident, but create no services.
    daemon.check();
}
