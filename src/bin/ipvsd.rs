//! The daemon: reads its settings, opens its listeners, serves until told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use ipvsd::app::App;
use ipvsd::executor::Executor;
use ipvsd::kernel::{Kernel, NetlinkKernel};
use ipvsd::server::args::{Cli, Command, OpenapiFormat};
use ipvsd::server::{Config, KernelKind, Server, Shutdown, build_router, keep_freed_memory, log};

/// Exit code of a wrong command line or configuration, as clap's.
const USAGE: u8 = 2;

/// How long threads that are stuck may delay the exit.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Openapi { format }) => print_openapi(format),
        None => match Config::load(&cli.options) {
            Ok(config) if cli.options.check_config => print(&config.to_toml()),
            Ok(config) => serve(&config),
            Err(error) => return complain(&format!("{:#}", anyhow::Error::from(error)), USAGE),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("ipvsd: {error:#}"), 1),
    }
}

fn serve(config: &Config) -> anyhow::Result<()> {
    log::start(&config.log)?;
    keep_freed_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("no signal handlers")?;
        let app = app(config)?;
        let server = Server::bind(config)?;
        if let Err(error) = app.ready().await {
            tracing::warn!(%error, hint = error.hint, "IPVS does not answer yet; serving all the same");
        }
        let router = build_router(app, &config.limits, &shutdown);
        server.serve(router, &shutdown).await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WAIT);
    outcome
}

/// The kernel that the configuration names, and the use cases over it.
fn app(config: &Config) -> anyhow::Result<App> {
    let kernel: Arc<dyn Kernel> = match config.kernel {
        KernelKind::Netlink => Arc::new(NetlinkKernel::new(config.netns.as_deref())),
        #[cfg(feature = "fake-kernel")]
        KernelKind::Fake => Arc::new(ipvsd::kernel::FakeKernel::new()),
        #[cfg(not(feature = "fake-kernel"))]
        KernelKind::Fake => anyhow::bail!(
            "kernel: \"fake\" is not available in this build (Cargo feature fake-kernel)"
        ),
    };
    let executor = Executor::start(kernel, config.limits.executor_limits()).with_context(|| {
        let namespace = config.netns.as_deref().unwrap_or("this");
        format!(
            "the network namespace {namespace} cannot be entered (ip netns list; CAP_SYS_ADMIN)"
        )
    })?;
    Ok(App::new(executor, config.app_options()))
}

fn print_openapi(format: OpenapiFormat) -> anyhow::Result<()> {
    let document = ipvsd::http::openapi();
    print(&match format {
        OpenapiFormat::Json => document.to_pretty_json()? + "\n",
        OpenapiFormat::Yaml => document.to_yaml()?,
    })
}

/// Prints to standard output; a reader that has gone (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Where standard error is closed, the code has to say it all.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}
