//! Field masks: which fields of a resource an update changes.

use std::collections::BTreeSet;

use super::{
    Error, Field, HealthCheckDraft, LabelsDraft, PersistenceDraft, ServerDraft, ServiceDraft,
    TunnelDraft, Violation,
};

/// The fields that a request sets or resets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// Present fields are set.
    #[default]
    Present,
    /// All fields: present ones are set, absent ones are reset to their defaults.
    All,
    /// These fields: present ones are set, absent ones are reset to their defaults.
    Only(BTreeSet<String>),
}

// === impl Mask ===

impl Mask {
    /// Parses the paths of a mask. They must be in `known`. No path counts as an absent mask. `field` is the
    /// name of the path at an index, for the error.
    pub fn parse(
        paths: Vec<String>,
        known: &[&str],
        field: impl Fn(usize) -> String,
    ) -> Result<Self, Error> {
        let unknown: Vec<_> = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| *path != "*" && !known.contains(&path.as_str()))
            .map(|(i, path)| {
                let allowed = known.join(", ");
                Violation::new(
                    field(i),
                    format!("unknown field {path:?}; must be one of {allowed}, or * for all"),
                )
            })
            .collect();
        if !unknown.is_empty() {
            return Err(Error::from_violations(unknown));
        }
        Ok(match paths.iter().any(|path| path == "*") {
            _ if paths.is_empty() => Self::Present,
            true => Self::All,
            false => Self::Only(paths.into_iter().collect()),
        })
    }

    /// Whether the mask contains a field.
    pub fn names(&self, field: &str) -> bool {
        match self {
            Self::Present => false,
            Self::All => true,
            Self::Only(paths) => paths.contains(field),
        }
    }

    /// The change of a field with this value in the request.
    pub fn field<T>(&self, name: &str, value: impl Into<Field<T>>) -> Field<T> {
        let value = value.into();
        match self {
            Self::Present => value,
            _ if self.names(name) => value.or_clear(),
            _ => Field::Keep,
        }
    }

    /// The change of a field with fields of its own. A path to it contains all of them, a path below it only
    /// the named one.
    fn nested<T: Default>(
        &self,
        name: &str,
        value: Field<T>,
        masked: impl FnOnce(T, &Self) -> T,
    ) -> Field<T> {
        let Self::Only(paths) = self else {
            return match self.field(name, value) {
                Field::Set(value) => Field::Set(masked(value, self)),
                field => field,
            };
        };
        if paths.contains(name) {
            return match value {
                Field::Set(value) => Field::Set(masked(value, &Self::All)),
                Field::Keep | Field::Clear => Field::Clear,
            };
        }
        let below: BTreeSet<_> = paths
            .iter()
            .filter_map(|path| path.strip_prefix(name)?.strip_prefix('.'))
            .map(str::to_owned)
            .collect();
        if below.is_empty() {
            return Field::Keep;
        }
        let value = match value {
            Field::Set(value) => value,
            Field::Keep | Field::Clear => T::default(),
        };
        Field::Set(masked(value, &Self::Only(below)))
    }
}

// === impl ServiceDraft ===

impl ServiceDraft {
    /// Fields that a mask can name. Identifying and read-only fields are included, so that a client can name
    /// all fields of a response.
    pub const FIELDS: [&str; 50] = [
        "id",
        "protocol",
        "address",
        "port",
        "fwmark",
        "family",
        "scheduler",
        "scheduler_flags",
        "one_packet",
        "persistence",
        "persistence.timeout_seconds",
        "persistence.netmask",
        "netmask",
        "persistence_engine",
        "servers",
        "server_count",
        "stats",
        "rates",
        "etag",
        "owner",
        "labels",
        "health_check",
        "health_check.type",
        "health_check.interval_seconds",
        "health_check.timeout_seconds",
        "health_check.rise",
        "health_check.fall",
        "health_check.port",
        "health_check.path",
        "health_check.host",
        "health_check.method",
        "health_check.expect_status",
        "health_check.expect_body",
        "health_check.tls_verify",
        "health_check.sni",
        "health_check.source_address",
        "health_check.fwmark",
        "health_check.down_action",
        "health_check.min_healthy",
        "health_check.below_min",
        "health_check.max_losses",
        "health_check.grpc_service",
        "health_check.tls",
        "health_check.query_name",
        "health_check.query_type",
        "health_check.expect_rcode",
        "health_check.transport",
        "health_check.expire_seconds",
        "health_check.fallback_servers",
        "health_check.servers",
    ];

