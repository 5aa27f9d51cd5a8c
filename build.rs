//! Compiles the protocol definitions with a pure-Rust compiler, so that no `protoc` is needed, and
//! keeps the descriptor set for gRPC reflection. Only the daemon has gRPC. Sets how programs are linked.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // The kernel tests start programs thousands of times, where a page fault takes 0.1 ms. At fixed addresses,
    // programs that are not optimised need no relocations, which were 600 of ipvsd's 1600 page faults.
    if env::var("PROFILE")? == "debug" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
    #[cfg(feature = "daemon")]
    protocol()?;
    Ok(())
}

#[cfg(feature = "daemon")]
fn protocol() -> Result<(), Box<dyn Error>> {
    use std::{fs, path::PathBuf};

    use prost::Message;

    println!("cargo:rerun-if-changed=proto/ipvsd");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(["ipvsd/v1/ipvs_service.proto"], ["proto"])?;
    fs::write(out.join("ipvsd.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // In order, so that equal messages have equal bytes.
        .btree_map(".ipvsd.v1.Service.labels")
        .compile_fds(descriptors)?;
    Ok(())
}
