//! Schemas of batches.

use utoipa::openapi::{RefOr, Schema};

use super::super::shape::{always, boolean, choice, list_of, resource, settable, text};
use crate::model::{BatchOp, OnFailure};

pub(super) fn batch() -> RefOr<Schema> {
    resource(
        "Operations that are executed together.",
        vec![
            settable(
                "on_failure",
                choice(&OnFailure::WORDS.map(|(word, _)| word)),
                "What to do when an operation fails: `rollback` undoes the others, `stop` executes no further \
                 ones, `continue` executes the others. Default: `rollback`.",
            ),
            always(
                "operations",
                list_of("BatchOperation")
                    .min_items(Some(1))
                    .max_items(Some(10_000)),
                "The operations in their order.",
            ),
        ],
    )
}

pub(super) fn operation() -> RefOr<Schema> {
    resource(
        "An operation of a batch. It has the meaning of the single request of the same name.",
        vec![
            always(
                "op",
                choice(&BatchOp::WORDS.map(|(word, _)| word)),
                "What to do.",
            ),
            settable(
                "service",
                text(),
                "Id of the service. Required, unless the value of `create_service` names it.",
            ),
            settable(
                "server",
                text(),
                "Id of the server. Required for operations of a server, unless the value of `create_server` \
                 names it.",
            ),
            settable(
                "value",
                "BatchValue",
                "The resource. Required, except for deletions.",
            ),
            settable(
                "etag",
                text(),
                "Precondition: the resource has this ETag before the operation; `*`: it exists. Not for \
                 creations. Default: none.",
            ),
            settable(
                "allow_missing",
                boolean(),
                "Whether an update creates what does not exist, and a deletion accepts that it does not exist. \
                 For updates and deletions only. Default: false.",
            ),
            settable(
                "update_mask",
                text().examples(["weight,tunnel.port"]),
                "Paths of the fields to change, separated by commas; those that `value` does not have are \
                 reset to their defaults, and `*` stands for all. For updates only. Default: the fields of \
                 `value`.",
            ),
        ],
    )
}

pub(super) fn value() -> RefOr<Schema> {
    resource(
        "The resource of an operation: one of both.",
        vec![
            settable(
                "service",
                "Service",
                "A service. It is created with its servers; when it is replaced, they replace its servers.",
            ),
            settable("server", "Server", "A server."),
        ],
    )
}
