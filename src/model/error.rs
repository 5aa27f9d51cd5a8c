//! The error of all layers, and the only one that clients see.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Reason;

/// A failed request: the reason, the fields at fault, the kernel's errno and the remedy.
///
/// Comparison ignores the [`cause`](Self::cause).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The kind of error.
    pub reason: Reason,
    /// What failed, in one sentence.
    pub detail: String,
    /// The kernel's errno, if the kernel rejected the request.
    pub errno: Option<Errno>,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// The remedy.
    pub hint: Option<String>,
    /// How far a restore came, if it has begun.
    pub progress: Option<Box<Progress>>,
    /// Seconds after which a retry can succeed, if they are known: see [`Error::retry_seconds`].
    pub retry_after: Option<u32>,
    /// The underlying error, for the log. Never sent to clients.
    #[source]
    pub cause: Option<Cause>,
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Path of the field, such as `persistence.netmask` or `servers[2].weight`.
    pub field: String,
    /// What is wrong with the field, and what is allowed.
    pub message: String,
}

/// How far a restore came that was interrupted, or in which the kernel rejected commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Commands of the restore.
    pub commands: usize,
    /// Commands that were executed.
    pub done: usize,
    /// Commands that the kernel rejected.
    pub refused: usize,
    /// Lines of the commands that were sent to the kernel and whose outcome is unknown.
    pub unknown_lines: Vec<usize>,
}

/// The error that caused an [`Error`].
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

/// Characters of one piece of input that an error repeats.
const MAX_ECHO: usize = 100;
/// Longest message in bytes.
const MAX_MESSAGE: usize = 1000;
/// Longest detail in bytes. It can be the list of the messages of all fields.
const MAX_DETAIL: usize = 4000;
/// Fields at fault that an error lists.
const MAX_VIOLATIONS: usize = 100;

/// An error number of the kernel. Displayed as its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// Both values, or the errors of both: fields at fault are reported together.
pub fn both<A, B>(a: Result<A, Error>, b: Result<B, Error>) -> Result<(A, B), Error> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(a.and(b)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

// === impl Error ===

impl Error {
    /// An error with a reason and a detail. Long words and quotations of the detail are shortened.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: shortened(detail.into(), MAX_DETAIL),
            errno: None,
            violations: Vec::new(),
            hint: None,
            progress: None,
            retry_after: None,
            cause: None,
        }
    }

    /// An invalid argument: one field and its message.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from_violations(vec![Violation::new(field, message)])
    }

    /// An invalid argument: several fields, of which the first 100 are kept. The detail is the list
    /// of their messages.
    pub fn from_violations(mut violations: Vec<Violation>) -> Self {
        let more = violations.len().saturating_sub(MAX_VIOLATIONS);
        violations.truncate(MAX_VIOLATIONS);
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
        let mut error = Self {
            violations,
            ..Self::new(Reason::InvalidArgument, detail)
        };
        if more > 0 {
            error.detail += &format!("; and {more} more");
        }
        error
    }

    /// Sets the kernel's errno.
    #[must_use]
    pub fn with_errno(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets how far the restore came.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Sets the time after which a retry can succeed, rounded up to seconds, at least one.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1));
        self
    }

    /// Seconds after which a client may retry. `None` if a retry alone does not help.
    pub fn retry_seconds(&self) -> Option<u32> {
        // A restore that has begun must not simply be repeated.
        if self.progress.is_some() {
            return None;
        }
        self.retry_after.or(match self.reason {
            // The queue is processed in less than a second.
            Reason::RateLimited => Some(1),
            // Most requests take less than a second.
            Reason::IdempotencyInProgress => Some(1),
            // An operator has to load a module or grant a capability.
            Reason::KernelUnavailable => Some(5),
            _ => None,
        })
    }

    /// Whether the kernel's reply contradicts what was read before: another program has created or
    /// deleted the object in between.
    pub fn contradicts_read(&self) -> bool {
        self.errno.is_some()
            && matches!(
                self.reason,
                Reason::ServiceNotFound
                    | Reason::ServerNotFound
                    | Reason::SyncDaemonNotRunning
                    | Reason::ServiceExists
                    | Reason::ServerExists
                    | Reason::SyncDaemonRunning
            )
    }

    /// Adds a field at fault.
    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.violations.push(Violation::new(field, message));
        self
    }

    /// Sets the underlying error, for the log. It becomes [`std::error::Error::source`] and is
    /// never sent to clients.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.cause = Some(Cause(source.into().into()));
        self
    }

    /// This error, with the fields at fault of another if both are about fields.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.reason != Reason::InvalidArgument || other.reason != Reason::InvalidArgument {
            return self;
        }
        let hint = self.hint.or(other.hint);
        let mut violations = self.violations;
        violations.extend(other.violations);
        Self {
            hint,
            ..Self::from_violations(violations)
        }
    }

    /// Prefixes all field paths with `path`, as in `servers[2].weight`. An error without a field
    /// gets `path` as its field.
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
            // The detail is the list of the fields: see `from_violations`.
            self.detail = Self::from_violations(self.violations.clone()).detail;
        }
        self
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            reason,
            detail,
            errno,
            violations,
            hint,
            progress,
            retry_after,
            cause: _,
        } = self;
        (
            reason,
            detail,
            errno,
            violations,
            hint,
            progress,
            retry_after,
        ) == (
            &other.reason,
            &other.detail,
            &other.errno,
            &other.violations,
            &other.hint,
            &other.progress,
            &other.retry_after,
        )
    }
}

