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

/// The names of the methods of [`SERVICE`], a line each: the descriptors take long to decode.
pub const METHODS: &str = include_str!(concat!(env!("OUT_DIR"), "/ipvsd.v1.methods"));

/// Full name of the service.
pub const SERVICE: &str = "ipvsd.v1.IpvsService";
