//! Hand-written encoding of real servers as protobuf messages. A list consists mostly of servers, and
//! making a message of each, with four strings, would take most of its time. A property test compares
//! the output with that of the generated messages byte by byte.

use prost::{Message, length_delimiter_len};

use super::{server_message, service_message};
use crate::{
    model::{
        AddressText, FixedBuffer, Include, Labels, Server, ServerView, Service, ServiceView,
        TunnelView,
    },
    proto::v1 as pb,
};

/// Appends encoded services.
#[derive(Debug)]
pub(super) struct ServiceEncoder {
    include: Include,
    /// Where a server is encoded before it is appended.
    buffer: Box<FixedBuffer<MAX_SERVER_BYTES>>,
}

/// Appends the fields of a message to a buffer.
struct Fields<'a>(&'a mut FixedBuffer<MAX_SERVER_BYTES>);

/// An upper bound of the length of an encoded server: 19 numbers of at most 12 bytes, two IPv6
/// addresses, names. A test encodes the longest server.
const MAX_SERVER_BYTES: usize = 512;

/// Wire types.
const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

/// The tag of the field `services` of a list, and of `servers` and `owner` of a service.
const SERVICES: u8 = 1 << 3 | LENGTH_DELIMITED as u8;
const SERVERS: u8 = 13 << 3 | LENGTH_DELIMITED as u8;
const OWNER: u32 = 24 << 3 | LENGTH_DELIMITED;

// === impl ServiceEncoder ===

impl ServiceEncoder {
    pub(super) fn new(include: Include) -> Self {
        Self {
            include,
            buffer: Box::default(),
        }
    }

    /// Appends a service as an element of `services`. Returns the length of its message.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        service: &Service,
        servers: &[Server],
    ) -> usize {
        out.push(SERVICES);
        let start = out.len();
        let mut view = ServiceView::of(service, servers, self.include);
        let owner = view.owner.take();
        let labels = view.labels.take();
        let check = view.health_check.take().flatten();
        let (head, tail) = halves(service_message::without_servers(&view));
        head.encode_raw(out);
        if self.include.servers {
            for server in servers {
                self.server(out, server);
            }
        }
        tail.encode_raw(out);
        // The last fields, the first of them without a copy for the message.
        if let Some(owner) = owner {
            delimit(out, OWNER as usize);
            delimit(out, owner.len());
            out.extend_from_slice(owner.as_bytes());
        }
        if labels.is_some() || check.is_some() {
            let stored = pb::Service {
                labels: labels.map(Labels::to_map).unwrap_or_default(),
                health_check: check.map(pb::HealthCheck::from),
                ..pb::Service::default()
            };
            stored.encode_raw(out);
        }
        let length = out.len() - start;
        // The length precedes the message, but is known only now.
        let mut delimiter = Vec::with_capacity(length_delimiter_len(length));
        delimit(&mut delimiter, length);
        out.splice(start..start, delimiter);
        length
    }

    fn server(&mut self, out: &mut Vec<u8>, server: &Server) {
        // Few servers have holds, and there may be any number of them.
        let is_usual = server.holds.is_none();
        self.buffer.clear();
        if is_usual {
            Fields(&mut self.buffer).server(server, self.include);
        }
        let encoded = self.buffer.written();
        debug_assert!(encoded.is_some(), "MAX_SERVER_BYTES is too small");
        match encoded.filter(|_| is_usual) {
            Some(bytes) => {
                out.push(SERVERS);
                delimit(out, bytes.len());
                out.extend_from_slice(bytes);
            }
            None => {
                let message = server_message::message(ServerView::new(server, self.include));
                out.push(SERVERS);
                delimit(out, message.encoded_len());
                message.encode_raw(out);
            }
        }
    }
}

/// The fields of a service before its servers, and those after them.
fn halves(service: pb::Service) -> (pb::Service, pb::Service) {
    let pb::Service {
        server_count,
        stats,
        rates,
        etag,
        ..
    } = service;
    let tail = pb::Service {
        server_count,
        stats,
        rates,
        etag,
        ..pb::Service::default()
    };
    let head = pb::Service {
        server_count: None,
        stats: None,
        rates: None,
        etag: String::new(),
        ..service
    };
    (head, tail)
}

/// Appends a number as a varint: a tag, or the length in front of a message.
fn delimit(out: &mut Vec<u8>, length: usize) {
    // Writing to a vector cannot fail.
    let _ = prost::encode_length_delimiter(length, out);
}

