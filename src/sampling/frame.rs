//! A frame: the counters of a sample, and the rates since an older one.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::sample::{Sample, ServerSample, ServiceSample};
use crate::{
    budget::{Budget, Charge},
    model::{Error, ServerKey, ServiceKey, Stats},
};

/// What a stream or the history shows of one time.
#[derive(Debug)]
pub struct Frame {
    /// When the counters were read.
    pub time: Timestamp,
    /// The time over which the rates were computed; `None` if there is no older sample.
    pub interval: Option<Duration>,
    /// Whether the kernel refreshes the counters of services and servers.
    pub estimation: bool,
    /// Of the whole director.
    pub totals: TotalsFrame,
    /// Services in the order of lists.
    pub services: Vec<ServiceFrame>,
    /// The servers of the services whose servers somebody watches.
    pub servers: HashMap<ServiceKey, Vec<ServerFrame>>,
    /// The texts that most subscribers get, with and without services, encoded once.
    texts: [OnceLock<Bytes>; 2],
    /// For the frame and its texts.
    charge: Arc<Charge>,
}

/// The director in a frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TotalsFrame {
    /// Counters since the last zero.
    pub stats: Stats,
    /// Rates, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<MeasuredRates>,
    /// Number of virtual services.
    pub service_count: usize,
    /// Number of real servers. A server of several services counts for each.
    pub server_count: u64,
    /// Established connections.
    pub active_connections: u64,
    /// Other connections.
    pub inactive_connections: u64,
}

/// A service in a frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceFrame {
    /// Id.
    pub id: ServiceKey,
    /// Counters since the last zero.
    pub stats: Stats,
    /// Rates, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<MeasuredRates>,
    /// Number of servers.
    pub server_count: u32,
    /// Number of servers with a weight above 0 in the kernel.
    pub available_server_count: u32,
    /// Established connections.
    pub active_connections: u64,
    /// Other connections.
    pub inactive_connections: u64,
}

/// A server in a frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFrame {
    /// Id.
    pub id: ServerKey,
    /// The weight in the kernel.
    pub weight: u32,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Persistence templates.
    pub persistent_connections: u32,
    /// Counters since the last zero.
    pub stats: Stats,
    /// Rates, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<MeasuredRates>,
}

/// Rates per second between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MeasuredRates {
    /// Connections per second.
    #[serde(serialize_with = "rounded")]
    pub connections: f64,
    /// Packets per second from clients.
    #[serde(serialize_with = "rounded")]
    pub packets_in: f64,
    /// Packets per second to clients.
    #[serde(serialize_with = "rounded")]
    pub packets_out: f64,
    /// Bytes per second from clients.
    #[serde(serialize_with = "rounded")]
    pub bytes_in: f64,
    /// Bytes per second to clients.
    #[serde(serialize_with = "rounded")]
    pub bytes_out: f64,
}

/// A text, which slow clients may need longer than its frame exists.
struct Text<C> {
    text: Vec<u8>,
    _charge: C,
}

/// What a frame of the history shows.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    /// The totals.
    Totals,
    /// One service.
    Service(ServiceKey),
    /// The totals over the services for which this is true.
    TotalsOf(&'a dyn Fn(ServiceKey) -> bool),
}

/// Memory of a service in a frame with its text in bytes, about; and of a server.
const SERVICE_BYTES: usize = size_of::<ServiceFrame>() + 512;
const SERVER_BYTES: usize = size_of::<ServerFrame>();

// === impl Frame ===

impl Frame {
    /// The frame of a sample, with the rates since an older one.
    pub(super) fn new(
        sample: &Sample,
        older: Option<&Sample>,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let servers: usize = sample.servers.values().map(Vec::len).sum();
        let bytes = sample.services.len() * SERVICE_BYTES + servers * SERVER_BYTES;
        let charge = budget.charge(bytes)?;
        let window = Window::between(older, sample);
        Ok(Self {
            services: window.services(sample),
            servers: sample
                .servers
                .iter()
                .map(|(key, servers)| (*key, window.servers(*key, servers)))
                .collect(),
            ..Self::of_totals(sample, &window, charge)
        })
    }

    /// The frame of a sample without servers, for the history.
    pub(super) fn of_history(
        sample: &Sample,
        older: &Sample,
        shown: &Shown<'_>,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let window = Window::between(Some(older), sample);
        let frame = Self::of_totals(sample, &window, budget.charge(size_of::<Self>())?);
        let is_shown = |one: &&ServiceSample| match shown {
            Shown::Totals => false,
            Shown::Service(key) => one.key == *key,
            Shown::TotalsOf(sees) => sees(one.key),
        };
        let services = sample.services.iter().filter(is_shown);
        let services: Vec<_> = services.map(|one| window.service(one)).collect();
        Ok(match shown {
            Shown::TotalsOf(_) => Self {
                totals: TotalsFrame::over(services.iter()),
                ..frame
            },
            _ => Self { services, ..frame },
        })
    }

    fn of_totals(sample: &Sample, window: &Window<'_>, charge: Charge) -> Self {
        let sum = |of: fn(&ServiceSample) -> u64| sample.services.iter().map(of).sum();
        Self {
            time: sample.time,
            interval: window.time,
            estimation: sample.estimation,
            totals: TotalsFrame {
                stats: sample.totals,
                rates: window.totals(sample),
                service_count: sample.services.len(),
                server_count: sum(|service| u64::from(service.server_count)),
                active_connections: sum(|service| service.active_connections),
                inactive_connections: sum(|service| service.inactive_connections),
            },
            services: Vec::new(),
            servers: HashMap::new(),
            texts: Default::default(),
            charge: Arc::new(charge),
        }
    }

