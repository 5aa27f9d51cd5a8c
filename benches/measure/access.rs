//! The cost of TLS and of a token: the same requests, in turn, to a daemon without access control over plain
//! HTTP, to one that requires a token over plain HTTP, and to the same over TLS 1.3.

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::ensure;
use clap::Args;
use ipvsd::model::Sha256;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    daemon::{Daemon, free_port},
    http::Reader,
    sample::{milliseconds, quantile, remark, sample},
    table::{Size, server_id, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// Rounds; each runs every work with every contender.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The table.
    #[arg(long, default_value = "100x10")]
    size: Size,
}

/// A token as `ipvsctl token create` makes it, and its hash.
const TOKEN: &str = concat!("ipvsd_", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

/// How the clients of a contender connect.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// Field lines of each request.
    fields: String,
}

/// What a client does with a connection.
trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Variables of the daemon.
type Variables = [(&'static str, String); 2];

/// Requests of a kind in a round.
const SMALL: u32 = 5000;
const LARGE: u32 = 200;
const CONNECTIONS: u32 = 500;

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let directory = env::temp_dir().join(format!("ipvsd-bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = options.measure(&directory);
    fs::remove_dir_all(&directory)?;
    outcome
}

impl Options {
    fn measure(&self, directory: &Path) -> anyhow::Result<()> {
        let open = Daemon::start(&self.ipvsd, "fake", free_port()?)?;
        let (tls, client) = self.certificate(directory)?;
        let (plain, secure) = (local(free_port()?), local(free_port()?));
        let guarded = self.start_guarded(directory, plain, secure, &tls)?;
        let fields = format!("authorization: Bearer {TOKEN}\r\n");
        let contender = |name, address, tls, fields: &str| Contender {
            name,
            address,
            tls,
            fields: fields.to_owned(),
        };
        let mut contenders = [
            contender("plain", open.address, None, ""),
            contender("token", plain, None, &fields),
            contender("TLS", secure, Some(client), &fields),
        ];
        for contender in contenders.iter().take(2) {
            self.fill(contender)?;
        }
        for round in 1..=self.rounds {
            for contender in &contenders {
                self.round(contender, round)?;
            }
            contenders.rotate_left(1);
        }
        for (name, daemon) in [("plain", &open), ("token and TLS", &guarded)] {
            let resident = daemon.memory()?.resident / 1024.0;
            remark(format!("{name}: {resident:.1} MiB of RSS after the load"));
        }
        Ok(())
    }

    /// Makes a certificate. Returns the daemon's variables, and the client's configuration.
    fn certificate(&self, directory: &Path) -> anyhow::Result<(Variables, Arc<ClientConfig>)> {
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        let status = Command::new(&self.ipvsd)
            .args(["cert", "--self-signed", "--name", "localhost"])
            .arg("--certificate")
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .status()?;
        ensure!(status.success(), "ipvsd cert has failed");
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(&certificate)? {
            roots.add(root?)?;
        }
        let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection has a full handshake.
        client.resumption = Resumption::disabled();
        let variables = [
            ("IPVSD_TLS_CERTIFICATE", certificate.display().to_string()),
            ("IPVSD_TLS_KEY", key.display().to_string()),
        ];
        Ok((variables, Arc::new(client)))
    }

    fn start_guarded(
        &self,
        directory: &Path,
        plain: SocketAddr,
        secure: SocketAddr,
        tls: &[(&'static str, String)],
    ) -> anyhow::Result<Daemon> {
        let policy = directory.join("policy.toml");
        let hash = Sha256::of(TOKEN.as_bytes());
        let entry = format!("[[token]]\nname = \"bench\"\nsha256 = \"{hash}\"\nrole = \"admin\"\n");
        fs::write(&policy, entry)?;
        let listen = format!("{plain},tls:{secure}");
        let policy = policy.display().to_string();
        let arguments = ["--kernel", "fake", "--policy", &policy, "--listen", &listen];
        let variables: Vec<_> = tls.iter().map(|(key, value)| (*key, &**value)).collect();
        Daemon::start_as(&self.ipvsd, plain, &arguments, &variables)
    }

    fn fill(&self, contender: &Contender) -> anyhow::Result<()> {
        let mut client = contender.connect()?;
        for number in 0..self.size.services {
            let path = format!("/v1/services/{}", service_id(number));
            let service = self.size.service_json(1);
            client.call("PUT", &path, std::str::from_utf8(&service)?)?;
        }
        Ok(())
    }

    fn round(&self, contender: &Contender, round: u32) -> anyhow::Result<()> {
        let service = format!("/v1/services/{}", service_id(0));
        let server = format!("{service}/servers/{}", server_id(0));
        let list = "/v1/services?include=servers,stats,rates";
        let report = |work: &str, mut times: Vec<f64>| {
            let median = quantile(&mut times, 0.5);
            sample(work, self.size, contender.name, round, median);
        };
        let mut client = contender.connect()?;
        report("get", times(SMALL, |_| client.read(&service))?);
        let change = |n| format!("{{\"weight\":{}}}", n + 1);
        let patch = times(SMALL, |n| client.call("PATCH", &server, &change(n)))?;
        report("patch", patch);
        report("list", times(LARGE, |_| client.read(list))?);
        let connect = times(CONNECTIONS, |_| contender.connect()?.read(&service))?;
        report("connect and get", connect);
        Ok(())
    }
}

impl Contender {
    fn connect(&self) -> anyhow::Result<Reader<Box<dyn Stream>>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let session = ClientConnection::new(config.clone(), name)?;
                Box::new(StreamOwned::new(session, stream))
            }
        };
        Ok(Reader::over(stream, self.fields.clone()))
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Times of a request in milliseconds.
fn times(
    count: u32,
    mut request: impl FnMut(u32) -> anyhow::Result<usize>,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..count {
        let begin = Instant::now();
        request(number)?;
        times.push(milliseconds(begin.elapsed()));
    }
    Ok(times)
}
