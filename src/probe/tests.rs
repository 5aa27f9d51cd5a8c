//! Probes of servers that behave well and badly.

mod dns;
mod grpc;

use std::{future::Future, net::SocketAddr};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Prober;
use crate::{
    health::{Failure, Outcome},
    model::{HealthCheck, HealthCheckDraft},
};

fn check(json: Value) -> HealthCheck {
    let draft: HealthCheckDraft = serde_json::from_value(json).unwrap();
    draft
        .apply(None, "tcp-192.0.2.1-80".parse().unwrap())
        .unwrap()
}

/// Checks a server of a service of TCP.
async fn probe(check: &HealthCheck, address: SocketAddr) -> Outcome {
    let service = "tcp-192.0.2.1-80".parse().unwrap();
    Prober::default().probe(check, service, address).await
}

/// A server that does this with its first connection.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    address
}

/// Reads a request, and sends a text.
async fn answer(mut stream: TcpStream, text: String) -> String {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap();
    request.truncate(length);
    stream.write_all(text.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

/// The failure of an HTTP check of a server that sends this text.
async fn verified(fields: Value, text: &str) -> Result<(), Failure> {
    let text = text.to_owned();
    let address = server(|stream| async move { drop(answer(stream, text).await) }).await;
    let mut json = json!({"type": "http"});
    json.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    probe(&check(json), address).await.result
}

fn wrong(result: Result<(), Failure>) -> String {
    match result {
        Err(Failure::Wrong(reason)) => reason,
        other => panic!("not a wrong answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_and_a_refusal_is_an_answer() {
    let address = server(|_| async {}).await;
    let outcome = probe(&check(json!({"type": "tcp"})), address).await;
    assert_eq!(outcome.result, Ok(()));
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = probe(&check(json!({"type": "tcp"})), closed).await;
    assert_eq!(wrong(refused.result), "connection refused");
    // The port of the check replaces that of the server.
    let other = server(|_| async {}).await;
    let named = check(json!({"type": "tcp", "port": other.port()}));
    assert_eq!(probe(&named, closed).await.result, Ok(()));
}

#[tokio::test]
async fn status_and_body_are_compared() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready";
    assert_eq!(verified(json!({}), ok).await, Ok(()));
    assert_eq!(verified(json!({"expect_body": "ead"}), ok).await, Ok(()));
    let missing = verified(json!({"expect_body": "steady"}), ok).await;
    assert!(wrong(missing).contains("expected text"));
    let failed = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(
        wrong(verified(json!({}), failed).await),
        "status 500, not 200-399"
    );
    assert_eq!(
        verified(json!({"expect_status": "500"}), failed).await,
        Ok(())
    );
    // Without a length, the end of the connection is that of the body.
    let open = "HTTP/1.1 200 OK\r\n\r\nready";
    assert_eq!(
        verified(json!({"expect_body": "ready"}), open).await,
        Ok(())
    );
    // Only the begin of a body is read.
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}late", "x".repeat(64 << 10));
    assert!(wrong(verified(json!({"expect_body": "late"}), &long).await).contains("65536"));
}

#[tokio::test]
async fn what_is_no_complete_response_is_wrong() {
    for text in [
        "",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\ncontent-",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let reason = wrong(verified(json!({"expect_body": "never"}), text).await);
        assert!(
            reason.starts_with("no complete response"),
            "{text:?}: {reason}"
        );
    }
}

#[tokio::test]
async fn the_request_is_what_the_check_says() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let address = server(|stream| async move {
        let text = "HTTP/1.1 204 No\r\n\r\n".to_owned();
        sender.send(answer(stream, text).await).unwrap();
    })
    .await;
    let check = check(
        json!({"type": "http", "path": "/a?b=c", "host": "www.example.com", "method": "HEAD"}),
    );
    assert_eq!(probe(&check, address).await.result, Ok(()));
    let request = receiver.await.unwrap();
    assert!(request.starts_with("HEAD /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: www.example.com\r\n"), "{request}");
}

#[tokio::test]
async fn a_server_that_hangs_fails_after_the_timeout() {
    let address = server(|stream| async move {
        // Until the probe closes it.
        let mut stream = stream;
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let outcome = probe(&check(json!({"type": "http"})), address).await;
    assert_eq!(wrong(outcome.result), "no complete answer within 1 s");
    assert!(
        outcome.latency.as_secs_f64() >= 1.0,
        "{:?}",
        outcome.latency
    );
}

/// The states of the sockets of this machine that are connected to an address, as in /proc/net/tcp.
fn states(address: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = table.lines().map(|line| {
        let mut fields = line.split_whitespace().skip(2);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    });
    let remote = sockets
        .flatten()
        .filter(|(remote, _)| remote.ends_with(&port));
    remote.map(|(_, state)| state).collect()
}

#[tokio::test]
async fn a_check_leaves_no_socket_and_no_port() {
    let source = json!({"source_address": "127.0.0.2"});
    for (kind, more) in [("tcp", json!({})), ("http", json!({})), ("tcp", source)] {
        let (sender, ended) = tokio::sync::oneshot::channel();
        let address = server(|mut stream| async move {
            let mut request = [0; 4096];
            // Until the probe ends the connection.
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let text = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(text).await.unwrap();
            }
            sender.send(()).unwrap();
        })
        .await;
        let mut json = more;
        json["type"] = kind.into();
        let outcome = probe(&check(json), address).await;
        assert_eq!(outcome.result, Ok(()));
        ended.await.unwrap();
        // In TIME_WAIT, it would be there for a minute.
        assert_eq!(states(address), [""; 0], "{kind}");
    }
}

/// What a server sends before its response has an end.
#[tokio::test]
async fn a_server_that_sends_interim_responses_without_end_has_failed() {
    let address = server(|mut stream| async move {
        let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(100);
        while stream.write_all(&interim).await.is_ok() {}
    })
    .await;
    let check = check(json!({"type": "http", "interval_seconds": 60, "timeout_seconds": 60}));
    match probe(&check, address).await.result {
        Err(Failure::Wrong(reason)) => assert!(reason.contains("no complete response"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// Runs itself in a child process with a low limit on open files.
#[test]
fn the_director_is_at_fault_if_it_has_no_descriptor() {
    const CHILD: &str = "IPVSD_TEST_NO_FILES";
    if std::env::var_os(CHILD).is_none() {
        let name = "probe::tests::the_director_is_at_fault_if_it_has_no_descriptor";
        let mut child = std::process::Command::new("sh");
        child
            .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1");
        let child = child.output().unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && output.contains("1 passed"),
            "{output}"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let files = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok());
    let files: Vec<_> = files.collect();
    let tcp = check(json!({"type": "tcp"}));
    match runtime
        .block_on(probe(&tcp, ([127, 0, 0, 1], 9).into()))
        .result
    {
        Err(Failure::Unchecked(reason)) => assert!(reason.contains("no socket"), "{reason}"),
        other => panic!("{other:?}"),
    }
    drop(files);
}

#[tokio::test]
async fn the_director_is_at_fault_for_a_source_that_it_lacks() {
    let address = server(|_| async {}).await;
    let check = check(json!({"type": "tcp", "source_address": "192.0.2.1"}));
    match probe(&check, address).await.result {
        Err(Failure::Unchecked(reason)) => {
            assert!(reason.contains("source_address 192.0.2.1"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

/// TLS of a server with a certificate of its own.
fn acceptor(protocols: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config))
}

#[tokio::test]
async fn certificates_are_verified_unless_that_is_off() {
    let acceptor = acceptor(&[]);
    let serve = async |check: Value| {
        let acceptor = acceptor.clone();
        let address = server(|stream| async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut request = vec![0; 4096];
            drop(stream.read(&mut request).await);
            drop(
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await,
            );
        })
        .await;
        probe(&self::check(check), address).await.result
    };
    let lax = json!({"type": "https", "tls_verify": false, "sni": "www.example.com"});
    assert_eq!(serve(lax).await, Ok(()));
    let strict = serve(json!({"type": "https", "sni": "www.example.com"})).await;
    match strict {
        // A system without authorities cannot check.
        Err(Failure::Wrong(reason)) => assert!(reason.starts_with("TLS: "), "{reason}"),
        Err(Failure::Unchecked(reason)) => assert!(reason.contains("TLS"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
