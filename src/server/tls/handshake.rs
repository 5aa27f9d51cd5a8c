//! Handshakes, and what is known of a client after one.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use rustls::{Error, pki_types::CertificateDer};
use thiserror::Error as ThisError;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    client_certificate::{self, NoIdentity},
    context::Digest,
    handle::Tls,
};
use crate::{
    audit::{AuditLog, Caller},
    identity::{CertificateIdentity, Credential, Peer, Principal, Protocol},
};

/// What a client may send in a handshake, in bytes: several chains of certificates.
const MAX_HANDSHAKE: usize = 32 << 10;

/// Bytes of a response that a connection holds encrypted while its client does not read: two records.
const SEND_BUFFER: usize = 32 << 10;

/// First bytes of a connection that are kept, for the reason of a failed handshake.
const FIRST_BYTES: usize = 4;

/// Longest time between two checks of the validity of a client certificate: the clock may be set.
const VALIDITY_INTERVAL: Duration = Duration::from_secs(600);

/// A handshake that failed.
#[derive(Debug, ThisError)]
pub(in crate::server) enum HandshakeError {
    #[error("not complete within limits.header_read_timeout ({0:?})")]
    Timeout(Duration),
    #[error("the client sent more than {MAX_HANDSHAKE} bytes")]
    TooLong,
    #[error("the client speaks HTTP without TLS: it must use https://")]
    PlainHttp,
    #[error("the client has no certificate that is accepted: {0}")]
    Refused(Error),
    #[error(transparent)]
    NoIdentity(#[from] NoIdentity),
    #[error(transparent)]
    Failed(io::Error),
}

/// Why the client of an open connection is no longer trusted.
#[derive(Debug, ThisError)]
pub(in crate::server) enum TrustLost {
    #[error("the client certificate has expired")]
    Expired,
    #[error("the reloaded TLS files refuse the client: {0}")]
    Refused(Error),
}

/// A connection after its handshake.
pub(in crate::server) type TlsSocket<S> = TlsStream<Limited<S>>;

/// What is known of the client of a TLS connection.
pub(in crate::server) struct TlsClient {
    identity: Option<Arc<CertificateIdentity>>,
    /// The certificates that the client presented, its own first.
    certificates: Vec<CertificateDer<'static>>,
    /// What they were verified with.
    verified_by: Digest,
    tls: Tls,
}

/// A socket of which a limited number of bytes is read during the handshake.
pub(in crate::server) struct Limited<S> {
    socket: S,
    first: Vec<u8>,
    /// What may still be read; `None` after the handshake.
    left: Option<usize>,
}

/// Accepts a connection. Its handshake must be complete within this time.
pub(in crate::server) async fn accept<S>(
    socket: S,
    tls: &Tls,
    time: Duration,
) -> Result<(TlsSocket<S>, TlsClient), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let context = tls.context();
    let socket = Limited {
        socket,
        first: Vec::with_capacity(FIRST_BYTES),
        left: Some(MAX_HANDSHAKE),
    };
    let accept = TlsAcceptor::from(context.server.clone()).accept_with(socket, |session| {
        session.set_buffer_limit(Some(SEND_BUFFER))
    });
    let accepted = timeout(time, accept.into_fallible()).await;
    let accepted = accepted.map_err(|_| HandshakeError::Timeout(time))?;
    let mut stream = accepted.map_err(|(error, socket)| reason(error, &socket))?;
    let (socket, session) = stream.get_mut();
    socket.left = None;
    let certificates: Vec<_> = session.peer_certificates().unwrap_or_default().to_vec();
    let identity = certificates.first();
    let identity = identity.map(|der| client_certificate::identity(der));
    let client = TlsClient {
        identity: identity.transpose()?.map(Arc::new),
        certificates,
        verified_by: context.verifier_digest,
        tls: tls.clone(),
    };
    Ok((stream, client))
}

/// Why a handshake failed.
fn reason<S>(error: io::Error, socket: &Limited<S>) -> HandshakeError {
    // The beginning of a method, or of the preface of HTTP/2. A TLS connection begins with byte 22.
    let is_text = |byte: &u8| byte.is_ascii_uppercase() || *byte == b' ';
    let is_http = socket.first.len() == FIRST_BYTES && socket.first.iter().all(is_text);
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        _ if socket.left == Some(0) => HandshakeError::TooLong,
        _ if is_http => HandshakeError::PlainHttp,
        Some(inner @ (Error::InvalidCertificate(_) | Error::NoCertificatesPresented)) => {
            HandshakeError::Refused(inner.clone())
        }
        _ => HandshakeError::Failed(error),
    }
}

// === impl HandshakeError ===

impl HandshakeError {
    /// Logs it: at info if the client was refused, else at debug, because any port scan causes it. A
    /// refusal is recorded too; those that the audit trail only counts are logged at debug.
    pub(in crate::server) fn report(&self, peer: Peer, audit: &AuditLog) {
        let caller = Caller {
            principal: Principal::anonymous(),
            peer: Some(peer),
            request_id: None,
            protocol: Protocol::Internal,
        };
        let is_refused = matches!(self, Self::Refused(_) | Self::NoIdentity(_));
        match is_refused && audit.unauthenticated(caller, Instant::now()) {
            true => tracing::info!(%peer, error = %self, "TLS client refused"),
            false => tracing::debug!(%peer, error = %self, "TLS handshake failed"),
        }
    }
}

// === impl TlsClient ===

impl TlsClient {
    /// What the connection proves about the client.
    pub(in crate::server) fn credential(&self) -> Credential {
        let identity = self.identity.clone();
        identity.map_or(Credential::None, Credential::Certificate)
    }

    /// Waits until the client is no longer trusted: its certificate has expired, or would be refused
    /// since a reload.
    pub(in crate::server) async fn trust_lost(&self) -> TrustLost {
        let mut contexts = self.tls.contexts();
        let mut verified_by = self.verified_by;
        loop {
            let context = contexts.borrow_and_update().clone();
            // Most reloads replace only the certificate of the daemon.
            if context.verifier_digest != verified_by {
                if let Err(error) = context.admits(&self.certificates) {
                    return TrustLost::Refused(error);
                }
                verified_by = context.verifier_digest;
            }
            let now = SystemTime::now();
            let left = self
                .identity
                .as_ref()
                .map(|identity| identity.time_left(now));
            let validity = async {
                match left {
                    Some(left) => sleep(left.min(VALIDITY_INTERVAL)).await,
                    None => pending().await,
                }
            };
            if left == Some(Duration::ZERO) {
                return TrustLost::Expired;
            }
            tokio::select! {
                // Never an error: this client keeps the sender alive.
                _ = contexts.changed() => {}
                () = validity => {}
            }
        }
    }
}

// === impl Limited ===

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        };
        let space = left.min(buf.remaining());
        if space == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let mut limited = ReadBuf::new(buf.initialize_unfilled_to(space));
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut limited))?;
        let read = limited.filled().len();
        let missing = FIRST_BYTES - self.first.len();
        self.first.extend(limited.filled().iter().take(missing));
        self.left = Some(left - read);
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
