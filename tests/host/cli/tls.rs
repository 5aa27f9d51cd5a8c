//! `https://` endpoints: which daemons ipvsctl trusts, and as whom it connects.

use std::path::PathBuf;

use rcgen::{CertificateParams, date_time_ymd};

use super::{
    daemon::Daemon,
    tls_server::{ClientCertificates, Issuer, TlsServer},
};
use crate::common::parity::{CommandOutput, links, shell};

/// A daemon behind a TLS proxy, and files for ipvsctl.
struct Fixture {
    daemon: Daemon,
    server: TlsServer,
    issuer: Issuer,
    directory: PathBuf,
}

/// What differs from a proxy with a certificate for `localhost` of a CA.
#[derive(Default)]
struct Setup {
    params: Option<CertificateParams>,
    is_self_signed: bool,
    /// The proxy has the certificate, but another key.
    has_other_key: bool,
    client_certificates: ClientCertificates,
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

impl Fixture {
    fn new(name: &str) -> Self {
        Self::with(name, Setup::default())
    }

    fn with(name: &str, setup: Setup) -> Self {
        let name = format!("ipvsctl-{}-tls-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let issuer = Issuer::new("CA");
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        let params = setup.params.unwrap_or_else(|| params("localhost"));
        let certificate = match setup.is_self_signed {
            true => Issuer::self_signed(params),
            false => issuer.sign(params),
        };
        let key = match setup.has_other_key {
            true => issuer.sign(self::params("localhost")).key,
            false => certificate.key.clone(),
        };
        let daemon = Daemon::start();
        let server = TlsServer::start(
            certificate.chain,
            key,
            setup.client_certificates,
            &issuer,
            daemon.address(),
        );
        Self {
            daemon,
            server,
            issuer,
            directory,
        }
    }

    /// Writes a certificate of a client and its key; returns their paths.
    fn client(&self, name: &str, issuer: &Issuer) -> [String; 2] {
        let certificate = issuer.sign(params("client"));
        let write = |extension: &str, pem: &str| {
            let path = self.directory.join(name).with_extension(extension);
            private(&path, pem);
            path.display().to_string()
        };
        [
            write("pem", &certificate.pem),
            write("key", &certificate.key_pem),
        ]
    }

    /// Runs a shell command after replacing `CA`, `PORT` and `PIN`.
    fn run(&self, cmd: &str) -> CommandOutput {
        let ca = self.directory.join("ca.pem");
        let cmd = cmd
            .replace("{CA}", ca.to_str().unwrap())
            .replace("{PORT}", &self.server.port.to_string())
            .replace("{PIN}", &self.server.fingerprint());
        shell(&cmd, "", Some(&links()), "http://127.0.0.1:1")
    }

    #[track_caller]
    fn accepts(&self, cmd: &str) {
        let output = self.run(cmd);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        assert_eq!(output.stdout, TIMEOUTS, "{cmd}");
    }

    /// Runs a command that fails with one line, which has these parts. Returns the line.
    #[track_caller]
    fn refuses(&self, cmd: &str, parts: &[&str]) -> String {
        let output = self.run(cmd);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        for part in parts {
            assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
        }
        output.stderr
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Writes a file that only its owner can read.
fn private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The default timeouts of the kernel.
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 900 120 300\n";
const LIST: &str = "ipvsadm --endpoint https://localhost:{PORT} -L --timeout";

#[test]
fn a_certificate_is_trusted_by_option_variable_configuration_or_system() {
    let fixture = Fixture::new("trusted");
    let config = fixture.directory.join("config.toml");
    let text = format!(
        "[directors.lb1]\nendpoint = \"https://localhost:{}\"\nca = {:?}\n",
        fixture.server.port,
        fixture.directory.join("ca.pem")
    );
    std::fs::write(&config, text).unwrap();
    fixture.accepts(&format!("{LIST} --ca {{CA}}"));
    fixture.accepts(&format!("IPVSCTL_CA={{CA}} {LIST}"));
    fixture.accepts(&format!("SSL_CERT_FILE={{CA}} {LIST}"));
    fixture.accepts(&format!(
        "IPVSCTL_CONFIG={} ipvsadm --director lb1 -L --timeout",
        config.display()
    ));
    // The command line precedes the environment.
    fixture.accepts(&format!("IPVSCTL_CA=/nonexistent {LIST} --ca {{CA}}"));
    fixture.refuses(
        &format!("IPVSCTL_CA={{CA}} {LIST} --ca /nonexistent"),
        &["/nonexistent: No such file"],
    );
}

#[test]
fn an_unknown_ca_is_reported_with_the_fingerprint_and_both_remedies() {
    let fixture = Fixture::new("untrusted");
    let pin = fixture.server.fingerprint();
    let line = fixture.refuses(LIST, &[]);
    let expected = format!(
        "ipvsadm: https://localhost:{} is not trusted: no trusted CA has signed its certificate (trust \
         its CA with --ca FILE, or pin it: --fingerprint {pin}, if that is the fingerprint on the \
         director)\n",
        fixture.server.port
    );
    assert_eq!(line, expected);
}

#[test]
fn a_certificate_for_another_name_is_reported_with_its_names() {
    let mut names = params("lb1.example.com");
    names
        .subject_alt_names
        .push(rcgen::SanType::IpAddress([192, 0, 2, 7].into()));
    let setup = Setup {
        params: Some(names),
        ..Setup::default()
    };
    let fixture = Fixture::with("other-name", setup);
    let parts = [
        "localhost",
        "not for this name, but for lb1.example.com, 192.0.2.7",
    ];
    fixture.refuses(&format!("{LIST} --ca {{CA}}"), &parts);
}

#[test]
fn a_certificate_at_another_time_is_reported_with_the_time() {
    for (name, from, to, parts) in [
        (
            "expired",
            2019,
            2020,
            ["expired at 2020-01-01T00:00:00Z", "renew"],
        ),
        (
            "future",
            2100,
            2101,
            ["not valid before 2100-01-01T00:00:00Z", "clocks"],
        ),
    ] {
        let mut time = params("localhost");
        time.not_before = date_time_ymd(from, 1, 1);
        time.not_after = date_time_ymd(to, 1, 1);
        let setup = Setup {
            params: Some(time),
            ..Setup::default()
        };
        let fixture = Fixture::with(name, setup);
        fixture.refuses(&format!("{LIST} --ca {{CA}}"), &parts);
    }
}

#[test]
fn a_pin_accepts_a_self_signed_certificate_for_any_name() {
    let setup = Setup {
        params: Some(params("lb1.example.com")),
        is_self_signed: true,
        ..Setup::default()
    };
    let fixture = Fixture::with("pin", setup);
    let pin = fixture.server.fingerprint();
    let pairs: Vec<_> = pin
        .as_bytes()
        .chunks(2)
        .map(String::from_utf8_lossy)
        .collect();
    fixture.accepts(&format!("{LIST} --fingerprint {{PIN}}"));
    fixture.accepts(&format!(
        "{LIST} --fingerprint {}",
        pairs.join(":").to_uppercase()
    ));
    fixture.accepts(&format!("IPVSCTL_FINGERPRINT={{PIN}} {LIST}"));
    // With a CA, its checks are made too.
    let parts = ["no trusted CA"];
    fixture.refuses(&format!("{LIST} --fingerprint {{PIN}} --ca {{CA}}"), &parts);
}

#[test]
fn another_certificate_than_the_pinned_one_is_reported_with_both_fingerprints() {
    let fixture = Fixture::new("other-pin");
    let pin = fixture.server.fingerprint();
    let other = "ab".repeat(32);
    let parts = ["is not the one with the fingerprint", &other, &pin];
    for ca in ["", " --ca {CA}"] {
        fixture.refuses(&format!("{LIST} --fingerprint {other}{ca}"), &parts);
    }
    fixture.refuses(
        &format!("{LIST} --fingerprint abc"),
        &["--fingerprint", "64 hexadecimal digits"],
    );
    fixture.refuses(
        &format!("IPVSCTL_FINGERPRINT=abc {LIST}"),
        &["IPVSCTL_FINGERPRINT: ", "64 hexadecimal digits"],
    );
}

#[test]
fn a_server_without_the_key_of_the_pinned_certificate_is_refused() {
    let setup = Setup {
        has_other_key: true,
        ..Setup::default()
    };
    let fixture = Fixture::with("other-key", setup);
    for trust in ["--fingerprint {PIN}", "--ca {CA}"] {
        fixture.refuses(&format!("{LIST} {trust}"), &["BadSignature"]);
    }
}

#[test]
fn a_client_certificate_is_sent_and_the_lack_of_one_reported() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let setup = Setup {
            client_certificates: ClientCertificates::Required(version),
            ..Setup::default()
        };
        let fixture = Fixture::with(&format!("client-{:?}", version.version), setup);
        let [cert, key] = fixture.client("client", &fixture.issuer);
        let list = format!("{LIST} --ca {{CA}}");
        fixture.accepts(&format!("{list} --cert {cert} --key {key}"));
        fixture.accepts(&format!("IPVSCTL_CERT={cert} IPVSCTL_KEY={key} {list}"));
        let parts = ["requires a client certificate", "--cert FILE --key FILE"];
        fixture.refuses(&list, &parts);
        // Nothing was changed, which is known.
        fixture.refuses(&list.replace("-L --timeout", "-C"), &parts);

        // Both in one file.
        let both = fixture.directory.join("both.pem");
        let read = |path| std::fs::read_to_string(path).unwrap();
        private(&both, &(read(&cert) + &read(&key)));
        fixture.accepts(&format!("{list} --cert {}", both.display()));

        for (name, part) in [("other CA", "no CA that it trusts"), ("CA", "")] {
            let [cert, key] = fixture.client("stranger", &Issuer::new(name));
            let list = format!("{list} --cert {cert} --key {key}");
            for cmd in [list.clone(), list.replace("-L --timeout", "-C")] {
                fixture.refuses(&cmd, &["refuses the client certificate", part]);
            }
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_reported_by_name() {
    let fixture = Fixture::new("files");
    let [cert, key] = fixture.client("client", &fixture.issuer);
    let [_, other] = fixture.client("other", &fixture.issuer);
    let list = format!("{LIST} --ca {{CA}}");
    for (options, parts) in [
        (
            format!("--cert {cert} --key {other}"),
            [other.as_str(), "is not the key of"],
        ),
        (format!("--cert {cert}"), [&cert, "has no private key"]),
        (
            format!("--cert {key} --key {key}"),
            [&key, "has no certificates"],
        ),
        (format!("--key {key}"), ["--key without --cert", ""]),
        (
            format!("--cert {cert} --key /nonexistent"),
            ["/nonexistent: No such file", ""],
        ),
    ] {
        fixture.refuses(&format!("{list} {options}"), &parts);
    }
    let parts = ["IPVSCTL_KEY without IPVSCTL_CERT"];
    fixture.refuses(&format!("IPVSCTL_KEY={key} {list}"), &parts);
    for mode in ["640", "604"] {
        let remedy = format!("chmod 600 {key}");
        fixture.refuses(
            &format!("chmod {mode} {key}; {list} --cert {cert} --key {key}"),
            &[&remedy],
        );
    }
}

#[test]
fn options_of_tls_are_refused_for_an_endpoint_without_tls() {
    let fixture = Fixture::new("no-https");
    for option in ["--ca {CA}", "--fingerprint {PIN}", "--cert {CA}"] {
        for endpoint in ["http://localhost:{PORT}", "unix:///run/ipvsd/ipvsd.sock"] {
            let cmd = format!("ipvsadm --endpoint {endpoint} {option} -Ln");
            fixture.refuses(&cmd, &["needs an https:// endpoint"]);
        }
    }
}

#[test]
fn an_endpoint_without_tls_is_reported_in_one_line() {
    let fixture = Fixture::new("no-tls");
    let endpoint = fixture.daemon.endpoint.replace("http:", "https:");
    let cmd = format!("ipvsadm --endpoint {endpoint} -L --timeout");
    fixture.refuses(&cmd, &["cannot be reached"]);
}