    /// The same draft with what a mask makes of its fields.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        self.scheduler = mask.field("scheduler", self.scheduler);
        self.scheduler_flags = mask.field("scheduler_flags", self.scheduler_flags);
        self.one_packet = mask.field("one_packet", self.one_packet);
        self.persistence = mask.nested("persistence", self.persistence, PersistenceDraft::masked);
        self.netmask = match (mask, self.netmask) {
            // `persistence` has the netmask of a persistent service. Without persistence, the mask "*" has
            // reset the netmask already.
            (Mask::All, Field::Keep) => Field::Keep,
            (mask, netmask) => mask.field("netmask", netmask),
        };
        self.persistence_engine = mask.field("persistence_engine", self.persistence_engine);
        self.labels = match mask.field("labels", self.labels) {
            // Label keys are no paths: a mask that names the labels names all of them.
            Field::Set(draft) => Field::Set(LabelsDraft {
                is_whole: mask.names("labels"),
                ..draft
            }),
            labels => labels,
        };
        let check = |draft: Box<HealthCheckDraft>, mask: &Mask| Box::new(draft.masked(mask));
        self.health_check = mask.nested("health_check", self.health_check, check);
        if let Mask::Only(_) = mask {
            let servers = self.servers.unwrap_or_default();
            self.servers = mask.names("servers").then_some(servers);
        }
        self
    }
}

// === impl HealthCheckDraft ===

impl HealthCheckDraft {
    /// The same draft with what a mask makes of its fields.
    fn masked(self, mask: &Mask) -> Self {
        Self {
            kind: mask.field("type", self.kind),
            interval_seconds: mask.field("interval_seconds", self.interval_seconds),
            timeout_seconds: mask.field("timeout_seconds", self.timeout_seconds),
            rise: mask.field("rise", self.rise),
            fall: mask.field("fall", self.fall),
            port: mask.field("port", self.port),
            path: mask.field("path", self.path),
            host: mask.field("host", self.host),
            method: mask.field("method", self.method),
            expect_status: mask.field("expect_status", self.expect_status),
            expect_body: mask.field("expect_body", self.expect_body),
            tls_verify: mask.field("tls_verify", self.tls_verify),
            sni: mask.field("sni", self.sni),
            source_address: mask.field("source_address", self.source_address),
            fwmark: mask.field("fwmark", self.fwmark),
            down_action: mask.field("down_action", self.down_action),
            min_healthy: mask.field("min_healthy", self.min_healthy),
            below_min: mask.field("below_min", self.below_min),
            max_losses: mask.field("max_losses", self.max_losses),
            grpc_service: mask.field("grpc_service", self.grpc_service),
            tls: mask.field("tls", self.tls),
            query_name: mask.field("query_name", self.query_name),
            query_type: mask.field("query_type", self.query_type),
            expect_rcode: mask.field("expect_rcode", self.expect_rcode),
            transport: mask.field("transport", self.transport),
            expire_seconds: mask.field("expire_seconds", self.expire_seconds),
            fallback_servers: mask.field("fallback_servers", self.fallback_servers),
            servers: mask.field("servers", self.servers),
        }
    }
}

// === impl PersistenceDraft ===

