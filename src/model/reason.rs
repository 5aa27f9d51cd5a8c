//! Reasons: the machine-readable kinds of errors.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $title:literal;)+) => {
        /// The kind of an error. It determines the HTTP and the gRPC status. [`Reason::as_str`] is
        /// the stable name that clients match on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$reason),+];

            /// The stable name: `reason` in problem+json and in `google.rpc.ErrorInfo`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// A short summary: `title` in problem+json.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$reason => $title,)+
                }
            }
        }
    };
}

reasons! {
    /// A field is missing or out of range, or contradicts another.
    InvalidArgument = "INVALID_ARGUMENT", "Invalid argument";
    /// The request carries no valid credentials.
    Unauthenticated = "UNAUTHENTICATED", "Authentication required";
    /// The principal has insufficient permissions.
    PermissionDenied = "PERMISSION_DENIED", "Insufficient permissions";
    /// The request names a host that is not the daemon's, or comes from a page of another site.
    CrossSite = "CROSS_SITE", "Foreign host or site";
    /// The API has no such HTTP path or gRPC method.
    NotFound = "NOT_FOUND", "Not found";
    /// The path does not support the HTTP method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", "Method not allowed";
    /// The request does not accept the media type of the body.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type";
    /// The virtual service does not exist.
    ServiceNotFound = "SERVICE_NOT_FOUND", "Virtual service not found";
    /// The virtual service has no such real server.
    ServerNotFound = "SERVER_NOT_FOUND", "Real server not found";
    /// No sync daemon of this role is running.
    SyncDaemonNotRunning = "SYNC_DAEMON_NOT_RUNNING", "Sync daemon not running";
    /// The virtual service already exists.
    ServiceExists = "SERVICE_EXISTS", "Virtual service already exists";
    /// The virtual service already has this real server.
    ServerExists = "SERVER_EXISTS", "Real server already exists";
    /// A sync daemon of this role is already running.
    SyncDaemonRunning = "SYNC_DAEMON_RUNNING", "Sync daemon already running";
    /// The precondition of the request does not hold.
    RevisionMismatch = "REVISION_MISMATCH", "Precondition failed";
    /// The number that confirms a deletion is not the number of resources that it would delete.
    ConfirmMismatch = "CONFIRM_MISMATCH", "Confirmation does not match";
    /// No table of this owner is declared.
    TableNotFound = "TABLE_NOT_FOUND", "Table not found";
    /// There is no drain with this id.
    DrainNotFound = "DRAIN_NOT_FOUND", "Drain not found";
    /// There is no ramp with this id.
    RampNotFound = "RAMP_NOT_FOUND", "Ramp not found";
    /// The service has no health check.
    HealthCheckNotFound = "HEALTH_CHECK_NOT_FOUND", "Health check not found";
    /// The servers of the service are checked by the daemon.
    HealthCheckNotExternal = "HEALTH_CHECK_NOT_EXTERNAL", "Health check is not external";
    /// The service belongs to the table of another owner, or to none.
    ServiceOwned = "SERVICE_OWNED", "Virtual service owned by another";
    /// The timeouts or the sync daemons belong to the table of another owner.
    ResourceOwned = "RESOURCE_OWNED", "Timeouts or sync daemons owned by another";
    /// The table would delete more than the request permits.
    TooManyDeletes = "TOO_MANY_DELETES", "Too many deletions";
    /// The operations of the table are others than those that were expected.
    PlanChanged = "PLAN_CHANGED", "Plan has changed";
    /// An operation of the table or of the batch failed.
    ApplyFailed = "APPLY_FAILED", "Not applied as a whole";
    /// The first request with the idempotency key is in progress.
    IdempotencyInProgress = "IDEMPOTENCY_IN_PROGRESS", "Request in progress";
    /// Another request was sent with the idempotency key.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", "Idempotency key reused";
    /// The kernel has no such scheduler.
    SchedulerUnavailable = "SCHEDULER_UNAVAILABLE", "Scheduler not available";
    /// The kernel has no such persistence engine.
    PersistenceEngineUnavailable = "PERSISTENCE_ENGINE_UNAVAILABLE", "Persistence engine not available";
    /// The kernel does not support the operation.
    UnsupportedByKernel = "UNSUPPORTED_BY_KERNEL", "Not supported by the kernel";
    /// The kernel does not allow sync daemons together with real servers of another address family
    /// than their service.
    SyncDaemonConflict = "SYNC_DAEMON_CONFLICT", "Conflict of sync daemon and mixed address families";
    /// The request is larger than allowed.
    TooLarge = "TOO_LARGE", "Request too large";
    /// The request queue is full.
    RateLimited = "RATE_LIMITED", "Too many requests";
    /// The kernel has no IPVS, or the daemon has no permission to manage it.
    KernelUnavailable = "KERNEL_UNAVAILABLE", "IPVS not available";
    /// The stored state cannot be read or written. Nothing was changed.
    StoreUnavailable = "STORE_UNAVAILABLE", "Stored state not available";
    /// The deadline expired before the operation completed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", "Deadline exceeded";
    /// An internal error of the daemon or of the kernel.
    Internal = "INTERNAL", "Internal error";
}

// === impl Reason ===

impl Reason {
    /// The reason of that [`name`](Self::as_str); `None` if this version does not know it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