    /// The text with all services or without any, encoded by the first that asks for it.
    pub fn text<E>(
        &self,
        has_services: bool,
        encode: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        let [without, with] = &self.texts;
        let text = if has_services { with } else { without };
        match text.get() {
            Some(text) => Ok(text.clone()),
            // Another one may encode it meanwhile.
            None => encode().map(|encoded| {
                let text = text.get_or_init(|| {
                    Bytes::from_owner(Text {
                        text: encoded,
                        _charge: self.charge.clone(),
                    })
                });
                text.clone()
            }),
        }
    }
}

/// A text that is charged until it has been sent.
pub fn charged_text(text: Vec<u8>, charge: Charge) -> Bytes {
    Bytes::from_owner(Text {
        text,
        _charge: charge,
    })
}

impl<C> AsRef<[u8]> for Text<C> {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

// === impl TotalsFrame ===

impl TotalsFrame {
    /// The totals over these services. The rates are those of the services whose rates are known.
    pub fn over<'a>(services: impl Iterator<Item = &'a ServiceFrame>) -> Self {
        let none = Self {
            stats: Stats::default(),
            rates: None,
            service_count: 0,
            server_count: 0,
            active_connections: 0,
            inactive_connections: 0,
        };
        services.fold(none, |sum, service| Self {
            stats: sum.stats.plus(&service.stats),
            rates: match (sum.rates, service.rates) {
                (Some(sum), Some(rates)) => Some(sum.plus(&rates)),
                (sum, rates) => sum.or(rates),
            },
            service_count: sum.service_count + 1,
            server_count: sum.server_count + u64::from(service.server_count),
            active_connections: sum.active_connections + service.active_connections,
            inactive_connections: sum.inactive_connections + service.inactive_connections,
        })
    }
}

/// Two samples between which rates are computed.
struct Window<'a> {
    older: Option<&'a Sample>,
    time: Option<Duration>,
    /// Whether differences of refreshed counters belong to this time.
    is_steady: bool,
    services: HashMap<ServiceKey, &'a ServiceSample>,
}

// === impl Window ===

impl<'a> Window<'a> {
    fn between(older: Option<&'a Sample>, sample: &Sample) -> Self {
        let time = older.map(|older| sample.since(older));
        let services = older.iter().flat_map(|older| &older.services);
        Self {
            time: time.filter(|time| !time.is_zero()),
            is_steady: older.is_some_and(|older| older.is_steady) && sample.is_steady,
            services: services.map(|one| (one.key, one)).collect(),
            older,
        }
    }

    /// The rates between two values of counters, unless they went back.
    fn rates(&self, before: &Stats, now: &Stats) -> Option<MeasuredRates> {
        let seconds = self.time?.as_secs_f64();
        let mut rates = [0.0; 5];
        for ((rate, before), now) in rates.iter_mut().zip(before.values()).zip(now.values()) {
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
            let difference = now.checked_sub(before)? as f64;
            *rate = difference / seconds;
        }
        Some(MeasuredRates::of(rates))
    }

    /// Whether differences of counters that have gone on since a time belong to this one.
    fn is_steady_since(&self, since: Instant) -> bool {
        self.is_steady && self.older.is_some_and(|older| since <= older.at)
    }

    fn totals(&self, sample: &Sample) -> Option<MeasuredRates> {
        let older = self.older?;
        match (older.counted, sample.counted) {
            (Some(before), Some(now)) => self.rates(&before, &now),
            _ if self.is_steady => self.rates(&older.totals, &sample.totals),
            _ => None,
        }
    }

    fn services(&self, sample: &Sample) -> Vec<ServiceFrame> {
        sample
            .services
            .iter()
            .map(|one| self.service(one))
            .collect()
    }

    fn service(&self, service: &ServiceSample) -> ServiceFrame {
        let ServiceSample {
            key,
            since,
            stats,
            server_count,
            available_server_count,
            active_connections,
            inactive_connections,
        } = *service;
        let before = self
            .services
            .get(&key)
            .filter(|_| self.is_steady_since(since));
        ServiceFrame {
            id: key,
            stats,
            rates: before.and_then(|before| self.rates(&before.stats, &stats)),
            server_count,
            available_server_count,
            active_connections,
            inactive_connections,
        }
    }

    fn servers(&self, service: ServiceKey, servers: &[ServerSample]) -> Vec<ServerFrame> {
        let before = self.older.and_then(|older| older.servers.get(&service));
        let before = before.into_iter().flatten();
        let before: HashMap<ServerKey, &Stats> =
            before.map(|server| (server.key, &server.stats)).collect();
        let servers = servers.iter().map(|server| {
            let ServerSample {
                key,
                since,
                weight,
                active_connections,
                inactive_connections,
                persistent_connections,
                stats,
            } = *server;
            let before = before.get(&key).filter(|_| self.is_steady_since(since));
            ServerFrame {
                id: key,
                weight,
                active_connections,
                inactive_connections,
                persistent_connections,
                stats,
                rates: before.and_then(|before| self.rates(before, &stats)),
            }
        });
        servers.collect()
    }
}

// === impl MeasuredRates ===

impl MeasuredRates {
    fn of([connections, packets_in, packets_out, bytes_in, bytes_out]: [f64; 5]) -> Self {
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            packets_in: self.packets_in + other.packets_in,
            packets_out: self.packets_out + other.packets_out,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}

/// With three decimals: a rate of one connection in 15 minutes is 0.001.
pub fn with_three_decimals(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(with_three_decimals(*value))
}