// === impl Fields ===

impl Fields<'_> {
    fn server(&mut self, server: &Server, include: Include) {
        let Server {
            key,
            config,
            effective_weight,
            holds: _,
            membership: _,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        } = server;
        let address = AddressText::new(key.address);
        let (address, length) = address.padded();
        self.nested(1, |fields| {
            fields.0.put_start(address, length);
            fields.0.put(b"-");
            fields.decimal(key.port);
        });
        self.tag(2, LENGTH_DELIMITED);
        self.varint(length as u64);
        self.0.put_start(address, length);
        self.number(3, key.port.into());
        match config.forwarding.name() {
            Some(name) => self.text(4, name),
            None => self.text(4, &config.forwarding.to_string()),
        }
        self.number(5, config.weight.into());
        self.number(6, config.upper_threshold.into());
        self.number(7, config.lower_threshold.into());
        if let Some(tunnel) = TunnelView::of(config) {
            self.nested(8, |fields| {
                fields.text(1, &tunnel.kind.to_string());
                if let Some(port) = tunnel.port {
                    fields.number(2, port.into());
                }
                fields.text(3, &tunnel.checksum.to_string());
            });
        }
        self.non_zero(20, (*active_connections).into());
        self.non_zero(21, (*inactive_connections).into());
        self.non_zero(22, (*persistent_connections).into());
        if include.stats {
            self.nested(23, |fields| fields.five(stats.values()));
        }
        if include.rates {
            self.nested(24, |fields| fields.five(rates.values()));
        }
        let etag = server.etag().text();
        self.tag(25, LENGTH_DELIMITED);
        self.varint(etag.len() as u64);
        self.0.put(&etag);
        self.number(26, (*effective_weight).into());
    }

    fn five(&mut self, values: [u64; 5]) {
        // Those of a server without traffic, which many have.
        if values == [0; 5] {
            return;
        }
        for (number, value) in (1..).zip(values) {
            self.non_zero(number, value);
        }
    }

    /// A number that has explicit presence.
    #[inline(always)]
    fn number(&mut self, number: u32, value: u64) {
        self.tag(number, VARINT);
        self.varint(value);
    }

    /// A number whose default, 0, is not encoded.
    #[inline(always)]
    fn non_zero(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.number(number, value);
        }
    }

    fn text(&mut self, number: u32, text: &str) {
        self.tag(number, LENGTH_DELIMITED);
        self.varint(text.len() as u64);
        self.0.put_text(text);
    }

    /// A text or a message of at most 127 bytes, whose length is one byte.
    #[inline(always)]
    fn nested(&mut self, number: u32, inside: impl FnOnce(&mut Self)) {
        self.tag(number, LENGTH_DELIMITED);
        let place = self.0.length();
        self.0.put(&[0]);
        inside(self);
        match u8::try_from(self.0.length() - place) {
            Ok(length @ 1..=128) => self.0.replace(place, length - 1),
            _ => self.0.overflow(),
        }
    }

    #[inline(always)]
    fn tag(&mut self, number: u32, wire_type: u32) {
        // The number is known at compile time, so this is one copy of one or two bytes.
        self.varint((number << 3 | wire_type).into());
    }

    #[inline(always)]
    fn varint(&mut self, value: u64) {
        match value {
            0..0x80 => self.0.put(&[value as u8]),
            0x80..0x4000 => self.0.put(&[value as u8 | 0x80, (value >> 7) as u8]),
            _ => self.long_varint(value),
        }
    }

    fn long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.0.put(&[value as u8]);
    }

    fn decimal(&mut self, port: u16) {
        let length = 1 + port.checked_ilog10().unwrap_or(0) as usize;
        // Left-aligned.
        let mut rest = u32::from(port) * [1, 10_000, 1000, 100, 10, 1][length];
        let mut digits = [0; 5];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.0.put_start(&digits, length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Checksum, Field, Forwarding, HealthCheckDraft, Kept, Labels, Rates, ServerConfig,
        ServerKey, ServiceConfig, ServiceEntry, ServiceKey, Stats, StoredFields, Tunnel,
        TunnelType,
    };

    fn any_server() -> impl Strategy<Value = Server> {
        let config = (0..8_u8, any::<[u32; 3]>(), 0..4_u8, any::<u16>(), 0..4_u16);
        // Numbers of all lengths.
        let number =
            (any::<u64>(), 0..65_u32).prop_map(|(n, bits)| n.checked_shr(bits).unwrap_or(0));
        let traffic = (any::<[u16; 3]>(), proptest::array::uniform10(number));
        (any::<IpAddr>(), any::<u16>(), config, traffic).prop_map(
            |(address, port, (method, [w, u, l], kind, tunnel_port, checksum), (now, c))| {
                let mut server = longest_server();
                server.key = ServerKey { address, port };
                server.config = ServerConfig {
                    forwarding: Forwarding::from(method),
                    weight: w,
                    upper_threshold: u,
                    lower_threshold: l % 300,
                    tunnel: Tunnel {
                        kind: TunnelType::from(kind),
                        port: tunnel_port % 3,
                        checksum: Checksum::from(checksum),
                    },
                };
                server.effective_weight = w % 5;
                server.active_connections = now[0].into();
                server.inactive_connections = (now[1] % 3).into();
                server.persistent_connections = (now[2] % 3).into();
                server.stats = stats([c[0], c[1], c[2], c[3], c[4]]);
                server.rates = rates([c[5], c[6], c[7], c[8], c[9]]);
                server
            },
        )
    }

    fn stats([connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) -> Stats {
        Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }

    fn rates([connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) -> Rates {
        Rates {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }

    /// A server whose fields all have their longest encoding.
    fn longest_server() -> Server {
        Server {
            key: ServerKey {
                address: "ff11:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(),
                port: u16::MAX,
            },
            config: ServerConfig {
                forwarding: Forwarding::Tunnel,
                weight: u32::MAX,
                upper_threshold: u32::MAX,
                lower_threshold: u32::MAX,
                tunnel: Tunnel {
                    kind: TunnelType::Other(u8::MAX),
                    port: u16::MAX,
                    checksum: Checksum::Other(u16::MAX),
                },
            },
            effective_weight: u32::MAX,
            holds: None,
            membership: None,
            active_connections: u32::MAX,
            inactive_connections: u32::MAX,
            persistent_connections: u32::MAX,
            stats: stats([u64::MAX; 5]),
            rates: rates([u64::MAX; 5]),
        }
    }

    fn entry(id: &str, servers: Vec<Server>) -> ServiceEntry {
        let key: ServiceKey = id.parse().unwrap();
        // A name of 63 bytes, the longest.
        let owner = Some("x".repeat(63).parse().unwrap());
        let labels = [("team", "web"), ("a/b", "")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let check = HealthCheckDraft {
            kind: Field::Set("https".to_owned()),
            ..HealthCheckDraft::default()
        };
        let stored = StoredFields {
            labels: Labels::from(BTreeMap::from(labels)),
            health_check: Some(Arc::new(check.apply(None, key).unwrap())),
        };
        ServiceEntry {
            service: Service {
                key,
                config: ServiceConfig::new(key.family()),
                stats: stats([0, 1, 2, 3, 4]),
                rates: Rates::default(),
                kept: (id.starts_with('f')).then(|| Arc::new(Kept { owner, stored })),
            },
            servers,
        }
    }

    #[test]
    fn the_longest_server_fits_into_the_buffer() {
        let mut encoded = FixedBuffer::new();
        let include = Include {
            servers: true,
            stats: true,
            rates: true,
        };
        Fields(&mut encoded).server(&longest_server(), include);
        assert!(encoded.written().is_some());
        let message = server_message::message(ServerView::new(&longest_server(), include));
        assert_eq!(encoded.length(), message.encoded_len());
    }

    proptest! {
        #[test]
        fn a_service_has_the_encoding_of_the_generated_message(
            servers in proptest::collection::vec(any_server(), 0..20),
            id in prop_oneof![Just("tcp-192.0.2.1-80"), Just("fwmark6-7")],
            [with_servers, stats, rates] in any::<[bool; 3]>(),
        ) {
            let include = Include { servers: with_servers, stats, rates };
            let services = vec![entry("udp-2001:db8::1-53", Vec::new()), entry(id, servers)];
            let mut encoder = ServiceEncoder::new(include);
            let mut encoded = Vec::new();
            for service in &services {
                let message = service_message::message(service, include);
                let length = encoder.append(&mut encoded, &service.service, &service.servers);
                prop_assert_eq!(length, message.encoded_len());
            }
            let services = services.iter().map(|service| service_message::message(service, include));
            let list = pb::ListServicesResponse {
                services: services.collect(),
                ..pb::ListServicesResponse::default()
            };
            prop_assert_eq!(encoded, list.encode_to_vec());
        }
    }
}
