//! Compiles the protocol definitions with a pure-Rust compiler, so that no `protoc` is needed, and
//! keeps the descriptor set for gRPC reflection. Only the daemon has gRPC.

#[cfg(feature = "daemon")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::{env, fs, path::PathBuf};

    use prost::Message;

    println!("cargo:rerun-if-changed=proto/ipvsd");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(["ipvsd/v1/ipvs_service.proto"], ["proto"])?;
    fs::write(out.join("ipvsd.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

#[cfg(not(feature = "daemon"))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
