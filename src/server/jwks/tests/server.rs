//! A server of keys on a free port of the loopback interface, over TLS or without.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::identity::jwt::KeyLocation;

/// Longest time that a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What a server of keys does with a request.
#[derive(Clone)]
pub(super) enum Behaviour {
    /// Sends this response.
    Send(String),
    /// Closes the connection.
    Close,
    /// Sends nothing.
    Wait,
}

pub(super) struct KeyServer {
    pub(super) port: u16,
    scheme: &'static str,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<AtomicUsize>,
    directory: Directory,
}

/// A directory that is removed with its content.
pub(super) struct Directory(pub(super) PathBuf);

pub(super) fn directory() -> Directory {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("ipvsd-jwks-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    Directory(path)
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn ok(text: &str) -> Behaviour {
    let length = text.len();
    Behaviour::Send(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}"
    ))
}

impl KeyServer {
    pub(super) async fn start(tls: bool, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let directory = directory();
        let server = Self {
            port,
            scheme: if tls { "https" } else { "http" },
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
            directory,
        };
        let acceptor = tls.then(|| acceptor(&server.ca()));
        let (behaviour, requests) = (server.behaviour.clone(), server.requests.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, requests) = (acceptor.clone(), requests.clone());
                let behaviour = behaviour.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => respond(socket, &behaviour, &requests).await,
                        Some(acceptor) => {
                            let socket: std::io::Result<_> = acceptor.accept(socket).await;
                            if let Ok(socket) = socket {
                                respond(socket, &behaviour, &requests).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.directory.0.join("ca.pem")
    }

    pub(super) fn location(&self) -> KeyLocation {
        KeyLocation::Url {
            url: format!("{}://localhost:{}/keys", self.scheme, self.port)
                .parse()
                .unwrap(),
            ca: (self.scheme == "https").then(|| self.ca()),
        }
    }

    pub(super) fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits for further requests.
    pub(super) async fn expect_requests(&self, more: usize) {
        let requests = self.requests() + more;
        eventually(|| async { self.requests() >= requests }).await;
    }
}

pub(super) fn acceptor(ca: &Path) -> TlsAcceptor {
    let names = ["localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    fs::write(ca, cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Arc::new(config).into()
}

pub(super) async fn respond(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    behaviour: &Mutex<Behaviour>,
    requests: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let behaviour = behaviour.lock().unwrap().clone();
    requests.fetch_add(1, Ordering::Relaxed);
    match behaviour {
        Behaviour::Send(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
        Behaviour::Close => {}
        Behaviour::Wait => sleep(PATIENCE).await,
    }
}

/// Waits until a condition holds.
pub(super) async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "the condition never held");
        sleep(Duration::from_millis(2)).await;
    }
}
