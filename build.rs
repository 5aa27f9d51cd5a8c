//! Compiles the protocol definitions with a pure-Rust compiler, so that no `protoc` is needed, and
//! keeps the descriptor set for gRPC reflection. Only the daemon has gRPC. Sets how programs are linked, and what they
//! say of their version.

use std::{env, error::Error};

#[cfg(any(feature = "daemon", feature = "client"))]
#[path = "build/version.rs"]
mod version;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // The kernel tests start programs thousands of times, where a page fault takes 0.1 ms. At fixed addresses,
    // programs that are not optimised need no relocations, which were 600 of ipvsd's 1600 page faults.
    if env::var("PROFILE")? == "debug" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
    #[cfg(any(feature = "daemon", feature = "client"))]
    version()?;
    #[cfg(feature = "daemon")]
    protocol()?;
    #[cfg(feature = "dashboard")]
    dashboard()?;
    Ok(())
}

/// The version, the commit and its date. Only an optimised build asks git, and then depends on each commit.
#[cfg(any(feature = "daemon", feature = "client"))]
fn version() -> Result<(), Box<dyn Error>> {
    use std::path::PathBuf;

    use version::{Origin, watched};

    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-env-changed=SOURCE_COMMIT");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let mut origin = Origin::of_environment();
    if origin.commit.is_none() && env::var("PROFILE")? == "release" {
        let directory = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
        origin = origin.or(Origin::of_work_tree(&directory));
        for path in watched(&directory) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    for (name, value) in origin.variables()? {
        println!("cargo:rustc-env={name}={value}");
    }
    Ok(())
}

/// Compresses the files of the dashboard, and writes the table of them: names and compressed bytes.
#[cfg(feature = "dashboard")]
fn dashboard() -> Result<(), Box<dyn Error>> {
    use std::{fmt::Write as _, fs, io::Write as _, path::PathBuf};

    use flate2::{Compression, write::GzEncoder};

    println!("cargo:rerun-if-changed=web/dist");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut names = Vec::new();
    for entry in fs::read_dir("web/dist")? {
        let name = entry?.file_name();
        names.push(name.into_string().map_err(|_| "web/dist: invalid name")?);
    }
    names.sort();
    let mut table = String::from("&[\n");
    for name in names.iter().filter(|name| *name != "sources.sha256") {
        let path = out.join(format!("{name}.gz"));
        let mut encoder = GzEncoder::new(fs::File::create(&path)?, Compression::best());
        encoder.write_all(&fs::read(format!("web/dist/{name}"))?)?;
        encoder.finish()?;
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    table.push_str("]\n");
    fs::write(out.join("dashboard.rs"), table)?;
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
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    let methods: Vec<_> = services
        .flat_map(|service| &service.method)
        .map(|method| method.name())
        .collect();
    fs::write(out.join("ipvsd.v1.methods"), methods.join("\n"))?;
    tonic_prost_build::configure()
        // In order, so that equal messages have equal bytes.
        .btree_map(".ipvsd.v1.Service.labels")
        .compile_fds(descriptors)?;
    Ok(())
}
