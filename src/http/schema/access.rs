//! Schemas of principals and permissions.

use utoipa::openapi::{RefOr, Schema};

use super::super::shape::{always, boolean, choice, list_of, optional, response, text};
use crate::identity::Role;

pub(super) fn principal() -> RefOr<Schema> {
    response(
        "On whose behalf a request runs, and what it may do.",
        vec![
            always("name", text(), "Name, in the policy or in the credential."),
            always(
                "kind",
                choice(&["token", "certificate", "jwt", "unix", "anonymous", "system"]),
                "How it was recognised. `anonymous` has no credential; `system` is the daemon itself.",
            ),
            optional(
                "role",
                choice(&Role::ALL.map(Role::as_str)),
                "The role. Each may do what the ones before it may.",
            ),
            optional(
                "scope",
                list_of("ScopeRule"),
                "The services that the role is valid for: those that any of the rules selects. Absent: \
                 everything; empty: nothing.",
            ),
            optional(
                "scope_reads",
                boolean(),
                "Whether the scope applies to reads, too. Absent: false.",
            ),
        ],
    )
}

pub(super) fn scope_rule() -> RefOr<Schema> {
    response(
        "Selects services. All fields that are present must match.",
        vec![
            optional(
                "address",
                text().examples(["192.0.2.0/24"]),
                "Network that contains the virtual address.",
            ),
            optional(
                "ports",
                text().examples(["80-443"]),
                "Port or range of ports. 0 is the service on any port.",
            ),
            optional("protocol", choice(&["tcp", "udp", "sctp"]), "Protocol."),
            optional(
                "fwmark",
                text().examples(["100-199"]),
                "Firewall mark or range of marks.",
            ),
            optional(
                "owner",
                text(),
                "Owner of a declared table. Nothing has an owner yet: such a rule selects nothing.",
            ),
        ],
    )
}

pub(super) fn permission() -> RefOr<Schema> {
    response(
        "Whether something is permitted.",
        vec![
            always("allowed", boolean(), "Whether it is permitted."),
            optional("reason", text(), "Why it is not."),
        ],
    )
}
