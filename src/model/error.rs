//! The one error that every client sees, in whatever protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal: what was wrong, with which field, what the kernel answered, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// What kind of refusal; decides the HTTP and gRPC status.
    pub reason: Reason,
    /// One sentence for a person.
    pub detail: String,
    /// What the kernel answered, where it was asked.
    pub errno: Option<Errno>,
    /// The fields that are at fault.
    pub violations: Vec<Violation>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One field that is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Violation {
    /// Path of the field, such as `persistence.netmask` or `servers[2].weight`.
    #[schema(example = "persistence.netmask")]
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

/// The kinds of refusal. [`Reason::as_str`] is the stable name that clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field is missing, out of range, or contradicts another.
    InvalidArgument,
    /// Who the client is could not be told.
    Unauthenticated,
    /// The client may not do this.
    PermissionDenied,
    /// No such address in the API (HTTP path or gRPC method).
    NotFound,
    /// The path exists, but not with this HTTP method.
    MethodNotAllowed,
    /// The body is not of a type that this request takes.
    UnsupportedMediaType,
    /// There is no such virtual service.
    ServiceNotFound,
    /// The virtual service has no such real server.
    ServerNotFound,
    /// The sync daemon in question does not run.
    SyncDaemonNotRunning,
    /// There is such a virtual service already.
    ServiceExists,
    /// The virtual service has such a real server already.
    ServerExists,
    /// The sync daemon in question runs already.
    SyncDaemonRunning,
    /// The resource is not as the client's precondition says.
    RevisionMismatch,
    /// The kernel has no such scheduler.
    SchedulerUnavailable,
    /// The kernel has no such persistence engine.
    PersistenceEngineUnavailable,
    /// This kernel cannot do this at all.
    UnsupportedByKernel,
    /// A sync daemon and servers of another address family exclude each other.
    SyncDaemonConflict,
    /// The request is larger than the daemon takes.
    TooLarge,
    /// The daemon has as much to do as it takes on at a time.
    RateLimited,
    /// No IPVS in the kernel, or no permission to manage it.
    KernelUnavailable,
    /// The operation did not end in time.
    DeadlineExceeded,
    /// The daemon or the kernel misbehaved.
    Internal,
}

/// An error number of the kernel, shown by its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

// === impl Error ===

impl Error {
    /// An error with a reason and a sentence.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            errno: None,
            violations: Vec::new(),
            hint: None,
        }
    }

    /// One field is at fault; its message is the whole detail.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from_violations(vec![Violation::new(field, message)])
    }

    /// Several fields are at fault.
    pub fn from_violations(violations: Vec<Violation>) -> Self {
        let detail = violations
            .iter()
            .map(|v| {
                if v.field.is_empty() {
                    v.message.clone()
                } else {
                    format!("{}: {}", v.field, v.message)
                }
            })
            .collect::<Vec<_>>()
            .join("; ");
        Self {
            violations,
            ..Self::new(Reason::InvalidArgument, detail)
        }
    }

    /// The same error with what the kernel answered.
    #[must_use]
    pub fn with_errno(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with one more field at fault.
    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.violations.push(Violation::new(field, message));
        self
    }

    /// The same error with all its fields below `path`, as in `servers[2].weight`; one that names
    /// no field is at fault as a whole there.
    #[must_use]
    pub fn below(mut self, path: &str) -> Self {
        if self.violations.is_empty() {
            let message = self.detail.clone();
            return self.with_violation(path, message);
        }
        for violation in &mut self.violations {
            let dot = match violation.field.as_str() {
                "" => "",
                field if field.starts_with('[') => "",
                _ => ".",
            };
            violation.field = format!("{path}{dot}{}", violation.field);
        }
        if self.reason == Reason::InvalidArgument {
            // There the fields are the whole detail.
            self.detail = Self::from_violations(self.violations.clone()).detail;
        }
        self
    }
}

// === impl Violation ===

