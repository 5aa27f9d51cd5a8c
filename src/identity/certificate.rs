//! What a TLS client certificate says about its holder.

/// The names in a client certificate that the daemon has verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The subject as text (RFC 4514).
    pub subject: String,
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// DNS names (RFC 5280, `subjectAltName`).
    pub dns: Vec<String>,
    /// URIs, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// SHA-256 of the certificate (DER).
    pub fingerprint: [u8; 32],
    /// When it ceases to be valid, in seconds since 1970-01-01T00:00:00Z.
    pub not_after: i64,
}
