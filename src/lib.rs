//! Linux IPVS, the kernel's layer-4 load balancer, as a network service.
//!
//! | module | responsibility |
//! |---|---|
//! | [`model`] | The domain: keys, configurations, validation, views, errors, operations and queries. Pure. |
//! | [`codec`] | Encoding of the model as netlink messages and `/proc` files, and the errno table. |
//! | [`ipvsadm`] | ipvsadm's command language: parser, option compatibility, rules and listings as text. |
//! | [`kernel`] | Transport to the kernel: netlink sockets, and the in-memory simulator [`kernel::FakeKernel`]. |
//! | [`executor`] | The owner of the kernel's sockets: queue, batches, dumps, cache, recovery. |
//! | [`watch`] | The table as last seen, and the log of its changes. |
//! | [`sampling`] | Samples of the counters, and the rates between them. |
//! | [`budget`] | The memory in bytes that requests may use. |
//! | [`identity`] | Who sends a request, and what it may do: policy, credentials, roles, scopes; peer and site. |
//! | [`journal`] | The journal of systemd. |
//! | [`audit`] | The audit trail: records of changes and refusals, their file, and queries. |
//! | [`store`] | The stored state: transactions on disk, of what the kernel cannot hold. |
//! | [`trace`] | The trace of a request: its ids in the log, its spans. |
//! | [`version`] | The version and the commit of the build. |
//! | [`health`] | Health of real servers: what follows from the outcomes of checks. Pure. |
//! | [`probe`] | Checks of real servers over the network. |
//! | [`app`] | The use cases, and the only path to the executor's writes. |
//! | [`http`] | HTTP front end: JSON, problem details, OpenAPI. |
//! | [`grpc`] | gRPC front end. |
//! | [`proto`] | The types generated from `proto/ipvsd/v1`. |
//! | [`server`] | The process around the API: configuration, listeners, TLS, limits, log, shutdown. |
//! | [`manual`] | Manual pages of the programs. |
//! | [`client`] | Blocking HTTP client for Rust programs. |
//! | [`cli`] | `ipvsctl`. |
//!
//! Imports point in one direction, which `tests/host/layers` checks:
//!
//! ```text
//! model ← codec ← kernel ← executor ← app ← { http, grpc } ← server ← bin/ipvsd
//! clock ← { executor, app, server }
//! model ← budget ← { watch, sampling, executor, app, http, grpc, server }
//! { model, budget } ← sampling ← { app, http, grpc, server }
//! { budget, identity } ← watch ← { executor, app, http, grpc, server }
//! model ← identity ← { watch, audit, app, http, grpc, server };  proto ← { grpc, server }
//! { model, trace } ← store ← { app, server }
//! trace ← { store, executor, app, http, server }
//! version ← { metrics, app, manual, server, cli }
//! model ← health ← { probe, app };  { health, model } ← probe ← app
//! model ← metrics ← { executor, app, http, grpc, server }
//! { model, identity, journal } ← audit ← { app, http, grpc, server };  journal ← server
//! model ← ipvsadm ← { app, http, grpc, client, cli }
//! manual ← { server, cli }
//! model ← client ← cli ← bin/ipvsctl
//! ```

#[cfg(feature = "daemon")]
pub mod app;
#[cfg(feature = "daemon")]
pub mod audit;
#[cfg(feature = "daemon")]
pub mod budget;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod codec;
#[cfg(feature = "daemon")]
pub mod executor;
#[cfg(feature = "daemon")]
pub mod grpc;
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod identity;
pub mod ipvsadm;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod kernel;
#[cfg(any(feature = "cli", feature = "daemon"))]
pub mod manual;
#[cfg(feature = "daemon")]
pub mod metrics;
pub mod model;
#[cfg(feature = "daemon")]
pub mod probe;
#[cfg(feature = "daemon")]
pub mod proto;
#[cfg(feature = "daemon")]
pub mod sampling;
#[cfg(feature = "daemon")]
pub mod server;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod trace;
#[cfg(any(feature = "daemon", feature = "client"))]
pub mod version;
#[cfg(feature = "daemon")]
pub mod watch;
