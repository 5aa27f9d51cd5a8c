//! Batches of operations in requests.

use serde::Deserialize;

use super::{OnFailure, ServerDraft, ServiceDraft, object, word::words};

/// Operations that are executed together, in their order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchDraft {
    /// What to do when an operation fails. Default: undo the others.
    pub on_failure: Option<OnFailure>,
    /// The operations, 1 to 10,000. Required.
    #[serde(default, deserialize_with = "object::list")]
    pub operations: Option<Vec<OperationDraft>>,
}

/// An operation of a batch. It has the meaning of the single request of the same name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationDraft {
    /// What to do. Required.
    pub op: Option<BatchOp>,
    /// Id of the service. Required, unless `value.service` of `create_service` names it.
    pub service: Option<String>,
    /// Id of the server. Required for operations of a server, unless `value.server` of `create_server` names
    /// it.
    pub server: Option<String>,
    /// The resource. Required, except for deletions.
    #[serde(default, deserialize_with = "object::option")]
    pub value: Option<ValueDraft>,
    /// Precondition: the resource has this ETag before the operation; `*`: it exists. Not for creations.
    pub etag: Option<String>,
    /// Whether an update creates what does not exist, and a deletion accepts that it does not exist. Default
    /// false. For updates and deletions only.
    pub allow_missing: Option<bool>,
    /// Paths of the fields that an update changes, separated by commas: those that `value` does not have are
    /// reset to their defaults. Default: the fields of `value`. For updates only.
    pub update_mask: Option<String>,
}

/// The resource of an operation: one of both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueDraft {
    /// A service.
    #[serde(default, deserialize_with = "object::option")]
    pub service: Option<ServiceDraft>,
    /// A server.
    #[serde(default, deserialize_with = "object::option")]
    pub server: Option<ServerDraft>,
}

words! {
    /// What an operation of a batch does.
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    BatchOp {
        /// Creates a service, with the servers of its value.
        CreateService = "create_service",
        /// Changes fields of a service.
        UpdateService = "update_service",
        /// Creates a service, or replaces it; with `servers`, also its servers.
        ReplaceService = "replace_service",
        /// Deletes a service with its servers.
        DeleteService = "delete_service",
        /// Creates a server.
        CreateServer = "create_server",
        /// Changes fields of a server.
        UpdateServer = "update_server",
        /// Creates a server, or replaces it.
        ReplaceServer = "replace_server",
        /// Deletes a server.
        DeleteServer = "delete_server",
    }
}

// === impl BatchOp ===

impl BatchOp {
    /// Whether it is about a server.
    pub fn is_of_server(self) -> bool {
        match self {
            Self::CreateServer | Self::UpdateServer | Self::ReplaceServer | Self::DeleteServer => {
                true
            }
            Self::CreateService
            | Self::UpdateService
            | Self::ReplaceService
            | Self::DeleteService => false,
        }
    }
}
