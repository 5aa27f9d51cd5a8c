//! Entity tags of responses.
//!
//! The tag of a resource has two parts, `"CONFIGURATION.REPRESENTATION"`. Reads compare the whole
//! tag, so that a 304 is never stale. Writes compare the configuration only: the counters of a busy
//! server change all the time, and would fail every conditional write. Lists, reports and texts have
//! no configuration to compare; their tag is the representation. The tag of a compressed response
//! ends with [`COMPRESSED`].

use std::hash::{Hash, Hasher};

use http::HeaderValue;

use crate::model::{
    Error, Etag, Fingerprint, Include, Kept, Rates, Reason, Server, Service, ServiceEntry, Stats,
    fingerprint,
};

/// End of the entity tag of a compressed response: a representation of its own.
pub(super) const COMPRESSED: &str = "-gzip";

/// Bytes of the longest tag, without the end of [`COMPRESSED`].
const MAX_TEXT: usize = 35;

/// The entity tag of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    configuration: Option<Etag>,
    representation: u64,
}

// === impl Tag ===

impl Tag {
    /// The tag of a response, from its body.
    pub(super) fn of_bytes(configuration: Option<Etag>, representation: &[u8]) -> Self {
        Self::of(configuration, |hasher| representation.hash(hasher))
    }

    /// The tag of a list, from its items. This is cheaper than encoding the list.
    pub(super) fn of_list(hash: impl FnOnce(&mut Fingerprint)) -> Self {
        Self::of(None, hash)
    }

    /// The tag of a list whose items have been hashed.
    pub(super) fn of_hashed(hasher: &Fingerprint) -> Self {
        Self {
            configuration: None,
            representation: hasher.finish(),
        }
    }

    fn of(configuration: Option<Etag>, hash: impl FnOnce(&mut Fingerprint)) -> Self {
        let mut hasher = fingerprint();
        hash(&mut hasher);
        Self {
            configuration,
            representation: hasher.finish(),
        }
    }

    /// The tag without quotes.
    pub(super) fn text(self) -> String {
        let mut text = String::with_capacity(MAX_TEXT);
        if let Some(etag) = self.configuration {
            text += std::str::from_utf8(&etag.text()).unwrap_or_default();
            text.push('.');
        }
        // Without `fmt`: every read has one.
        for nibble in (0..16).rev() {
            let digit = (self.representation >> (4 * nibble)) & 0xf;
            text.push(char::from_digit(digit as u32, 16).unwrap_or('0'));
        }
        text
    }

    /// The value of the header `ETag`.
    pub(super) fn header(self) -> Result<HeaderValue, Error> {
        self.header_of("")
    }

    /// The value of the header `ETag`, for the representation with this suffix.
    pub(super) fn header_of(self, suffix: &str) -> Result<HeaderValue, Error> {
        HeaderValue::try_from(["\"", &self.text(), suffix, "\""].concat())
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))
    }
}

/// Hashes the representation of a service in a list. `etag` covers the configuration.
pub(super) fn hash_service(
    entry: &ServiceEntry,
    etag: Etag,
    include: Include,
    hasher: &mut Fingerprint,
) {
    let ServiceEntry { service, servers } = entry;
    let Service {
        key: _,
        config: _,
        stats,
        rates,
        kept,
    } = service;
    (etag, Kept::owner(kept)).hash(hasher);
    hash_counters(stats, rates, include, hasher);
    if include.servers {
        servers.len().hash(hasher);
        for server in servers {
            hash_traffic(server, include, hasher);
        }
    }
}

/// Hashes the representation of a server in a list.
pub(super) fn hash_server(server: &Server, include: Include, hasher: &mut Fingerprint) {
    server.etag().hash(hasher);
    hash_traffic(server, include, hasher);
}

/// Hashes the representation of a server without its configuration.
fn hash_traffic(server: &Server, include: Include, hasher: &mut Fingerprint) {
    let Server {
        key: _,
        config: _,
        effective_weight,
        holds,
        membership,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
    } = server;
    (
        effective_weight,
        holds,
        membership,
        active_connections,
        inactive_connections,
        persistent_connections,
    )
        .hash(hasher);
    hash_counters(stats, rates, include, hasher);
}

fn hash_counters(stats: &Stats, rates: &Rates, include: Include, hasher: &mut Fingerprint) {
    if include.stats {
        stats.hash(hasher);
    }
    if include.rates {
        rates.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_list_covers_only_its_content() {
        let key = "192.0.2.1-80".parse().unwrap();
        let mut server = Server {
            key,
            config: crate::model::ServerConfig::default(),
            effective_weight: 1,
            holds: None,
            membership: None,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            rates: Rates::default(),
        };
        let tag = |server: &Server, stats| {
            let include = Include {
                stats,
                ..Include::default()
            };
            Tag::of_list(|hasher| hash_server(server, include, hasher))
        };
        let before = (tag(&server, false), tag(&server, true));
        server.stats.bytes_in = 1;
        assert_eq!(tag(&server, false), before.0);
        assert_ne!(tag(&server, true), before.1);
        server.active_connections = 1;
        assert_ne!(tag(&server, false), before.0);
    }
}
