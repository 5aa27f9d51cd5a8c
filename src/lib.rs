//! Linux IPVS, the kernel's layer-4 load balancer, as a network service.
//!
//! The rooms, from the pure middle to the rim (a test holds the arrows):
//!
//! ```text
//! model ← codec ← executor ← director ← { http, grpc } ← server ← bin/ipvsd
//! model ← rules ← { director, cli }
//! model ← client ← cli ← bin/ipvsctl
//! ```

#[cfg(feature = "daemon")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "daemon")]
pub mod codec;
#[cfg(feature = "daemon")]
pub mod executor;
#[cfg(feature = "daemon")]
pub mod grpc;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod identity;
pub mod ipvsadm;
#[cfg(feature = "daemon")]
pub mod kernel;
pub mod model;
#[cfg(feature = "daemon")]
pub mod proto;
#[cfg(feature = "daemon")]
pub mod server;
