//! The gRPC messages, the client and the server skeleton, generated from `proto/`; used by the
//! gRPC face and by the remote client.

/// Package `ipvsd.v1`. Its reference is the comments of the definitions in `proto/ipvsd/v1`.
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

/// The full name of the service.
pub const SERVICE: &str = "ipvsd.v1.IpvsService";
