//! The daemon: loads the configuration, binds the listeners, and serves until it is stopped.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use ipvsd::{
    app::App,
    executor::Executor,
    kernel::{Kernel, NetlinkKernel},
    server::{
        Config, KernelKind, Server, Shutdown,
        args::{Arguments, OpenapiFormat, Subcommand},
        build_router, configure_allocator, log,
    },
};

/// Exit status of an invalid command line or configuration; clap uses the same.
const EXIT_USAGE: u8 = 2;

/// Time that blocked threads may delay the exit.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.subcommand {
        Some(Subcommand::Openapi { format }) => print_openapi(format),
        None => match Config::load(&arguments.options) {
            Ok(config) if arguments.options.check_config => print(&config.to_toml()),
            Ok(config) => serve(&config),
            Err(error) => return fail(&format!("{:#}", anyhow::Error::from(error)), EXIT_USAGE),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("ipvsd: {error:#}"), 1),
    }
}

fn serve(config: &Config) -> anyhow::Result<()> {
    log::init(&config.log)?;
    configure_allocator();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("cannot install the signal handlers")?;
        let app = start_app(config)?;
        let server = Server::bind(config)?;
        if let Err(error) = app.ready().await {
            tracing::warn!(%error, hint = error.hint, "IPVS is unavailable; serving anyway");
        }
        let router = build_router(app, config, &shutdown);
        server.serve(router, &shutdown).await;
        Ok(())
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    outcome
}

/// Starts the executor on the configured kernel, and the application layer above it.
fn start_app(config: &Config) -> anyhow::Result<App> {
    let executor = Executor::start(kernel(config)?, config.limits.executor_limits())
        .context("cannot start the executor's thread")?;
    Ok(App::new(executor, config.app_options()))
}

/// The configured kernel.
fn kernel(config: &Config) -> anyhow::Result<Arc<dyn Kernel>> {
    match config.kernel {
        KernelKind::Netlink => Ok(Arc::new(NetlinkKernel::new(config.netns.as_deref()))),
        #[cfg(feature = "fake-kernel")]
        KernelKind::Fake => Ok(Arc::new(ipvsd::kernel::FakeKernel::new())),
        #[cfg(not(feature = "fake-kernel"))]
        KernelKind::Fake => {
            anyhow::bail!("--kernel fake requires a build with the Cargo feature fake-kernel")
        }
    }
}

fn print_openapi(format: OpenapiFormat) -> anyhow::Result<()> {
    let document = ipvsd::http::openapi();
    print(&match format {
        OpenapiFormat::Json => document.to_pretty_json()? + "\n",
        OpenapiFormat::Yaml => document.to_yaml()?,
    })
}

/// Prints to standard output. A closed pipe (`| head`) is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints an error to standard error and returns the exit status.
fn fail(text: &str, status: u8) -> ExitCode {
    // If standard error is closed, only the exit status reports the failure.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(status)
}
