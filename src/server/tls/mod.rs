//! TLS of the listeners: certificates and their reload, handshakes, and the identity of clients with a
//! certificate.

mod client_certificate;
mod context;
mod error;
mod files;
mod handle;
mod handshake;
mod issue;
mod settings;
mod subject;
mod validity;

use std::time::SystemTime;

pub use error::{TlsError, TlsErrors, TlsProblem};
pub use handle::Tls;
pub(super) use handshake::{TlsClient, accept};
pub use issue::{CertOptions, IssueError, issue};
pub use settings::{ClientCertificates, TlsConfig};

/// Reads the files of the settings, and returns what should be changed although it is no fault. Blocks.
pub fn check_files(config: &TlsConfig) -> Result<Vec<String>, TlsErrors> {
    let context = context::TlsContext::load(config)?;
    Ok(context.warnings(SystemTime::now(), config.expiry_warning))
}
