//! Client certificates: who is let in, and what requests know of the client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipvsd::server::{ClientCertificates, Config};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;

use super::{authority::*, harness::*, tls::start_daemon};

use ClientCertificates::{None as NotAsked, Optional, Required};

const NAMED: &str = "true Some([\"client.example\"])";
const UNNAMED: &str = "true None";

/// Whether the handshake or the first request fails because of the client's certificate.
fn is_refused(outcome: std::io::Result<String>) -> bool {
    match outcome {
        Ok(response) => panic!("served: {response}"),
        // An alert of the server; some of them with a reset of the connection.
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("received fatal alert") || text.contains("reset"),
                "{text}"
            );
            true
        }
    }
}

#[tokio::test]
async fn client_certificates_are_not_asked_for_optional_or_required() {
    let files = TlsFiles::new();
    let holder = files.authority.client("client.example");
    for version in [&TLS13, &TLS12] {
        let with = files.authority.connector_of(&[version], Some(&holder));
        let without = files.authority.connector_of(&[version], None);
        for (clients, with_one, without_one) in [
            (NotAsked, UNNAMED, Some(UNNAMED)),
            (Optional, NAMED, Some(UNNAMED)),
            (Required, NAMED, None),
        ] {
            let server = start_server(&files.config(clients), router());
            assert_eq!(body(try_get(server.tcp(), &with, "/who").await), with_one);
            let outcome = try_get(server.tcp(), &without, "/who").await;
            match without_one {
                Some(expected) => assert_eq!(body(outcome), expected),
                None => assert!(is_refused(outcome)),
            }
        }
    }
}

#[tokio::test]
async fn every_request_of_a_connection_knows_its_client() {
    let files = TlsFiles::new();
    let holder = files.authority.client("client.example");
    let server = start_server(&files.config(Required), router());
    let mut client = files.authority.connector(Some(&holder));
    let mut stream = connect(server.tcp(), &client).await;
    for _ in 0..3 {
        stream
            .write_all(get_keep_alive("/who").as_bytes())
            .await
            .unwrap();
        assert!(read_until(&mut stream, NAMED).await.ends_with(NAMED));
    }
    client.alpn_protocols = vec![b"h2".to_vec()];
    let (mut h2, _connection) = handshake(connect(server.tcp(), &client).await).await;
    for _ in 0..3 {
        let response = in_time(h2.send_request(h2_get("/who"))).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body());
        assert_eq!(in_time(body).await.unwrap().to_bytes(), NAMED);
    }
}

#[tokio::test]
async fn invalid_client_certificates_are_refused_even_if_none_is_required() {
    let files = TlsFiles::new();
    let stranger = Authority::new().client("client.example");
    let expired = files.authority.client_with("client.example", |params| {
        params.not_after = date_time_ymd(2025, 1, 1);
    });
    let future = files.authority.client_with("client.example", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let of_server = files.authority.client_with("client.example", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let many_names = files.authority.client_with("client.example", |params| {
        let name = params.subject_alt_names[0].clone();
        params.subject_alt_names = vec![name; 101];
    });
    for clients in [Optional, Required] {
        let server = start_server(&files.config(clients), router());
        for issued in [&stranger, &expired, &future, &of_server] {
            let client = files.authority.connector(Some(issued));
            assert!(is_refused(try_get(server.tcp(), &client, "/who").await));
        }
        let client = files.authority.connector(Some(&many_names));
        assert!(try_get(server.tcp(), &client, "/who").await.is_err());
    }
}

/// A configuration with this revocation list.
fn with_list(files: &TlsFiles, list: &str) -> Config {
    files.write("crl.pem", list);
    let mut config = files.config(Optional);
    config.tls.crl = Some(files.path("crl.pem"));
    config
}

#[tokio::test]
async fn revoked_client_certificates_are_refused() {
    let files = TlsFiles::new();
    let authority = &files.authority;
    let [revoked, other] = ["revoked.example", "client.example"].map(|name| authority.client(name));
    let list = authority.revoke(&[&revoked], 4000);
    let server = start_server(&with_list(&files, &list), router());
    for version in [&TLS13, &TLS12] {
        let client = authority.connector_of(&[version], Some(&revoked));
        assert!(is_refused(try_get(server.tcp(), &client, "/who").await));
        let client = authority.connector_of(&[version], Some(&other));
        assert_eq!(body(try_get(server.tcp(), &client, "/who").await), NAMED);
        let client = authority.connector_of(&[version], None);
        assert_eq!(body(try_get(server.tcp(), &client, "/who").await), UNNAMED);
    }
}

#[tokio::test]
async fn lists_that_are_missing_or_expired_refuse_client_certificates() {
    let files = TlsFiles::new();
    let client = files.authority.client("client.example");
    let client = files.authority.connector(Some(&client));
    let expired = files.authority.revoke(&[], 2026);
    let of_another = Authority::new().revoke(&[], 4000);
    for list in [&expired, &of_another] {
        let server = start_server(&with_list(&files, list), router());
        assert!(is_refused(try_get(server.tcp(), &client, "/who").await));
    }
}

#[tokio::test]
async fn a_connection_ends_when_its_client_certificate_expires() {
    let files = TlsFiles::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let soon = files.authority.client_with("client.example", |params| {
        params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(2);
    });
    let server = start_server(&files.config(Required), router());
    let client = files.authority.connector(Some(&soon));
    let mut stream = connect(server.tcp(), &client).await;
    stream
        .write_all(get_keep_alive("/who").as_bytes())
        .await
        .unwrap();
    assert!(read_until(&mut stream, NAMED).await.ends_with(NAMED));
    // idle_timeout would be an hour.
    assert_eq!(read_to_end(stream).await, "");
    assert!(is_refused(try_get(server.tcp(), &client, "/who").await));
}

#[tokio::test]
async fn a_refused_client_is_logged_and_recorded() {
    let files = TlsFiles::new();
    let ca = files.path("ca.pem");
    let config = files.toml(&format!(
        "client_ca = {ca:?}\nclient_certificates = \"required\"\n"
    ));
    let (process, address) = start_daemon(&config);
    let stranger = Authority::new().client("client.example");
    let client = files.authority.connector(Some(&stranger));
    assert!(is_refused(try_get(address, &client, "/healthz").await));
    let line = process.wait_for("TLS client refused");
    assert!(
        line.contains("INFO") && line.contains("invalid peer certificate"),
        "{line}"
    );
    assert!(is_refused(
        try_get(address, &files.authority.connector(None), "/healthz").await
    ));
    let line = process.wait_for("TLS client refused");
    assert!(line.contains("peer sent no certificates"), "{line}");
    let trail = process.request("GET", "/v1/audit");
    assert_eq!(trail.matches("\"authenticate\"").count(), 2, "{trail}");
    assert_eq!(trail.matches("\"127.0.0.1:").count(), 2, "{trail}");
    assert_eq!(trail.matches("\"unauthenticated\"").count(), 2, "{trail}");
}
