//! Reads the keys of an issuer: from a file, or from a URL.

use std::{
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tokio::{task::spawn_blocking, time::timeout};

use super::super::input_file::{self, FileStamp, UnsafeFile};
use crate::identity::jwt::{KeyLocation, KeySet, KeySetError, KeyUrl, MAX_KEY_SET_BYTES};

/// Media types of a key set.
const ACCEPT: &str = "application/jwk-set+json, application/json";

/// Why keys cannot be read.
#[derive(Debug, Error)]
pub enum FetchError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// Other users can change a file.
    #[error(transparent)]
    Unsafe(UnsafeFile),
    /// A file with certificates is unusable.
    #[error("cannot use the certificates in {}: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system has no certificates of authorities.
    #[error("this system has no certificates of authorities; set ca: {0}")]
    NoRoots(io::Error),
    /// The server cannot be reached, or its certificate is not accepted.
    #[error("{0}")]
    Request(String),
    /// The response has another status than 200. Redirects are not followed.
    #[error("the response has status {0}")]
    Status(StatusCode),
    /// The response is not complete in time.
    #[error("no complete response within {0:?}")]
    Timeout(Duration),
    /// The text has no usable keys.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The runtime ends.
    #[error("the daemon ends")]
    Ends,
}

/// What was read.
pub(super) enum Read {
    /// The file is the one that is known.
    Unchanged,
    /// The text of a key set; of a file, with its stamp.
    Text {
        text: Vec<u8>,
        stamp: Option<FileStamp>,
    },
}

/// Checks what can be checked without the network: the file, or the certificates for a URL.
pub fn check(location: &KeyLocation) -> Result<(), FetchError> {
    match location {
        KeyLocation::File(path) => KeySet::parse(&read_keys(path)?.0).map(drop)?,
        KeyLocation::Url { ca, .. } => drop(ca.as_deref().map(roots).transpose()?),
    }
    Ok(())
}

/// Reads the text of the keys, unless it is a file with the stamp `known`.
pub(super) async fn fetch(
    location: &KeyLocation,
    known: Option<FileStamp>,
    limit: Duration,
) -> Result<Read, FetchError> {
    match location {
        KeyLocation::File(path) => {
            let path = path.clone();
            let read = spawn_blocking(move || read_changed(&path, known));
            read.await.map_err(|_| FetchError::Ends)?
        }
        KeyLocation::Url { url, ca } => {
            let text = timeout(limit, download(url, ca.as_deref())).await;
            let text = text.map_err(|_| FetchError::Timeout(limit))??;
            Ok(Read::Text { text, stamp: None })
        }
    }
}

// === Files ===

/// The text of a file, unless it is that of `known`.
fn read_changed(path: &Path, known: Option<FileStamp>) -> Result<Read, FetchError> {
    if known.is_some() && FileStamp::at(path) == known {
        return Ok(Read::Unchanged);
    }
    let (text, file) = read_keys(path)?;
    let stamp = Some(FileStamp::of(&file));
    Ok(Read::Text { text, stamp })
}

/// The text of a key set.
fn read_keys(path: &Path) -> Result<(Vec<u8>, Metadata), FetchError> {
    read(path).map_err(|error| match error {
        FetchError::File { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
            KeySetError::TooLong.into()
        }
        error => error,
    })
}

/// A file that no other user can change: it decides who is let in.
fn read(path: &Path) -> Result<(Vec<u8>, Metadata), FetchError> {
    let read = input_file::read(path, MAX_KEY_SET_BYTES as u64);
    let (bytes, file) = read.map_err(|source| FetchError::File {
        path: path.to_owned(),
        source,
    })?;
    input_file::check_writers(path, &file).map_err(FetchError::Unsafe)?;
    Ok((bytes, file))
}

// === URLs ===

async fn download(url: &KeyUrl, ca: Option<&Path>) -> Result<Vec<u8>, FetchError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    if !url.is_encrypted() {
        return request(connector, url).await;
    }
    // Read for each request, in the background: the files may have been replaced, and the certificates
    // of the system occupy a megabyte.
    let ca = ca.map(Path::to_owned);
    let tls = spawn_blocking(move || tls_config(ca.as_deref()));
    let tls = tls.await.map_err(|_| FetchError::Ends)??;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    request(connector, url).await
}

async fn request<C>(connector: C, url: &KeyUrl) -> Result<Vec<u8>, FetchError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, Empty<Bytes>>(connector);
    let request = Request::get(url.uri().clone())
        .header(header::ACCEPT, ACCEPT)
        .body(Empty::new())
        .map_err(|error| FetchError::Request(causes(&error)))?;
    let response = client.request(request).await;
    let response = response.map_err(|error| FetchError::Request(causes(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_KEY_SET_BYTES);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(KeySetError::TooLong.into()),
        Err(error) => Err(FetchError::Request(causes(&*error))),
    }
}

/// An error and its causes, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The TLS of a client that trusts the authorities in a file, or those of the system.
pub(in crate::server) fn tls_config(ca: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Request(causes(&error)))?;
    let builder = match ca {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_native_roots().map_err(FetchError::NoRoots)?,
    };
    Ok(builder.with_no_client_auth())
}

/// The certificates in a file.
fn roots(path: &Path) -> Result<RootCertStore, FetchError> {
    let unusable = |reason: String| FetchError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let (text, _) = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(causes(&error)))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(causes(&error)))?;
    }
    match roots.is_empty() {
        true => Err(unusable("it has none".to_owned())),
        false => Ok(roots),
    }
}
