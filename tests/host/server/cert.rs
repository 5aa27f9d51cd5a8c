//! `ipvsd cert`, and what `--check-config` says about certificates and keys.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use nix::unistd::geteuid;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{authority::*, harness::TempDir, tls::start_daemon};

/// Runs `ipvsd` in a directory.
fn ipvsd(directory: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .env_clear()
        .current_dir(directory)
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

/// Runs it, and returns what it prints.
#[track_caller]
fn succeeds(directory: &Path, arguments: &str) -> String {
    let output = ipvsd(directory, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, and returns its exit status and error.
#[track_caller]
fn fails(directory: &Path, arguments: &str) -> (i32, String) {
    let output = ipvsd(directory, arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), error)
}

/// A client that trusts an authority, and presents a certificate.
fn client(directory: &Path, ca: &str, certificate: Option<[&str; 2]>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(directory.join(ca)).unwrap();
    roots.add(ca).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match certificate {
        None => builder.with_no_client_auth(),
        Some([certificate, key]) => {
            let certificate = CertificateDer::from_pem_file(directory.join(certificate)).unwrap();
            let key = PrivateKeyDer::from_pem_file(directory.join(key)).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    }
}

#[tokio::test]
async fn a_self_signed_certificate_serves() {
    let directory = TempDir::new();
    let directory = &directory.0;
    let printed = succeeds(
        directory,
        "cert --self-signed --certificate c.pem --key k.pem",
    );
    assert!(
        printed.starts_with("Certificate: c.pem (server: localhost, "),
        "{printed}"
    );
    assert!(
        printed.contains(", 127.0.0.1, ::1; valid for 365 days)\nKey: k.pem\n"),
        "{printed}"
    );
    let der = CertificateDer::from_pem_file(directory.join("c.pem")).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let bytes: Vec<_> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    assert!(printed.ends_with(&format!("SHA-256 fingerprint: {}\n", bytes.join(":"))));
    let mode = |file| {
        fs::metadata(directory.join(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("k.pem"), 0o600);
    assert_eq!(mode("c.pem") & 0o600, 0o600);

    let path = |file| directory.join(file);
    let config = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n",
        path("c.pem"),
        path("k.pem")
    );
    let (_process, address) = start_daemon(&config);
    let response = try_get(address, &client(directory, "c.pem", None), "/healthz").await;
    assert!(response.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_authority_signs_for_servers_and_clients() {
    let directory = TempDir::new();
    let directory = &directory.0;
    let run = |arguments: &str| succeeds(directory, arguments);
    run("cert --self-signed --ca --certificate ca.pem --key ca-key.pem");
    let signed = "cert --ca-certificate ca.pem --ca-key ca-key.pem";
    let printed = run(&format!(
        "{signed} --name localhost --address 192.0.2.1 --days 7 --certificate s.pem --key s-key.pem"
    ));
    assert!(
        printed.contains("(server: localhost, 192.0.2.1; valid for 7 days)"),
        "{printed}"
    );
    let printed = run(&format!(
        "{signed} --client --name grafana --name ops@example.com --name spiffe://example.com/a \
         --certificate c.pem --key c-key.pem"
    ));
    assert!(
        printed.contains("(client: grafana, ops@example.com, spiffe://example.com/a;"),
        "{printed}"
    );

    let path = |file| directory.join(file);
    let config = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\nclient_certificates = \
         \"required\"\n",
        path("s.pem"),
        path("s-key.pem"),
        path("ca.pem")
    );
    let (_process, address) = start_daemon(&config);
    let with = client(directory, "ca.pem", Some(["c.pem", "c-key.pem"]));
    let response = try_get(address, &with, "/healthz").await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    // The certificate of a server is not that of a client.
    let with = client(directory, "ca.pem", Some(["s.pem", "s-key.pem"]));
    assert!(try_get(address, &with, "/healthz").await.is_err());
}

#[test]
fn files_are_replaced_only_with_force() {
    let directory = TempDir::new();
    let directory = &directory.0;
    let make = "cert --self-signed --certificate c.pem --key k.pem";
    fs::write(directory.join("k.pem"), "precious").unwrap();
    let (status, error) = fails(directory, make);
    assert_eq!(status, 1);
    assert_eq!(
        error,
        "ipvsd: k.pem exists; choose another path, or replace it with --force\n"
    );
    assert!(!directory.join("c.pem").exists());
    assert_eq!(
        fs::read_to_string(directory.join("k.pem")).unwrap(),
        "precious"
    );
    fs::set_permissions(directory.join("k.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    succeeds(directory, &format!("{make} --force"));
    let key = fs::metadata(directory.join("k.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    PrivateKeyDer::from_pem_file(directory.join("k.pem")).unwrap();
    assert_eq!(
        fs::read_dir(directory).unwrap().count(),
        2,
        "nothing else is left"
    );
}

#[test]
fn certificates_that_make_no_sense_are_refused() {
    let directory = TempDir::new();
    let directory = &directory.0;
    succeeds(
        directory,
        "cert --self-signed --certificate s.pem --key s-key.pem",
    );
    succeeds(
        directory,
        "cert --self-signed --ca --certificate ca.pem --key ca-key.pem",
    );
    let files = "--certificate c.pem --key k.pem";
    for (arguments, status, expected) in [
        ("cert", 2, "--self-signed"),
        ("cert --self-signed --client", 2, "--name"),
        (
            "cert --self-signed --ca --client --name a",
            2,
            "cannot be used with",
        ),
        ("cert --ca-certificate ca.pem", 2, "--ca-key"),
        ("cert --self-signed --days 0", 2, "1..=36500"),
        (
            "cert --self-signed --name a@b.example",
            1,
            "is not a DNS name",
        ),
        (
            "cert --self-signed --client --name ä",
            1,
            "is not a DNS name",
        ),
        (
            "cert --ca-certificate s.pem --ca-key s-key.pem",
            1,
            "s.pem is not the certificate of an authority; ipvsd cert --self-signed --ca makes one",
        ),
        (
            "cert --ca-certificate ca.pem --ca-key s-key.pem",
            1,
            "s-key.pem is not the key of ca.pem",
        ),
        (
            "cert --ca-certificate none.pem --ca-key s-key.pem",
            1,
            "cannot read none.pem",
        ),
    ] {
        let (code, error) = fails(directory, &format!("{arguments} {files}"));
        assert_eq!(code, status, "{arguments}: {error}");
        assert!(error.contains(expected), "{arguments}: {error}");
        assert!(!directory.join("c.pem").exists() && !directory.join("k.pem").exists());
    }
    let (_, error) = fails(
        directory,
        "cert --self-signed --certificate c.pem --key c.pem",
    );
    assert!(error.contains("the same file"), "{error}");
    let (_, error) = fails(
        directory,
        "cert --self-signed --certificate c.pem --key no/k.pem",
    );
    assert!(error.contains("cannot write no/k.pem"), "{error}");
}

/// What `--check-config` says about the files of `fixture`: exit status and standard error.
fn check(fixture: &TlsFiles, tls: &str) -> (i32, String) {
    let file = fixture.path("ipvsd.toml");
    fs::write(&file, format!("listen = \"tls:0.0.0.0:0\"\n{tls}")).unwrap();
    let output = ipvsd(&fixture.directory.0, "--config ipvsd.toml --check-config");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn faults_of_the_files_name_the_key_and_the_remedy() {
    let files = TlsFiles::new();
    fs::set_permissions(files.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(check(&files, &files.toml("")), (0, String::new()));
    let check = |tls: &str| check(&files, tls);
    let other = files.authority.server();
    files.write("other-key.pem", &other.key.serialize_pem());
    files.write("empty.pem", "nothing\n");
    files.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "not-der.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    files.write("encrypted.pem", encrypted);
    let path = |name: &str| files.path(name).display().to_string();
    let toml = |certificate: &str, key: &str| {
        let (certificate, key) = (path(certificate), path(key));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    };
    for (certificate, key, expected) in [
        (
            "none.pem",
            "key.pem",
            "tls.certificate: cannot read PATH/none.pem: No such file",
        ),
        ("none.pem", "key.pem", "create it or correct the path"),
        (
            "empty.pem",
            "key.pem",
            "tls.certificate: PATH/empty.pem has no certificate; it must be",
        ),
        (
            "broken.pem",
            "key.pem",
            "tls.certificate: PATH/broken.pem: not a PEM file with a certif",
        ),
        (
            "not-der.pem",
            "key.pem",
            "tls.certificate: PATH/not-der.pem: not an X.509 certificate",
        ),
        (
            "cert.pem",
            "cert.pem",
            "tls.key: PATH/cert.pem has no private key; it must be a PEM file",
        ),
        (
            "cert.pem",
            "encrypted.pem",
            "tls.key: PATH/encrypted.pem is encrypted; store it without",
        ),
        (
            "cert.pem",
            "other-key.pem",
            "tls.key: PATH/other-key.pem is not the key of the first ce",
        ),
        ("cert.pem", ".", "tls.key: cannot read PATH/."),
    ] {
        let (status, error) = check(&toml(certificate, key));
        let expected = expected.replace("PATH", files.directory.0.to_str().unwrap());
        assert_eq!(status, 2, "{error}");
        assert!(error.contains(&expected), "{expected}: {error}");
    }
    let (status, error) = check(&toml("none.pem", "none-key.pem"));
    assert_eq!(
        (status, error.lines().count()),
        (2, 2),
        "all at once: {error}"
    );

    let required = "client_certificates = \"required\"\n";
    let ca = format!("client_ca = {:?}\n", path("ca.pem"));
    let empty = path("empty.pem");
    for (more, expected) in [
        (
            format!("client_ca = {empty:?}\n{required}"),
            "tls.client_ca: ",
        ),
        (
            format!("{ca}{required}crl = {empty:?}\n"),
            "has no revocation list; it must be a PEM",
        ),
        (
            format!("{ca}{required}crl = \"none\"\n"),
            "tls.crl: cannot read none",
        ),
    ] {
        let (status, error) = check(&files.toml(&more));
        assert_eq!(status, 2, "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn keys_that_need_each_other_are_checked() {
    let files = TlsFiles::new();
    let check = |tls: &str| check(&files, tls);
    let (status, error) = check("");
    assert_eq!(status, 2);
    assert_eq!(error.lines().count(), 2, "{error}");
    for key in ["tls.certificate", "tls.key"] {
        let expected = format!("ipvsd.toml:1: listen: tls:0.0.0.0:0 requires {key}: the PEM file");
        assert!(error.contains(&expected), "{error}");
    }
    let (status, error) = check(&files.toml("client_certificates = \"optional\"\n"));
    assert_eq!(status, 2);
    let expected = "tls.client_certificates: \"optional\" requires tls.client_ca: the PEM file";
    assert!(error.contains(expected), "{error}");
    for key in ["client_ca", "crl"] {
        let (status, error) = check(&files.toml(&format!("{key} = \"file.pem\"\n")));
        assert_eq!(status, 2);
        let expected = format!("tls.{key}: has no effect with tls.client_certificates = \"none\";");
        assert!(error.contains(&expected), "{error}");
    }
    let (_, error) = check(&files.toml("client_certificates = \"yes\"\n"));
    assert!(
        error.contains("\"none\" or \"optional\" or \"required\""),
        "{error}"
    );
}

#[test]
fn files_that_others_can_write_are_refused() {
    let files = TlsFiles::new();
    files.write("policy.toml", "");
    let policy = files.path("policy.toml");
    files.write("crl.pem", &files.authority.revoke(&[], 2100));
    let clients = format!(
        "client_certificates = \"required\"\nclient_ca = {:?}\ncrl = {:?}\n",
        files.path("ca.pem"),
        files.path("crl.pem")
    );
    let config = format!("policy = {policy:?}\n{}", files.toml(&clients));
    assert_eq!(check(&files, &config), (0, String::new()));
    for (name, key) in [
        ("policy.toml", "the policy is not used: "),
        ("cert.pem", "tls.certificate: "),
        ("key.pem", "tls.key: "),
        ("ca.pem", "tls.client_ca: "),
        ("crl.pem", "tls.crl: "),
    ] {
        let path = files.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let (status, error) = check(&files, &config);
        assert_eq!(status, 2, "{error}");
        assert!(error.contains(key), "{error}");
        let remedy = format!("chmod go-w {}", path.display());
        assert!(error.contains(&remedy), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if chown(&path, Some(12345), None).is_ok() {
            let (status, error) = check(&files, &config);
            assert_eq!(status, 2, "{error}");
            let remedy = format!("chown root {}", path.display());
            assert!(error.contains(key) && error.contains(&remedy), "{error}");
            chown(&path, Some(geteuid().as_raw()), None).unwrap();
        }
    }
}

#[test]
fn the_files_of_a_kubernetes_secret_are_accepted() {
    let files = TlsFiles::new();
    let version = files.path("..2026_11_28");
    fs::create_dir(&version).unwrap();
    symlink("..2026_11_28", files.path("..data")).unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        fs::rename(files.path(name), version.join(name)).unwrap();
        symlink(Path::new("..data").join(name), files.path(name)).unwrap();
    }
    let config = files.toml(&format!(
        "client_certificates = \"required\"\nclient_ca = {:?}\n",
        files.path("ca.pem")
    ));
    // By default, and with an fsGroup and the mode 0400.
    for (mode, warnings) in [(0o644, 1), (0o440, 0)] {
        for name in ["cert.pem", "key.pem", "ca.pem"] {
            let path = version.join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let (status, error) = check(&files, &config);
        assert_eq!((status, error.lines().count()), (0, warnings), "{error}");
    }
}

#[test]
fn doubtful_files_are_warnings() {
    let files = TlsFiles::new();
    fs::set_permissions(files.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (status, error) = check(&files, &files.toml(""));
    assert_eq!(status, 0);
    let path = files.path("key.pem");
    let expected = format!(
        "warning: tls.key: every local user can read {}; remove the permission: chmod o= FILE\n",
        path.display()
    );
    assert_eq!(error, expected);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let expired = files.authority.issue(params);
    fs::write(files.path("cert.pem"), &expired.pem).unwrap();
    fs::write(&path, expired.key.serialize_pem()).unwrap();
    let (status, error) = check(&files, &files.toml(""));
    assert_eq!(status, 0);
    assert!(error.starts_with("warning: tls.certificate: "), "{error}");
    assert!(error.contains("expired at 2025-01-01T00:00:00Z: clients refuse it; renew it"));
    let (process, _) = start_daemon(&files.toml(""));
    drop(process);
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of_at_the_start() {
    let directory = TempDir::new();
    let files = &directory.0;
    succeeds(
        files,
        "cert --self-signed --days 20 --certificate c.pem --key k.pem",
    );
    let tls = |more: &str| {
        let path = |name| files.join(name);
        let (certificate, key) = (path("c.pem"), path("k.pem"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}")
    };
    let process = start_daemon_until(&tls(""), "expires at");
    assert!(
        process.contains("WARN") && process.contains("in 20 days; renew it"),
        "{process}"
    );
    // With a shorter time, there is none.
    let config = tls("expiry_warning = \"240h\"\n");
    let lines = start_daemon_until(&config, "listening");
    assert!(!lines.contains("expires"), "{lines}");
}

/// The lines that a daemon logs up to one with this text.
fn start_daemon_until(config: &str, text: &str) -> String {
    let mut process = super::process::Process::spawn(config, |command| {
        command
            .args(["--listen", "tls:127.0.0.1:0"])
            .stderr(std::process::Stdio::piped())
    });
    process.read_log();
    process.lines_until(text).join("\n")
}