impl Violation {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

// === impl Reason ===

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 22] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::ServiceNotFound,
        Self::ServerNotFound,
        Self::SyncDaemonNotRunning,
        Self::ServiceExists,
        Self::ServerExists,
        Self::SyncDaemonRunning,
        Self::RevisionMismatch,
        Self::SchedulerUnavailable,
        Self::PersistenceEngineUnavailable,
        Self::UnsupportedByKernel,
        Self::SyncDaemonConflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::KernelUnavailable,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// The stable name: `reason` in problem+json and in `google.rpc.ErrorInfo`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::ServiceNotFound => "SERVICE_NOT_FOUND",
            Self::ServerNotFound => "SERVER_NOT_FOUND",
            Self::SyncDaemonNotRunning => "SYNC_DAEMON_NOT_RUNNING",
            Self::ServiceExists => "SERVICE_EXISTS",
            Self::ServerExists => "SERVER_EXISTS",
            Self::SyncDaemonRunning => "SYNC_DAEMON_RUNNING",
            Self::RevisionMismatch => "REVISION_MISMATCH",
            Self::SchedulerUnavailable => "SCHEDULER_UNAVAILABLE",
            Self::PersistenceEngineUnavailable => "PERSISTENCE_ENGINE_UNAVAILABLE",
            Self::UnsupportedByKernel => "UNSUPPORTED_BY_KERNEL",
            Self::SyncDaemonConflict => "SYNC_DAEMON_CONFLICT",
            Self::TooLarge => "TOO_LARGE",
            Self::RateLimited => "RATE_LIMITED",
            Self::KernelUnavailable => "KERNEL_UNAVAILABLE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The kind in words: `title` in problem+json.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidArgument => "Invalid argument",
            Self::Unauthenticated => "Unauthenticated",
            Self::PermissionDenied => "Permission denied",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::ServiceNotFound => "No such virtual service",
            Self::ServerNotFound => "No such real server",
            Self::SyncDaemonNotRunning => "The sync daemon does not run",
            Self::ServiceExists => "The virtual service exists already",
            Self::ServerExists => "The real server exists already",
            Self::SyncDaemonRunning => "The sync daemon runs already",
            Self::RevisionMismatch => "The resource has changed",
            Self::SchedulerUnavailable => "The kernel has no such scheduler",
            Self::PersistenceEngineUnavailable => "The kernel has no such persistence engine",
            Self::UnsupportedByKernel => "The kernel cannot do this",
            Self::SyncDaemonConflict => "Sync daemon and mixed address families exclude each other",
            Self::TooLarge => "Too large",
            Self::RateLimited => "Too much at a time",
            Self::KernelUnavailable => "IPVS is not available",
            Self::DeadlineExceeded => "Deadline exceeded",
            Self::Internal => "Internal error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Errno ===

impl Errno {
    /// Operation not permitted: CAP_NET_ADMIN is missing.
    pub const EPERM: Self = Self(1);
    /// No such scheduler, engine, real server, or netlink family.
    pub const ENOENT: Self = Self(2);
    /// No such virtual service, or no such sync daemon.
    pub const ESRCH: Self = Self(3);
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// It exists already.
    pub const EEXIST: Self = Self(17);
    /// No such network interface.
    pub const ENODEV: Self = Self(19);
    /// An attribute is missing or wrong.
    pub const EINVAL: Self = Self(22);
    /// A number is out of range.
    pub const ERANGE: Self = Self(34);
    /// The module is being unloaded.
    pub const ENOPROTOOPT: Self = Self(92);
    /// The command or its flags are unknown.
    pub const EOPNOTSUPP: Self = Self(95);
    /// The address family is not supported.
    pub const EAFNOSUPPORT: Self = Self(97);

    const NAMES: [(i32, &'static str); 26] = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (4, "EINTR"),
        (5, "EIO"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (22, "EINVAL"),
        (34, "ERANGE"),
        (71, "EPROTO"),
        (90, "EMSGSIZE"),
        (92, "ENOPROTOOPT"),
        (95, "EOPNOTSUPP"),
        (97, "EAFNOSUPPORT"),
        (98, "EADDRINUSE"),
        (99, "EADDRNOTAVAIL"),
        (100, "ENETDOWN"),
        (101, "ENETUNREACH"),
        (105, "ENOBUFS"),
        (110, "ETIMEDOUT"),
        (113, "EHOSTUNREACH"),
    ];
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// By its name, or `errno N`.
impl std::str::FromStr for Errno {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::NAMES.iter().find(|(_, name)| *name == text);
        let number = match known {
            Some((number, _)) => Some(*number),
            None => text
                .strip_prefix("errno ")
                .and_then(|text| text.parse().ok()),
        };
        number
            .map(Self)
            .ok_or_else(|| Error::invalid("", format!("{text:?} is not an error of the kernel")))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