impl PersistenceDraft {
    fn masked(self, mask: &Mask) -> Self {
        Self {
            timeout_seconds: mask.field("timeout_seconds", self.timeout_seconds),
            netmask: mask.field("netmask", self.netmask),
        }
    }
}

// === impl ServerDraft ===

impl ServerDraft {
    /// As [`ServiceDraft::FIELDS`].
    pub const FIELDS: [&str; 20] = [
        "id",
        "address",
        "port",
        "forwarding",
        "weight",
        "upper_threshold",
        "lower_threshold",
        "tunnel",
        "tunnel.type",
        "tunnel.port",
        "tunnel.checksum",
        "active_connections",
        "inactive_connections",
        "persistent_connections",
        "stats",
        "rates",
        "etag",
        "effective_weight",
        "holds",
        "membership",
    ];

    /// The same draft with what a mask makes of its fields.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        self.forwarding = mask.field("forwarding", self.forwarding);
        self.weight = mask.field("weight", self.weight);
        self.upper_threshold = mask.field("upper_threshold", self.upper_threshold);
        self.lower_threshold = mask.field("lower_threshold", self.lower_threshold);
        let tunnel = |draft: Box<TunnelDraft>, mask: &Mask| Box::new(draft.masked(mask));
        self.tunnel = mask.nested("tunnel", self.tunnel, tunnel);
        self
    }
}

// === impl TunnelDraft ===

impl TunnelDraft {
    fn masked(self, mask: &Mask) -> Self {
        Self {
            kind: mask.field("type", self.kind),
            port: mask.field("port", self.port),
            checksum: mask.field("checksum", self.checksum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["weight", "tunnel", "tunnel.port"];

    fn mask(paths: &[&str]) -> Result<Mask, Error> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Mask::parse(paths, &KNOWN, |index| format!("update_mask.paths[{index}]"))
    }

    #[test]
    fn without_a_mask_present_fields_are_set() {
        let none = mask(&[]).unwrap();
        assert_eq!(none.field("weight", Some(0)), Field::Set(0));
        assert_eq!(none.field::<i64>("weight", None), Field::Keep);
    }

    #[test]
    fn an_absent_field_in_the_mask_is_cleared() {
        let only = mask(&["weight"]).unwrap();
        assert_eq!(only.field::<i64>("weight", None), Field::Clear);
        assert_eq!(only.field("weight", Some(0)), Field::Set(0));
        assert_eq!(only.field("tunnel", Some(1)), Field::Keep);
        assert_eq!(
            mask(&["*"]).unwrap().field::<i64>("weight", None),
            Field::Clear
        );
    }

    #[test]
    fn unknown_paths_are_rejected() {
        let error = mask(&["weight", "wieght", "tunnel.typ"]).unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["update_mask.paths[1]", "update_mask.paths[2]"]);
        assert!(error.detail.contains("\"wieght\""), "{error}");
        assert!(error.detail.contains("tunnel.port"), "{error}");
    }

    #[test]
    fn a_path_can_name_a_message_or_one_of_its_fields() {
        let port = |value: Option<Option<i64>>, mask: &Mask| {
            let value = value.map(Field::from);
            mask.nested("tunnel", value.into(), |port, mask| {
                mask.field("port", port)
            })
        };
        let all = mask(&["tunnel"]).unwrap();
        assert_eq!(port(None, &all), Field::Clear);
        assert_eq!(port(Some(None), &all), Field::Set(Field::Clear));
        let one = mask(&["tunnel.port"]).unwrap();
        assert_eq!(port(None, &one), Field::Set(Field::Clear));
        assert_eq!(port(Some(Some(7)), &one), Field::Set(Field::Set(7)));
        let other = mask(&["weight"]).unwrap();
        assert_eq!(port(Some(Some(7)), &other), Field::Keep);
        assert_eq!(port(Some(None), &Mask::Present), Field::Set(Field::Keep));
        assert_eq!(port(None, &Mask::Present), Field::Keep);
    }
}
