//! TLS listeners: handshakes, protocols, and clients that misbehave.

use std::{sync::Arc, time::Duration};

use http::Version;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ipvsd::{
    proto::v1::{GetInfoRequest, ipvs_service_client::IpvsServiceClient},
    server::ClientCertificates,
};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::{Endpoint, Uri};

use super::{authority::*, harness::*, process::Process};

const NONE: ClientCertificates = ClientCertificates::None;

fn with_protocols(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

#[tokio::test]
async fn http1_and_http2_are_negotiated() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let client = files.authority.connector(None);

    let offered: &[&[u8]] = &[b"h2", b"http/1.1"];
    let stream = connect(server.tcp(), &with_protocols(client.clone(), offered)).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut h2, _connection) = handshake(stream).await;
    let response = in_time(h2.send_request(h2_get("/who"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = in_time(response.collect()).await.unwrap().to_bytes();
    assert_eq!(body, "true None");

    let stream = connect(
        server.tcp(),
        &with_protocols(client.clone(), &[b"http/1.1"]),
    )
    .await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let response = exchange(stream, &get_close("/who")).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");

    // Without ALPN, as over TCP.
    let stream = connect(server.tcp(), &client).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let response = exchange(stream, &get_close("/who")).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");

    let other = try_connect(server.tcp(), &with_protocols(client, &[b"h3"])).await;
    let error = other.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn requests_over_tcp_are_not_marked_as_over_tls() {
    let server = start_server(&test_config(), router());
    assert!(server.get("/who").await.ends_with("false None"));
}

#[tokio::test]
async fn tls_1_3_and_1_2_are_served() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    for (version, expected) in [
        (&TLS13, ProtocolVersion::TLSv1_3),
        (&TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let client = files.authority.connector_of(&[version], None);
        let stream = connect(server.tcp(), &client).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        let response = exchange(stream, &get_close("/hello")).await;
        assert!(response.ends_with("hello"), "{response}");
    }
}

/// A ClientHello of TLS 1.0 (1), 1.1 (2) or 1.2 (3) with cipher suites of its time.
fn old_hello(version: u8) -> Vec<u8> {
    let suites = [
        0xc0, 0x2b, 0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f,
    ];
    let extensions = [
        0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, // supported_groups: secp256r1
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // ec_point_formats: uncompressed
        0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04,
        0x03, // signature_algorithms: ecdsa, SHA-256
    ];
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    hello.extend([0, 0, suites.len() as u8]);
    hello.extend(suites);
    hello.extend([1, 0, 0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut record = vec![
        22,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(hello);
    record
}

#[tokio::test]
async fn older_versions_are_refused() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    for version in [1, 2] {
        let mut stream = server.connect().await;
        stream.write_all(&old_hello(version)).await.unwrap();
        let mut answer = Vec::new();
        in_time(stream.read_to_end(&mut answer)).await.unwrap();
        // A fatal alert, protocol_version.
        assert_eq!(
            (answer[0], &answer[3..]),
            (21, &[0, 2, 2, 70][..]),
            "{answer:?}"
        );
    }
    // It is the version that is refused.
    let mut stream = server.connect().await;
    stream.write_all(&old_hello(3)).await.unwrap();
    assert_eq!(in_time(stream.read_u8()).await.unwrap(), 22, "a handshake");
}

/// A daemon with a unix socket and a TLS listener, and the address of the latter.
pub fn start_daemon(config: &str) -> (Process, std::net::SocketAddr) {
    let mut process = Process::spawn(config, |command| {
        command
            .args(["--listen", "tls:127.0.0.1:0"])
            .stderr(std::process::Stdio::piped())
    });
    process.read_log();
    let line = process.wait_for("listening address=tls:");
    let (_, address) = line.split_once("address=tls:").unwrap();
    let address = address.trim().parse().unwrap();
    (process, address)
}

#[tokio::test]
async fn grpc_is_served_over_tls() {
    let files = TlsFiles::new();
    let (_process, address) = start_daemon(&files.toml(""));
    let client = Arc::new(with_protocols(files.authority.connector(None), &[b"h2"]));
    let connector = tower::service_fn(move |_: Uri| {
        let client = client.clone();
        async move { try_connect(address, &client).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("https://localhost");
    let channel = endpoint.connect_with_connector(connector);
    let channel = in_time(channel).await.unwrap();
    let mut client = IpvsServiceClient::new(channel);
    let info = in_time(client.get_info(GetInfoRequest::default())).await;
    assert!(!info.unwrap().into_inner().version.is_empty());
}

#[tokio::test]
async fn a_page_of_the_daemon_itself_is_of_the_scheme_https() {
    let files = TlsFiles::new();
    let (_process, address) = start_daemon(&files.toml(""));
    let client = files.authority.connector(None);
    let body = r#"{"id": "tcp-192.0.2.1-80"}"#;
    for (scheme, status) in [("https", "201"), ("http", "403")] {
        let stream = connect(address, &client).await;
        let request = format!(
            "POST /v1/services HTTP/1.1\r\nhost: localhost:{port}\r\norigin: \
             {scheme}://localhost:{port}\r\ncontent-type: application/json\r\ncontent-length: \
             {}\r\nconnection: close\r\n\r\n{body}",
            body.len(),
            port = address.port()
        );
        let response = exchange(stream, &request).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
}

#[tokio::test]
async fn large_responses_arrive_complete() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let client = files.authority.connector(None);
    let response = try_get(server.tcp(), &client, "/big").await.unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), BIG);

    let client = with_protocols(client, &[b"h2"]);
    let stream = TokioIo::new(connect(server.tcp(), &client).await);
    // The windows are not what the server waits for, but its socket.
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(1 << 30)
        .initial_connection_window_size(1 << 30);
    let (mut h2, connection) = in_time(builder.handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let response = in_time(h2.send_request(h2_get("/big"))).await.unwrap();
        let body = in_time(response.collect()).await.unwrap().to_bytes();
        assert_eq!(body.len(), BIG);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let files = TlsFiles::new();
    let mut config = files.config(NONE);
    config.limits.write_timeout = Duration::from_millis(200);
    config.limits.max_connections = 1;
    let server = start_server(&config, router());
    let client = files.authority.connector(None);
    let mut stream = connect(server.tcp(), &client).await;
    stream
        .write_all(get_keep_alive("/big").as_bytes())
        .await
        .unwrap();
    // It is served once the first connection has ended.
    let response = try_get(server.tcp(), &client, "/hello").await;
    assert_eq!(body(response), "hello");
}

#[tokio::test]
async fn a_stalled_handshake_delays_nobody_and_ends() {
    let files = TlsFiles::new();
    let mut config = files.config(NONE);
    config.limits.header_read_timeout = Duration::from_millis(500);
    let server = start_server(&config, router());
    let mut stalled = Vec::new();
    for sent in [&[][..], &old_hello(3)[..20]] {
        for _ in 0..20 {
            let mut stream = server.connect().await;
            stream.write_all(sent).await.unwrap();
            stalled.push(stream);
        }
    }
    let client = files.authority.connector(None);
    let response = try_get(server.tcp(), &client, "/hello").await;
    assert_eq!(body(response), "hello");
    for stream in stalled {
        assert_eq!(read_to_end(stream).await, "");
    }
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let files = TlsFiles::new();
    let mut config = files.config(NONE);
    config.limits.max_connections = 1;
    config.limits.header_read_timeout = Duration::from_millis(500);
    let server = start_server(&config, router());
    let stalled = server.connect().await;
    let client = files.authority.connector(None);
    let began = std::time::Instant::now();
    let response = try_get(server.tcp(), &client, "/hello").await;
    assert_eq!(body(response), "hello");
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "it waited for the slot"
    );
    drop(stalled);
}

#[tokio::test]
async fn a_handshake_is_bounded_in_bytes() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let mut stream = server.connect().await;
    // The first records of a message of 64 KiB.
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.extend([1, 0, 0xff, 0xff, 3, 3]);
    record.resize(5 + 0x4000, 0);
    let mut sent = 0;
    let closed = async {
        while sent < 0xffff {
            stream.write_all(&record).await?;
            record[5..].fill(0);
            sent += record.len();
        }
        stream.read_u8().await.map(|_| ())
    };
    assert!(in_time(closed).await.is_err());
    // It ended without the rest of the message, and long before header_read_timeout.
}

#[tokio::test]
async fn a_handshake_in_progress_does_not_delay_the_shutdown() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let _stalled = server.connect().await;
    let client = files.authority.connector(None);
    assert_eq!(
        body(try_get(server.tcp(), &client, "/hello").await),
        "hello"
    );
    server.shutdown.advance();
    assert_eq!(in_time(server.task).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn a_connection_is_drained_like_others() {
    let files = TlsFiles::new();
    let mut fixture = setup();
    let server = start_server(&files.config(NONE), fixture.router);
    let client = files.authority.connector(None);
    let address = server.tcp();
    let request = tokio::spawn(async move { try_get(address, &client, "/wait").await });
    in_time(fixture.entered.recv()).await.unwrap();
    server.shutdown.advance();
    fixture.release.add_permits(1);
    assert_eq!(body(in_time(request).await.unwrap()), "waited");
    assert_eq!(in_time(server.task).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn clients_that_take_the_wrong_protocol_are_explained_in_the_log() {
    let files = TlsFiles::new();
    let config = files.toml("[log]\nfilter = \"ipvsd=debug\"\n");
    let (process, address) = start_daemon(&config);
    for request in [
        &get_close("/healthz")[..],
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(stream).await;
        let line = process.wait_for("TLS handshake failed");
        assert!(
            line.contains("the client speaks HTTP without TLS"),
            "{line}"
        );
    }
    let mut stream = tokio::net::UnixStream::connect(&process.socket)
        .await
        .unwrap();
    stream.write_all(&old_hello(3)).await.unwrap();
    read_to_end(stream).await;
    let line = process.wait_for("connection ended");
    assert!(
        line.contains("the client speaks TLS, but this listener does not"),
        "{line}"
    );
}

/// How two handshakes of one client are made. The second one begins when the first has a response,
/// and with it the tickets.
async fn two_handshakes(
    address: std::net::SocketAddr,
    client: &ClientConfig,
) -> [HandshakeKind; 2] {
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(address, client).await;
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        let request = get_close("/hello");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        in_time(stream.read_to_string(&mut response)).await.unwrap();
    }
    [kinds[0], kinds[1]]
}

#[tokio::test]
async fn sessions_are_resumed_only_without_client_certificates() {
    use HandshakeKind::{Full, Resumed};
    let files = TlsFiles::new();
    let holder = files.authority.client("client.example");
    for (clients, second) in [(NONE, Resumed), (ClientCertificates::Optional, Full)] {
        let server = start_server(&files.config(clients), router());
        for version in [&TLS13, &TLS12] {
            let client = files.authority.connector_of(&[version], Some(&holder));
            let kinds = two_handshakes(server.tcp(), &client).await;
            assert_eq!(kinds, [Full, second], "{clients:?} {version:?}");
        }
    }
}
