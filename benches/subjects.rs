//! The micro-benchmarks, for criterion (`micro.rs`) and for instruction counters (`measure micro`).

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Extension, Router, body::Body};
use http::{Request, Version, header};
use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions, ListServices, RequestContext, RequestId},
    codec::{
        self,
        wire::{self, Head, Kind},
    },
    executor::{Executor, ExecutorLimits},
    grpc, http as http_api,
    identity::Session,
    ipvsadm::{Lines, Numeric, Order, write_rules},
    kernel::{
        FakeKernel, Kernel, RecvBuffers,
        fake::{Connections, Counters, Destination, Service, ServiceId},
    },
    metrics::{Creations, Exposition, Format, Prepared, ScrapeOptions},
    model::{
        Family, Forwarding, Include, Name, Netmask, Op, Protocol, SchedulerFlags, ServerConfig,
        ServerKey, ServerView, ServiceConfig, ServiceEntry, ServiceKey, ServiceView, StoredFields,
        Tunnel,
    },
    proto::v1 as pb,
    server::Limits,
};
use prost::Message;
use tokio::runtime::{self, Runtime};
use tower::ServiceExt;

/// A benchmark.
pub struct Subject {
    pub name: &'static str,
    /// Sets up the benchmark; the returned closure is measured.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All benchmarks.
pub const SUBJECTS: &[Subject] = &[
    Subject {
        name: "encode_create_service",
        prepare: || {
            let config = ServiceConfig {
                scheduler: Name::from_kernel(b"rr"),
                scheduler_flags: SchedulerFlags::default(),
                one_packet: false,
                persistence_timeout: None,
                netmask: Netmask::V4(Ipv4Addr::BROADCAST),
                persistence_engine: None,
            };
            encode(Op::CreateService(
                service_key(0),
                config,
                StoredFields::default(),
            ))
        },
    },
    Subject {
        name: "encode_create_server",
        prepare: || {
            let key = ServerKey {
                address: server_address(0),
                port: 80,
            };
            let config = ServerConfig {
                forwarding: Forwarding::Masquerade,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: Tunnel::default(),
            };
            encode(Op::CreateServer(service_key(0), key, config))
        },
    },
    Subject {
        name: "decode_80_services",
        prepare: || {
            let bytes = datagram(codec::dump_services);
            decode(bytes, |bytes| codec::service(bytes).is_some())
        },
    },
    Subject {
        name: "decode_80_servers",
        prepare: || {
            let bytes = datagram(|out, head| codec::dump_servers(out, head, service_key(0)));
            decode(bytes, |attributes| {
                codec::server(attributes, Family::Ipv4).is_some()
            })
        },
    },
    Subject {
        name: "json_server",
        prepare: || {
            let entry = table(1, 1).remove(0);
            let mut out = Vec::new();
            Box::new(move || {
                out.clear();
                for server in &entry.servers {
                    json(&mut out, &ServerView::new(server, ALL));
                }
            })
        },
    },
    Subject {
        name: "json_service_of_10",
        prepare: || {
            let entry = table(1, 10).remove(0);
            let mut out = Vec::new();
            Box::new(move || {
                out.clear();
                json(&mut out, &ServiceView::new(&entry, ALL));
            })
        },
    },
    Subject {
        name: "json_table_100x10",
        prepare: || {
            let table = table(100, 10);
            let mut out = Vec::new();
            Box::new(move || {
                out.clear();
                for entry in &table {
                    json(&mut out, &ServiceView::new(entry, ALL));
                }
            })
        },
    },
    Subject {
        name: "proto_encode_table_100x10",
        prepare: || {
            // Kept, because the end of its executor would be counted, too.
            let front_ends = FrontEnds::of_large_table();
            let message = answered(&front_ends.grpc_list());
            let message = message.get(5..).unwrap_or_default();
            let message = pb::ListServicesResponse::decode(message).unwrap_or_default();
            let mut out = Vec::new();
            Box::new(move || {
                let _ = &front_ends;
                out.clear();
                // Writing to a vector cannot fail.
                let _ = black_box(&message).encode(&mut out);
                black_box(&out);
            })
        },
    },
    Subject {
        name: "rules_parse_table_100x10",
        prepare: || {
            let text = rules(&table(100, 10));
            let text = String::from_utf8_lossy(&text).into_owned();
            Box::new(move || {
                for line in Lines::new(black_box(&text)) {
                    let parsed = ipvsd::ipvsadm::parse("ipvsadm", &line.words, &Numeric);
                    assert!(black_box(parsed).is_ok(), "a line was refused");
                }
            })
        },
    },
    Subject {
        name: "rules_print_table_100x10",
        prepare: || {
            let table = table(100, 10);
            Box::new(move || drop(black_box(rules(black_box(&table)))))
        },
    },
    Subject {
        // 11,800 series: 8 of each service, and 11 of each server.
        name: "metrics_table_100x10",
        prepare: || {
            let (table, creations) = (table(100, 10), Creations::default());
            let options = ScrapeOptions::default();
            let mut out = Vec::new();
            Box::new(move || {
                out.clear();
                let read = SystemTime::UNIX_EPOCH;
                let prepared = Prepared::new(black_box(&table), options, &creations, read);
                let mut exposition = Exposition::new(Format::Prometheus);
                while exposition.next(&table, &prepared, &mut out) {}
                black_box(&out);
            })
        },
    },
    Subject {
        name: "build_routers",
        prepare: || {
            let app = app(kernel(1, 1));
            Box::new(move || drop(black_box(FrontEnds::new(&app))))
        },
    },
    Subject {
        name: "http_list_100x10_cached",
        prepare: || {
            let front_ends = FrontEnds::of_large_table();
            answered(&front_ends.http_list());
            Box::new(move || drop(black_box(answered(&front_ends.http_list()))))
        },
    },
    Subject {
        name: "grpc_list_100x10_cached",
        prepare: || {
            let front_ends = FrontEnds::of_large_table();
            answered(&front_ends.grpc_list());
            Box::new(move || drop(black_box(answered(&front_ends.grpc_list()))))
        },
    },
];

const ALL: Include = Include {
    servers: true,
    stats: true,
    rates: true,
};

// === the table ===

fn service_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a01_0000 + number)
}

