//! Reload of the files of TLS, by a change of the files and by SIGHUP.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::symlink,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ipvsd::server::ClientCertificates::{self, Optional, Required};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

use super::{authority::*, harness::*, tls::start_daemon};

const NONE: ClientCertificates = ClientCertificates::None;

/// The certificate that a server presents.
async fn presented(address: SocketAddr, client: &ClientConfig) -> CertificateDer<'static> {
    let stream = connect(address, client).await;
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].clone()
}

/// Waits until a server presents this certificate.
async fn until_presented(address: SocketAddr, client: &ClientConfig, expected: &Issued) {
    until(|| async {
        let is_presented = presented(address, client).await == expected.certificate;
        is_presented.then_some(())
    })
    .await;
}

/// Sends a request on a kept connection, and reads its response.
async fn request(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream
        .write_all(get_keep_alive("/hello").as_bytes())
        .await?;
    match read_until(stream, "hello").await.ends_with("hello") {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[tokio::test]
async fn files_that_are_replaced_are_used_for_new_connections() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let client = files.authority.connector(None);
    let mut kept = connect(server.tcp(), &client).await;
    request(&mut kept).await.unwrap();
    let renewed = files.authority.server();
    files.write_server(&renewed);
    until_presented(server.tcp(), &client, &renewed).await;
    request(&mut kept).await.unwrap();
}

#[tokio::test]
async fn files_that_are_written_in_place_are_used_for_new_connections() {
    let files = TlsFiles::new();
    let server = start_server(&files.config(NONE), router());
    let client = files.authority.connector(None);
    let renewed = files.authority.server();
    fs::write(files.path("cert.pem"), &renewed.pem).unwrap();
    fs::write(files.path("key.pem"), renewed.key.serialize_pem()).unwrap();
    until_presented(server.tcp(), &client, &renewed).await;
}

/// Kubernetes replaces the files of a volume by a symbolic link to their directory.
#[tokio::test]
async fn files_behind_a_symbolic_link_that_is_replaced_are_used() {
    let files = TlsFiles::new();
    let issued = [files.authority.server(), files.authority.server()];
    for (number, issued) in issued.iter().enumerate() {
        let version = files.path(&format!("version-{number}"));
        fs::create_dir(&version).unwrap();
        fs::write(version.join("tls.crt"), &issued.pem).unwrap();
        fs::write(version.join("tls.key"), issued.key.serialize_pem()).unwrap();
    }
    symlink("version-0", files.path("..data")).unwrap();
    let mut config = files.config(NONE);
    for (name, path) in [
        ("tls.crt", &mut config.tls.certificate),
        ("tls.key", &mut config.tls.key),
    ] {
        symlink(format!("..data/{name}"), files.path(name)).unwrap();
        *path = Some(files.path(name));
    }
    let server = start_server(&config, router());
    let client = files.authority.connector(None);
    until_presented(server.tcp(), &client, &issued[0]).await;
    symlink("version-1", files.path("..data_tmp")).unwrap();
    fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
    until_presented(server.tcp(), &client, &issued[1]).await;
}

#[tokio::test]
async fn a_faulty_file_keeps_the_last_ones_and_is_reported_once() {
    let files = TlsFiles::new();
    let (process, address) = start_daemon(&files.toml(""));
    let client = files.authority.connector(None);
    let first = presented(address, &client).await;

    let other = files.authority.server();
    files.write("key.pem", &other.key.serialize_pem());
    let line = process.wait_for("TLS files not reloaded");
    assert!(
        line.contains("ERROR") && line.contains("tls.key: "),
        "{line}"
    );
    assert!(
        line.contains("is not the key of the first certificate of"),
        "{line}"
    );
    assert_eq!(presented(address, &client).await, first);

    // The same fault in a new file, then another one.
    files.write("key.pem", &other.key.serialize_pem());
    fs::remove_file(files.path("cert.pem")).unwrap();
    let lines = process.lines_until("tls.certificate: cannot read");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(presented(address, &client).await, first);

    files.write("cert.pem", &other.pem);
    let lines = process.lines_until("TLS files reloaded");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(presented(address, &client).await, other.certificate);
}

#[tokio::test]
async fn an_expired_certificate_does_not_replace_one_that_is_valid() {
    let files = TlsFiles::new();
    let (process, address) = start_daemon(&files.toml(""));
    let client = files.authority.connector(None);
    let first = presented(address, &client).await;
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    files.write_server(&files.authority.issue(params));
    process.signal("HUP");
    let line = process.wait_for("TLS files not reloaded");
    assert!(
        line.contains("expired at 2025-01-01T00:00:00Z; renew it"),
        "{line}"
    );
    assert_eq!(presented(address, &client).await, first);
}

#[tokio::test]
async fn sighup_reads_the_files_at_once_and_applies_changed_keys() {
    let files = TlsFiles::new();
    let (process, address) = start_daemon(&files.toml(""));
    let client = files.authority.connector(None);
    let renewed = files.authority.server();
    files.write("other-cert.pem", &renewed.pem);
    files.write("other-key.pem", &renewed.key.serialize_pem());
    let config = files.toml("").replace("cert.pem", "other-cert.pem");
    process.configure(
        &config
            .replace("\"key", "\"other-key")
            .replace("/key.pem", "/other-key.pem"),
    );
    process.signal("HUP");
    let line = process.wait_for("configuration reloaded");
    assert!(line.contains("tls.certificate, tls.key"), "{line}");
    process.wait_for("TLS files reloaded");
    assert_eq!(presented(address, &client).await, renewed.certificate);

    process.signal("HUP");
    process.wait_for("configuration unchanged");
    process.wait_for("TLS files reloaded");
}

#[tokio::test]
async fn a_client_that_is_revoked_loses_its_connection_and_others_keep_theirs() {
    let files = TlsFiles::new();
    let authority = &files.authority;
    let [revoked, other] = ["a.example", "b.example"].map(|name| authority.client(name));
    files.write("crl.pem", &authority.revoke(&[], 4000));
    let mut config = files.config(Optional);
    config.tls.crl = Some(files.path("crl.pem"));
    let server = start_server(&config, router());
    let connectors = [Some(&revoked), Some(&other), None].map(|client| authority.connector(client));
    let mut streams = Vec::new();
    for connector in &connectors {
        let mut stream = connect(server.tcp(), connector).await;
        request(&mut stream).await.unwrap();
        streams.push(stream);
    }
    // A reload that changes nothing for clients changes nothing for connections.
    files.write_server(&authority.server());
    server.tls.as_ref().unwrap().reload(&config.tls).await;
    files.write("crl.pem", &authority.revoke(&[&revoked], 4000));
    server.tls.as_ref().unwrap().reload(&config.tls).await;
    let revoked = streams.remove(0);
    assert_eq!(read_to_end(revoked).await, "");
    for stream in &mut streams {
        request(stream).await.unwrap();
    }
    // A session of before the reload does not help.
    assert!(
        try_get(server.tcp(), &connectors[0], "/hello")
            .await
            .is_err()
    );
    assert_eq!(
        body(try_get(server.tcp(), &connectors[1], "/hello").await),
        "hello"
    );
}

#[tokio::test]
async fn a_reload_that_requires_certificates_ends_connections_without() {
    let files = TlsFiles::new();
    let authority = &files.authority;
    let server = start_server(&files.config(NONE), router());
    let client = authority.connector(None);
    let mut stream = connect(server.tcp(), &client).await;
    request(&mut stream).await.unwrap();
    let required = files.config(Required).tls;
    server.tls.as_ref().unwrap().reload(&required).await;
    assert_eq!(read_to_end(stream).await, "");
    // Nor does the session of before the reload.
    assert!(try_get(server.tcp(), &client, "/hello").await.is_err());
}

/// What the clients of a rotation have seen.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    failures: Mutex<Vec<String>>,
    certificates: Mutex<Vec<CertificateDer<'static>>>,
    done: AtomicBool,
}

