//! TLS of checks.

use std::{io, net::SocketAddr, sync::Arc};

use hyper_rustls::ConfigBuilderExt;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    health::Failure,
    model::{CheckType, HealthCheck},
};

/// Configurations of TLS, made when they are needed first.
#[derive(Debug, Default)]
pub(super) struct Connectors {
    /// Verifies certificates.
    strict: OnceCell<Arc<ClientConfig>>,
    /// Does not.
    lax: OnceCell<Arc<ClientConfig>>,
}

/// Accepts any certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

// === impl Connectors ===

impl Connectors {
    /// Makes the handshake with a server.
    pub async fn handshake(
        &self,
        check: &HealthCheck,
        address: SocketAddr,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let config = match check.tls_verify {
            Some(false) => self.lax.get_or_try_init(|| config(false)).await,
            _ => self.strict.get_or_try_init(|| config(true)).await,
        };
        let config = config.map_err(|error| {
            Failure::Unchecked(format!("the director cannot check: TLS: {error}"))
        })?;
        let connector = TlsConnector::from(config.clone());
        let name = server_name(check, address);
        let handshake = match check.kind {
            CheckType::Grpc => connector
                .with_alpn(vec![b"h2".to_vec()])
                .connect(name, stream),
            _ => connector.connect(name, stream),
        };
        handshake
            .await
            .map_err(|error| Failure::Wrong(format!("TLS: {error}")))
    }
}

async fn config(verifies: bool) -> io::Result<Arc<ClientConfig>> {
    let make = move || {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match verifies {
            true => builder.with_native_roots()?.with_no_client_auth(),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth(),
        };
        Ok(Arc::new(config))
    };
    spawn_blocking(make).await.map_err(io::Error::other)?
}

/// The name that is asked for.
fn server_name(check: &HealthCheck, address: SocketAddr) -> ServerName<'static> {
    let host = check
        .host
        .as_deref()
        .map(|host| match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        });
    let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let name = check.sni.as_deref().or(host);
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    name.unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

// === impl Anyone ===

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
