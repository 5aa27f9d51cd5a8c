//! Requests by route and status.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;

use super::{Histogram, histogram::Scale};

/// The counters of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId {
    is_grpc: bool,
    index: usize,
}

/// Requests by route and status. The routes are known from the first router on, so that a request looks its
/// counters up once and then adds to them, without a lock and without memory of its own.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    http: OnceLock<Routes>,
    grpc: OnceLock<Routes>,
    /// Requests without any credential that need one.
    no_credential: AtomicU64,
    /// Requests with a token or a cookie that is not valid.
    invalid_credential: AtomicU64,
}

/// The routes of a protocol.
#[derive(Debug)]
pub(super) struct Routes {
    /// The first are those of requests without a route.
    counters: Vec<RouteCounters>,
    /// By path. Of each method of a path one, the last of those that it does not have.
    by_path: HashMap<String, Vec<(&'static str, usize)>, FixedState>,
}

/// The counters of a route.
#[derive(Debug)]
pub(super) struct RouteCounters {
    is_grpc: bool,
    /// Method of HTTP; of gRPC, the path.
    pub(super) method: String,
    /// Path of HTTP; of gRPC, empty.
    pub(super) path: String,
    statuses: Vec<AtomicU64>,
    pub(super) latency: Histogram,
}

/// The method of requests with a method that the path does not have, and the path of those without a route.
const OTHER: &str = "other";

/// The method of gRPC over HTTP.
const POST: &str = "POST";

/// The status codes of HTTP that the daemon sends. Others count as `other`.
const HTTP_STATUSES: [u16; 30] = [
    200, 201, 204, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414,
    415, 422, 426, 428, 429, 431, 500, 501, 503, 504, 507,
];

/// The names of the status codes of gRPC, by their numbers.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Sets the routes of HTTP, once: a router that replaces the first has the same. Each is a method, and the path
    /// with the names of its parameters.
    pub fn set_http_routes(&self, routes: impl IntoIterator<Item = (&'static str, String)>) {
        self.http.get_or_init(|| Routes::new(false, routes));
    }

    /// Sets the methods of gRPC, once, by their paths.
    pub fn set_grpc_routes(&self, paths: impl IntoIterator<Item = String>) {
        let paths = paths.into_iter().map(|path| (POST, path));
        self.grpc.get_or_init(|| Routes::new(true, paths));
    }

    /// The counters of a request over HTTP. `path` is that of the route, if there is one.
    pub fn http(&self, method: &str, path: Option<&str>) -> RouteId {
        let routes = self.http.get();
        RouteId {
            is_grpc: false,
            index: routes.map_or(0, |routes| routes.find(method, path.unwrap_or_default())),
        }
    }

    /// The counters of a request over gRPC with this path.
    pub fn grpc(&self, path: &str) -> RouteId {
        let routes = self.grpc.get();
        RouteId {
            is_grpc: true,
            index: routes.map_or(0, |routes| routes.find(POST, path)),
        }
    }

    /// Whether it is one of the daemon's routes, and not those that have none.
    pub fn is_known(route: RouteId) -> bool {
        route.index != 0
    }

    /// Counts a response. `grpc_status` is the code of a gRPC response that has it in its head: all errors
    /// before the first message have, except of grpc-web. Without one, a response of HTTP status 200 counts as OK.
    pub fn record(
        &self,
        route: RouteId,
        status: u16,
        grpc_status: Option<&str>,
        latency: Duration,
    ) {
        let counters = self.all(route.is_grpc).get(route.index);
        let Some(counters) = counters else {
            return;
        };
        let index = match route.is_grpc {
            true => grpc_index(status, grpc_status),
            false => http_index(status),
        };
        if let Some(count) = counters.statuses.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        counters.latency.observe(latency);
    }

    /// Counts a request without a valid credential.
    pub fn unauthenticated(&self, presents_credential: bool) {
        let counter = match presents_credential {
            true => &self.invalid_credential,
            false => &self.no_credential,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The requests without a valid credential: those without any, and those with one.
    pub(super) fn failed_authentications(&self) -> [(&'static str, u64); 2] {
        [
            ("none", self.no_credential.load(Ordering::Relaxed)),
            ("invalid", self.invalid_credential.load(Ordering::Relaxed)),
        ]
    }

    /// The counters of all routes of a protocol.
    pub(super) fn all(&self, is_grpc: bool) -> &[RouteCounters] {
        let routes = match is_grpc {
            true => self.grpc.get(),
            false => self.http.get(),
        };
        routes.map_or(&[], |routes| &routes.counters)
    }
}

// === impl Routes ===

impl Routes {
    fn new(is_grpc: bool, all: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut counters = vec![RouteCounters::new(is_grpc, OTHER, OTHER)];
        let mut by_path: HashMap<String, Vec<_>, FixedState> = HashMap::default();
        for (method, path) in all {
            let index = counters.len();
            counters.push(RouteCounters::new(is_grpc, method, &path));
            by_path.entry(path).or_default().push((method, index));
        }
        for (path, methods) in by_path.iter_mut().filter(|_| !is_grpc) {
            methods.push((OTHER, counters.len()));
            counters.push(RouteCounters::new(is_grpc, OTHER, path));
        }
        Self { counters, by_path }
    }

    fn find(&self, method: &str, path: &str) -> usize {
        let methods = self.by_path.get(path).map_or(&[][..], Vec::as_slice);
        let own = methods.iter().find(|(known, _)| *known == method);
        own.or(methods.last()).map_or(0, |(_, index)| *index)
    }
}

// === impl RouteCounters ===

impl RouteCounters {
    fn new(is_grpc: bool, method: &str, path: &str) -> Self {
        let (method, path, statuses) = match is_grpc {
            true => (path.trim_start_matches('/'), "", GRPC_STATUSES.len()),
            false => (method, path, HTTP_STATUSES.len() + 1),
        };
        Self {
            is_grpc,
            method: method.to_owned(),
            path: path.to_owned(),
            statuses: (0..statuses).map(|_| AtomicU64::new(0)).collect(),
            latency: Histogram::new(Scale::LATENCY),
        }
    }

    /// The statuses that requests have had, with their numbers.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = self
            .statuses
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let used = counts.enumerate().filter(|(_, count)| *count > 0);
        used.map(|(index, count)| (self.status(index), count))
    }

    fn status(&self, index: usize) -> String {
        match (self.is_grpc, HTTP_STATUSES.get(index)) {
            (true, _) => GRPC_STATUSES
                .get(index)
                .copied()
                .unwrap_or(OTHER)
                .to_owned(),
            (false, Some(status)) => status.to_string(),
            (false, None) => OTHER.to_owned(),
        }
    }
}

/// The place of a status; the last one for one that the daemon does not send.
fn http_index(status: u16) -> usize {
    let place = HTTP_STATUSES.iter().position(|known| *known == status);
    place.unwrap_or(HTTP_STATUSES.len())
}

/// The place of a status. Texts that are no number of a status count as UNKNOWN.
fn grpc_index(http_status: u16, status: Option<&str>) -> usize {
    const OK: usize = 0;
    const UNKNOWN: usize = 2;
    let number = match (status, http_status) {
        (Some(text), _) => text.parse().ok(),
        (None, 200) => Some(OK),
        // It was refused before it was taken for a call.
        (None, _) => None,
    };
    let known = number.filter(|number| *number < GRPC_STATUSES.len());
    known.unwrap_or(UNKNOWN)
}