fn server_address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a80_0000 + number).into()
}

fn service_key(number: u32) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: service_address(number).into(),
        port: 80,
    }
}

/// A fake kernel with a table and counters.
pub fn kernel(services: u32, servers: u32) -> FakeKernel {
    let kernel = FakeKernel::new();
    for number in 0..services {
        let id = ServiceId::tcp(SocketAddr::from((service_address(number), 80)));
        let mut service = Service::new(id);
        service.scheduler = "rr".to_owned();
        service.counters = counters(number);
        kernel.add_service(service);
        for server in 0..servers {
            let address = SocketAddr::from((server_address(server), 80));
            kernel.add_destination(id, Destination::new(address));
            let connections = Connections {
                active: 120 + server,
                inactive: 900 + number,
                persistent: 0,
            };
            kernel.set_traffic(id, address, connections, counters(number + server));
        }
    }
    kernel
}

fn counters(salt: u32) -> Counters {
    let salt = u64::from(salt);
    Counters {
        connections: 1_234_567 + salt,
        in_packets: 98_765_432 + salt,
        out_packets: 87_654_321 + salt,
        in_bytes: 123_456_789_012 + salt,
        out_bytes: 987_654_321_098 + salt,
        connection_rate: 321 + salt,
        in_packet_rate: 12_345 + salt,
        out_packet_rate: 11_234 + salt,
        in_byte_rate: 12_345_678 + salt,
        out_byte_rate: 98_765_432 + salt,
    }
}

fn app(kernel: FakeKernel) -> App {
    Executor::start(Arc::new(kernel), ExecutorLimits::default())
        .map(|executor| App::new(executor, AppOptions::default()))
        .unwrap_or_else(|error| fail(&error))
}

fn table(services: u32, servers: u32) -> Vec<ServiceEntry> {
    let app = app(kernel(services, servers));
    let list = ListServices {
        include: ALL,
        ..ListServices::default()
    };
    let context = RequestContext::new(RequestId::new("bench"), Duration::from_secs(10));
    let page = here().block_on(app.list_services(&context, list));
    let page = page.unwrap_or_else(|error| fail(&error));
    page.value.iter().cloned().collect()
}

// === netlink ===

fn head() -> Head {
    Head {
        family: FAMILY,
        seq: 1,
        ack: false,
    }
}

/// The family id of the fake kernel; messages have the same length with any other.
const FAMILY: u16 = 0x22;

fn encode(op: Op) -> Box<dyn FnMut()> {
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        codec::op(&mut out, head(), black_box(&op));
        black_box(&out);
    })
}

