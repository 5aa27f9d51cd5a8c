//! `https://` endpoints, with a proxy before the daemon that terminates TLS.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::daemon::Daemon;
use crate::common::parity::CommandOutput;

/// A daemon behind a TLS proxy with a certificate for `localhost`.
struct Fixture {
    daemon: Daemon,
    port: u16,
    /// File with the certificate of the issuer.
    ca: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        let ca = std::env::temp_dir().join(format!("ipvsctl-{}-{name}.pem", std::process::id()));
        std::fs::write(&ca, issuer.pem()).unwrap();

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let daemon = Daemon::start();
        let to = daemon.endpoint.replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || proxy(&listener, &Arc::new(config), &to));
        Self { daemon, port, ca }
    }

    /// Runs a shell command after replacing `CA` and `PORT`.
    fn run(&self, cmd: &str) -> CommandOutput {
        let cmd = cmd.replace("CA", self.ca.to_str().unwrap());
        self.daemon
            .run(&cmd.replace("PORT", &self.port.to_string()), "")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

/// Forwards requests without a body until the test ends.
fn proxy(listener: &TcpListener, config: &Arc<ServerConfig>, to: &str) {
    for stream in listener.incoming() {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream.unwrap());
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => request.extend(byte),
                // A client that does not trust the certificate closes the connection.
                _ => break,
            }
        }
        if request.is_empty() {
            continue;
        }
        let mut daemon = TcpStream::connect(to).unwrap();
        daemon.write_all(&request).unwrap();
        let mut response = Vec::new();
        daemon.read_to_end(&mut response).unwrap();
        stream.write_all(&response).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
}

/// The default timeouts of the kernel.
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 900 120 300\n";

#[test]
fn a_certificate_trusted_by_the_configuration_is_accepted() {
    let fixture = Fixture::new("configured");
    let config = fixture.ca.with_extension("toml");
    let text = format!(
        "[directors.lb1]\nendpoint = \"https://localhost:{}\"\nca = {:?}\n",
        fixture.port, fixture.ca
    );
    std::fs::write(&config, text).unwrap();
    let output = fixture.run(&format!(
        "IPVSCTL_CONFIG={} ipvsadm --director lb1 -L --timeout",
        config.display()
    ));
    std::fs::remove_file(config).unwrap();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(output.stdout, TIMEOUTS);
}

#[test]
fn a_certificate_trusted_by_the_system_is_accepted() {
    let fixture = Fixture::new("system");
    let output =
        fixture.run("SSL_CERT_FILE=CA ipvsadm --endpoint https://localhost:PORT -L --timeout");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(output.stdout, TIMEOUTS);
}

#[test]
fn an_untrusted_certificate_is_reported_in_one_line() {
    let fixture = Fixture::new("untrusted");
    let output = fixture.run("ipvsadm --endpoint https://localhost:PORT -L --timeout");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    let expected = format!(
        "ipvsadm: https://localhost:{} is not trusted: invalid peer certificate: UnknownIssuer; \
         certificates are trusted by the machine, SSL_CERT_FILE, and `ca` of a director in the \
         configuration\n",
        fixture.port
    );
    assert_eq!(output.stderr, expected);
}

#[test]
fn a_certificate_for_another_name_is_reported_in_one_line() {
    let fixture = Fixture::new("other-name");
    let output =
        fixture.run("SSL_CERT_FILE=CA ipvsadm --endpoint https://127.0.0.1:PORT -L --timeout");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    for part in ["127.0.0.1", "is not trusted", "not valid for name"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
}

#[test]
fn an_endpoint_without_tls_is_reported_in_one_line() {
    let fixture = Fixture::new("no-tls");
    let endpoint = fixture.daemon.endpoint.replace("http:", "https:");
    let output = fixture.run(&format!("ipvsadm --endpoint {endpoint} -L --timeout"));
    assert_eq!(
        (output.code, output.stderr.lines().count()),
        (2, 1),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("cannot be reached"),
        "{}",
        output.stderr
    );
}
