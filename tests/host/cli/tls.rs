//! `https://`: a proxy that ends TLS stands before the daemon, as it would where ipvsd is reached from
//! other machines.

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
use crate::common::parity::Said;

/// A daemon behind a proxy whose certificate is for `localhost`.
struct Behind {
    daemon: Daemon,
    port: u16,
    /// The certificate of who signed the proxy's.
    ca: PathBuf,
}

impl Behind {
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

    /// Runs a command line in which `CA` and `PORT` are this one's.
    fn run(&self, cmd: &str) -> Said {
        let cmd = cmd.replace("CA", self.ca.to_str().unwrap());
        self.daemon
            .run(&cmd.replace("PORT", &self.port.to_string()), "")
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

/// Passes on requests without a body, until the test ends.
fn proxy(listener: &TcpListener, config: &Arc<ServerConfig>, to: &str) {
    for stream in listener.incoming() {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream.unwrap());
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => request.extend(byte),
                // A client that does not trust the certificate hangs up.
                _ => break,
            }
        }
        if request.is_empty() {
            continue;
        }
        let mut daemon = TcpStream::connect(to).unwrap();
        daemon.write_all(&request).unwrap();
        let mut answer = Vec::new();
        daemon.read_to_end(&mut answer).unwrap();
        stream.write_all(&answer).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
}

/// The timeouts that the kernel begins with.
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 900 120 300\n";

#[test]
fn a_certificate_that_the_configuration_trusts_is_accepted() {
    let behind = Behind::new("configured");
    let config = behind.ca.with_extension("toml");
    let text = format!(
        "[directors.lb1]\nendpoint = \"https://localhost:{}\"\nca = {:?}\n",
        behind.port, behind.ca
    );
    std::fs::write(&config, text).unwrap();
    let said = behind.run(&format!(
        "IPVSCTL_CONFIG={} ipvsadm --director lb1 -L --timeout",
        config.display()
    ));
    std::fs::remove_file(config).unwrap();
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(said.out, TIMEOUTS);
}

#[test]
fn a_certificate_that_the_machine_trusts_is_accepted() {
    let behind = Behind::new("of-the-machine");
    let said =
        behind.run("SSL_CERT_FILE=CA ipvsadm --endpoint https://localhost:PORT -L --timeout");
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(said.out, TIMEOUTS);
}

#[test]
fn a_certificate_that_nobody_trusts_is_one_line() {
    let behind = Behind::new("untrusted");
    let said = behind.run("ipvsadm --endpoint https://localhost:PORT -L --timeout");
    assert_eq!((said.rc, said.out.as_str()), (2, ""));
    let expected = format!(
        "ipvsadm: https://localhost:{} is not trusted: invalid peer certificate: UnknownIssuer; \
         certificates are trusted by the machine, SSL_CERT_FILE, and `ca` of a director in the \
         configuration\n",
        behind.port
    );
    assert_eq!(said.err, expected);
}

#[test]
fn a_certificate_for_another_name_is_one_line() {
    let behind = Behind::new("other-name");
    let said =
        behind.run("SSL_CERT_FILE=CA ipvsadm --endpoint https://127.0.0.1:PORT -L --timeout");
    assert_eq!((said.rc, said.out.as_str()), (2, ""));
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    for part in ["127.0.0.1", "is not trusted", "not valid for name"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[test]
fn a_proxy_of_another_protocol_is_one_line() {
    let behind = Behind::new("no-tls");
    let endpoint = behind.daemon.endpoint.replace("http:", "https:");
    let said = behind.run(&format!("ipvsadm --endpoint {endpoint} -L --timeout"));
    assert_eq!((said.rc, said.err.lines().count()), (2, 1), "{}", said.err);
    assert!(said.err.contains("cannot be reached"), "{}", said.err);
}
