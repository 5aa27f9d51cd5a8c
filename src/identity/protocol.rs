//! The protocol of a request.

/// The protocol by which a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP and JSON.
    Http,
    /// gRPC, gRPC-Web included.
    Grpc,
    /// None: the daemon itself.
    #[default]
    Internal,
}

// === impl Protocol ===

impl Protocol {
    /// `http`, `grpc` or `internal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Internal => "internal",
        }
    }
}
