//! Query parameters that several resources share.

use super::{
    query::query,
    values::{ServerInclude, ServiceInclude},
};
use crate::model::Include;

query! {
    /// Query parameters of a read of one service.
    ServiceIncludeQuery {
        /// Parts to include beside the configuration. Default: `servers`.
        include: ServiceInclude = ["servers", "stats", "rates"],
    }
}

query! {
    /// Query parameters of a read of one server.
    ServerIncludeQuery {
        /// Parts to include beside the configuration. Default: `none`.
        include: ServerInclude = ["stats", "rates"],
    }
}

query! {
    /// Query parameters of a deletion.
    DeleteQuery {
        /// If true, the request succeeds when the resource does not exist. Default: false.
        allow_missing: bool,
    }
}

impl ServiceIncludeQuery {
    /// The parts to include.
    pub(super) fn include(self) -> Include {
        self.include
            .map_or_else(Include::default, |ServiceInclude(include)| include)
    }
}

impl ServerIncludeQuery {
    /// The parts to include.
    pub(super) fn include(self) -> Include {
        self.include
            .map_or_else(Include::default, |ServerInclude(include)| include)
    }
}

impl DeleteQuery {
    /// Whether the resource may be missing.
    pub(super) fn allow_missing(&self) -> bool {
        self.allow_missing.unwrap_or_default()
    }
}