impl Eq for Error {}

// === impl Violation ===

impl Violation {
    /// A field and what is wrong with it. Both may repeat input: long words and quotations are
    /// shortened.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: shortened(field.into(), MAX_ECHO),
            message: shortened(message.into(), MAX_MESSAGE),
        }
    }
}

/// The text with its words and quotations cut to [`MAX_ECHO`] characters, and as a whole to `max`
/// bytes, so that no error grows with the input that it repeats.
fn shortened(text: String, max: usize) -> String {
    if text.len() <= MAX_ECHO.min(max) {
        return text;
    }
    let mut short = String::with_capacity(text.len().min(max) + '…'.len_utf8());
    let (mut run, mut quote, mut escaped) = (0, None, false);
    for c in text.chars() {
        if short.len() + c.len_utf8() > max {
            short.push('…');
            break;
        }
        let ends = match quote {
            // ipvsadm quotes as in `word'.
            Some(open) => !escaped && (c == open || (open == '`' && c == '\'')),
            None => c.is_whitespace(),
        };
        escaped = c == '\\' && !escaped;
        if ends {
            (run, quote) = (0, None);
        } else if quote.is_none() && matches!(c, '"' | '`') {
            (run, quote) = (0, Some(c));
        } else {
            run += 1;
            if run == MAX_ECHO + 1 {
                short.push('…');
            }
            if run > MAX_ECHO {
                continue;
            }
        }
        short.push(c);
    }
    short
}

// === impl Cause ===

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

// === impl Errno ===

impl Errno {
    /// Operation not permitted: the caller lacks CAP_NET_ADMIN.
    pub const EPERM: Self = Self(1);
    /// No such scheduler, engine, real server, or netlink family.
    pub const ENOENT: Self = Self(2);
    /// No such virtual service, or no such sync daemon.
    pub const ESRCH: Self = Self(3);
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// The object already exists.
    pub const EEXIST: Self = Self(17);
    /// No such network interface.
    pub const ENODEV: Self = Self(19);
    /// An attribute is missing or invalid.
    pub const EINVAL: Self = Self(22);
    /// The machine has no free file descriptor.
    pub const ENFILE: Self = Self(23);
    /// The process has no free file descriptor.
    pub const EMFILE: Self = Self(24);
    /// A number is out of range.
    pub const ERANGE: Self = Self(34);
    /// The module is being unloaded.
    pub const ENOPROTOOPT: Self = Self(92);
    /// The command or its flags are unknown.
    pub const EOPNOTSUPP: Self = Self(95);
    /// The address family is not supported.
    pub const EAFNOSUPPORT: Self = Self(97);

    const NAMES: [(i32, &'static str); 32] = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (4, "EINTR"),
        (5, "EIO"),
        (7, "E2BIG"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (22, "EINVAL"),
        (23, "ENFILE"),
        (24, "EMFILE"),
        (30, "EROFS"),
        (33, "EDOM"),
        (34, "ERANGE"),
        (71, "EPROTO"),
        (75, "EOVERFLOW"),
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

/// Parses a name, or `errno N`.
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
            .ok_or_else(|| Error::invalid("", format!("{text:?} is not the name of an errno")))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