/// The first datagram of a dump of a table of 80x80; it holds about 80 objects.
fn datagram(ask: impl Fn(&mut Vec<u8>, Head)) -> Vec<u8> {
    let receive = || {
        let mut socket = kernel(80, 80).connect()?;
        let mut inbox = RecvBuffers::new(1, 32 << 10);
        let mut out = Vec::new();
        codec::resolve_family(&mut out, 1);
        socket.send(&out)?;
        socket.receive(&mut inbox, Duration::ZERO)?;
        let family = inbox.datagrams().flat_map(attributes);
        let family = family.filter_map(codec::family_id).next();
        let family = family.unwrap_or_default();
        out.clear();
        ask(&mut out, Head { family, ..head() });
        socket.send(&out)?;
        // The rest of the dump, after the reply to the lookup.
        loop {
            socket.receive(&mut inbox, Duration::ZERO)?;
            if let Some(datagram) = inbox.datagrams().find(|datagram| datagram.len() > 1000) {
                return std::io::Result::Ok(datagram.to_vec());
            }
        }
    };
    receive().unwrap_or_else(|error| fail(&error))
}

fn attributes(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    wire::messages(datagram).filter_map(|message| match message.kind {
        Kind::Attributes(bytes) => Some(bytes),
        Kind::Outcome(_) | Kind::Done(_) => None,
    })
}

fn decode(datagram: Vec<u8>, each: fn(&[u8]) -> bool) -> Box<dyn FnMut()> {
    Box::new(move || {
        let decoded = attributes(black_box(&datagram))
            .filter(|bytes| each(bytes))
            .count();
        assert!(decoded > 70, "only {decoded} were decoded");
    })
}

// === the front ends ===

struct FrontEnds {
    http: Router,
    grpc: Router,
}

struct Asked {
    router: Router,
    request: Request<Body>,
}

impl FrontEnds {
    fn new(app: &App) -> Self {
        let limits = Limits::default();
        let session = Extension(Session::system());
        Self {
            http: http_api::router(app.clone(), limits.http_options()).layer(session.clone()),
            grpc: grpc::router(app.clone(), limits.grpc_options()).layer(session),
        }
    }

    fn of_large_table() -> Self {
        Self::new(&app(kernel(100, 10)))
    }

    fn http_list(&self) -> impl Fn() -> Asked {
        let router = self.http.clone();
        move || Asked {
            router: router.clone(),
            request: Request::get("/v1/services?include=servers,stats,rates")
                .header(header::CACHE_CONTROL, "max-age=3600")
                .body(Body::empty())
                .unwrap_or_else(|error| fail(&error)),
        }
    }

    fn grpc_list(&self) -> impl Fn() -> Asked {
        let router = self.grpc.clone();
        let request = pb::ListServicesRequest {
            include: ["servers", "stats", "rates"].map(str::to_owned).to_vec(),
            max_age: Some(prost_types::Duration {
                seconds: 3600,
                nanos: 0,
            }),
            ..pb::ListServicesRequest::default()
        };
        let message = request.encode_to_vec();
        let mut frame = vec![0];
        frame.extend((message.len() as u32).to_be_bytes());
        frame.extend(message);
        move || Asked {
            router: router.clone(),
            request: Request::post("/ipvsd.v1.IpvsService/ListServices")
                .version(Version::HTTP_2)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers")
                .body(Body::from(frame.clone()))
                .unwrap_or_else(|error| fail(&error)),
        }
    }
}

/// The whole body of the response.
fn answered(ask: &impl Fn() -> Asked) -> Vec<u8> {
    thread_local!(static HERE: Runtime = here());
    let Asked { router, request } = ask();
    let body = HERE.with(|runtime| {
        runtime.block_on(async move {
            let response = router.oneshot(request).await;
            let body = response.unwrap_or_else(|never| match never {}).into_body();
            body.collect().await.map(|body| body.to_bytes())
        })
    });
    let body = body.unwrap_or_else(|error| fail(&error));
    assert!(body.len() > 10_000, "an answer of {} bytes", body.len());
    body.into()
}

fn here() -> Runtime {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| fail(&error))
}

fn rules(table: &[ServiceEntry]) -> Vec<u8> {
    let mut text = Vec::new();
    write_rules(&mut text, table, Order::Sorted, &Numeric).unwrap_or_else(|error| fail(&error));
    text
}

fn json(out: &mut Vec<u8>, view: &impl serde::Serialize) {
    serde_json::to_writer(&mut *out, black_box(view)).unwrap_or_else(|error| fail(&error));
    black_box(out);
}

#[allow(
    clippy::panic,
    reason = "a benchmark that cannot be prepared cannot go on"
)]
fn fail(error: &dyn std::fmt::Display) -> ! {
    panic!("{error}")
}
