//! Linux IPVS, the kernel's layer-4 load balancer, as a network service.
//!
//! The rooms, from the pure middle to the rim (a test holds the arrows):
//!
//! ```text
//! model ← codec ← executor ← director ← { http, grpc } ← server ← bin/ipvsd
//! model ← rules ← { director, cli }
//! model ← client ← cli ← bin/ipvsctl
//! ```

pub mod app;
pub mod cli;
pub mod client;
pub mod codec;
pub mod executor;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod ipvsadm;
pub mod kernel;
pub mod model;
pub mod proto;
pub mod server;