impl Seen {
    fn count(&self, outcome: io::Result<()>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            self.failures.lock().unwrap().push(error.to_string());
        }
    }

    fn present(&self, stream: &TlsStream<TcpStream>) {
        let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let mut certificates = self.certificates.lock().unwrap();
        if !certificates.contains(certificate) {
            certificates.push(certificate.clone());
        }
    }
}

/// Sends requests on one connection until it is to stop.
async fn use_kept(address: SocketAddr, client: ClientConfig, seen: Arc<Seen>) {
    let mut stream = connect(address, &client).await;
    while !seen.done.load(Ordering::Relaxed) {
        seen.count(request_health(&mut stream).await);
    }
}

/// Sends requests on a connection each until it is to stop.
async fn use_new(address: SocketAddr, client: ClientConfig, seen: Arc<Seen>) {
    while !seen.done.load(Ordering::Relaxed) {
        let outcome = async {
            let mut stream = try_connect(address, &client).await?;
            seen.present(&stream);
            request_health(&mut stream).await
        };
        seen.count(outcome.await);
    }
}

async fn request_health(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream
        .write_all(get_keep_alive("/healthz").as_bytes())
        .await?;
    let response = read_until(stream, "\r\n\r\n").await;
    if !response.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(response));
    }
    let length = response
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap();
    let mut body = vec![0; length];
    in_time(tokio::io::AsyncReadExt::read_exact(stream, &mut body))
        .await
        .map(|_| ())
}

/// Requests of a usual run. `IPVSD_TEST_REQUESTS=10000` sends as many.
const REQUESTS: usize = 2000;
/// Requests that each rotation waits for.
const REQUESTS_OF_A_ROTATION: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn rotations_under_load_fail_no_request() {
    let files = TlsFiles::new();
    let (process, address) = start_daemon(&files.toml(""));
    let seen = Arc::new(Seen::default());
    let client = files.authority.connector(None);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(tokio::spawn(use_kept(
            address,
            client.clone(),
            seen.clone(),
        )));
        clients.push(tokio::spawn(use_new(address, client.clone(), seen.clone())));
    }
    let rotations = requests(REQUESTS) / REQUESTS_OF_A_ROTATION;
    // By turns: SIGHUP, and the change alone.
    for number in 1..=rotations {
        let renewed = files.authority.server();
        files.write_server(&renewed);
        if number % 2 == 1 {
            process.signal("HUP");
        }
        tokio::task::block_in_place(|| process.wait_for("TLS files reloaded"));
        let enough = number * REQUESTS_OF_A_ROTATION;
        until(|| async {
            let is_seen = seen
                .certificates
                .lock()
                .unwrap()
                .contains(&renewed.certificate);
            (is_seen && seen.requests.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }
    seen.done.store(true, Ordering::Relaxed);
    for client in clients {
        in_time(client).await.unwrap();
    }
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0]);
    assert!(seen.requests.load(Ordering::Relaxed) >= rotations * REQUESTS_OF_A_ROTATION);
    assert!(seen.certificates.lock().unwrap().len() >= rotations);
}
