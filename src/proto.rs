//! gRPC messages, client and server skeleton, generated from `proto/`.

/// Package `ipvsd.v1`. The comments in `proto/ipvsd/v1` are its reference.
#[allow(
    missing_docs,
    unused_qualifications,
    rust_2018_idioms,
    rustdoc::all,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("ipvsd.v1");
}

/// The definitions with their comments, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipvsd.v1.bin"));

/// Full name of the service.
pub const SERVICE: &str = "ipvsd.v1.IpvsService";
