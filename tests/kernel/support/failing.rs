//! HTTP servers that can be made to fail, and what a client gets from them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use super::world::World;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Good,
    /// Its process has ended.
    Killed,
    /// It accepts connections and does not answer.
    Hang,
    /// It answers after [`SLOW`].
    Slow,
    /// Status 500.
    Error,
    WrongBody,
    /// It resets the connection instead of an answer.
    Reset,
    /// Its certificate has expired.
    Expired,
}

/// Longer than the patience of checks and clients.
pub const SLOW: Duration = Duration::from_secs(3);
/// How long a client waits for each step.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server that can be made to fail.
pub struct Server {
    mode: Arc<AtomicU8>,
    address: SocketAddr,
    revived: mpsc::Sender<()>,
    /// It listens, or does not any more.
    changed: Mutex<mpsc::Receiver<()>>,
}

/// Certificates for one name: of an authority, valid, and expired.
pub struct Tls {
    /// The authority, as PEM.
    pub authority: String,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The name in the certificates.
pub const NAME: &str = "www.example.com";

// === impl Tls ===

impl Tls {
    pub fn new() -> Arc<Self> {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key();
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let server = |last_year| {
            let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(last_year, 1, 1);
            let key = key();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key);
            Arc::new(config.unwrap())
        };
        Arc::new(Self {
            authority: certificate.pem(),
            good: server(2100),
            expired: server(2021),
            client: client(certificate.der()),
        })
    }
}

fn client(authority: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

// === impl Server ===

impl Server {
    /// Starts a server, over TLS if there are certificates.
    pub fn start(world: &World, address: SocketAddr, tls: Option<Arc<Tls>>) -> Self {
        let mode = Arc::new(AtomicU8::new(Mode::Good as u8));
        let (revived, revivals) = mpsc::channel();
        let (change, changed) = mpsc::channel();
        let shared = mode.clone();
        world.server.spawn(move || {
            loop {
                let listener = TcpListener::bind(address).unwrap();
                change.send(()).unwrap();
                for stream in listener.incoming().flatten() {
                    if is(&shared, Mode::Killed) {
                        break;
                    }
                    let (mode, tls) = (shared.clone(), tls.clone());
                    thread::spawn(move || serve(stream, tls.as_deref(), &mode));
                }
                drop(listener);
                if change.send(()).is_err() || revivals.recv().is_err() {
                    return;
                }
            }
        });
        changed.recv().expect("the server does not listen");
        Self {
            mode,
            address,
            revived,
            changed: Mutex::new(changed),
        }
    }

    /// From now on, it answers in this way.
    pub fn set(&self, world: &World, mode: Mode) {
        let before = self.mode.swap(mode as u8, Ordering::SeqCst);
        if mode == Mode::Killed && before != mode as u8 {
            // It looks at its mode when it accepts a connection.
            let woken = world.server.run(|| TcpStream::connect(self.address));
            drop(woken);
            self.wait();
        } else if before == Mode::Killed as u8 && mode != Mode::Killed {
            self.revived.send(()).unwrap();
            self.wait();
        }
    }

    /// Waits until it listens, or does not any more.
    fn wait(&self) {
        self.changed.lock().unwrap().recv().unwrap();
    }
}

fn is(mode: &AtomicU8, one: Mode) -> bool {
    mode.load(Ordering::SeqCst) == one as u8
}

/// Serves a connection until it ends.
fn serve(stream: TcpStream, tls: Option<&Tls>, mode: &AtomicU8) -> Option<()> {
    let name = stream.local_addr().ok()?.ip().to_string();
    let socket = stream.try_clone().ok()?;
    match tls {
        None => answer(stream, &socket, &name, mode),
        Some(tls) => {
            let config = match is(mode, Mode::Expired) {
                true => tls.expired.clone(),
                false => tls.good.clone(),
            };
            let session = ServerConnection::new(config).ok()?;
            answer(StreamOwned::new(session, stream), &socket, &name, mode)
        }
    }
}

/// Answers until the client ends the connection, or does not want to keep it.
fn answer(
    stream: impl Read + Write,
    socket: &TcpStream,
    name: &str,
    mode: &AtomicU8,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut is_last = false;
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line != "\r\n" {
            let line = line.to_ascii_lowercase();
            is_last |= line.starts_with("connection: close") || line.contains("http/1.0");
            continue;
        }
        let is = |one| is(mode, one);
        if is(Mode::Hang) {
            continue;
        }
        if is(Mode::Reset) || is(Mode::Killed) {
            reset_at_end(socket).ok()?;
            return None;
        }
        if is(Mode::Slow) {
            thread::sleep(SLOW);
        }
        let status = if is(Mode::Error) { "500 Oh" } else { "200 OK" };
        let body = match is(Mode::WrongBody) {
            true => "maintenance\n".to_owned(),
            false => format!("{name}\n"),
        };
        let length = body.len();
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.get_mut().write_all(response.as_bytes()).ok()?;
        stream.get_mut().flush().ok()?;
        if is_last {
            return None;
        }
    }
}

/// Lets the end of a connection be a reset.
pub fn reset_at_end(stream: &TcpStream) -> std::io::Result<()> {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    Ok(setsockopt(stream, Linger, &at_once)?)
}

// === clients ===

/// The end of a request of a client.
#[derive(Clone, Debug)]
pub struct Request {
    pub begin: Instant,
    pub end: Instant,
    /// The server that has answered, or what was wrong.
    pub result: Result<String, String>,
}

/// Sends a request in a connection of its own, in this thread's namespace.
pub fn ask(to: SocketAddr, tls: Option<&Tls>) -> Request {
    let begin = Instant::now();
    let result = asked(to, tls).map_err(|error| error.to_string());
    Request {
        begin,
        end: Instant::now(),
        result,
    }
}

fn asked(to: SocketAddr, tls: Option<&Tls>) -> std::io::Result<String> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    reset_at_end(&stream)?;
    match tls {
        None => exchange(stream),
        Some(tls) => {
            let session = ClientConnection::new(tls.client.clone(), NAME.try_into().unwrap());
            exchange(StreamOwned::new(session.unwrap(), stream))
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || {
        let end = Err(std::io::ErrorKind::UnexpectedEof.into());
        lines.next().unwrap_or(end)
    };
    let status = next()?;
    while !next()?.is_empty() {}
    let body = next()?;
    match status.as_str() == "HTTP/1.1 200 OK" && body.starts_with("10.1.0.") {
        true => Ok(body),
        false => Err(std::io::Error::other(format!("{status}: {body}"))),
    }
}

/// Sends requests one after the other on several threads while `work` runs, and returns what has become of them.
pub fn meanwhile<T>(
    world: &World,
    to: SocketAddr,
    tls: Option<&Tls>,
    work: impl FnOnce() -> T,
) -> (T, Vec<Request>) {
    const CLIENTS: usize = 4;
    /// Time between two requests of a client. The guest has one processor.
    const PAUSE: Duration = Duration::from_millis(20);
    let (ends, all) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let value = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut own = Vec::new();
                world.client.run(|| {
                    while !ends.load(Ordering::Relaxed) {
                        own.push(ask(to, tls));
                        thread::sleep(PAUSE);
                    }
                });
                all.lock().unwrap().append(&mut own);
            });
        }
        let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        ends.store(true, Ordering::Relaxed);
        value
    });
    match value {
        Ok(value) => (value, all.into_inner().unwrap()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
