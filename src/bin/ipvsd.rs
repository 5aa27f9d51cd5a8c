//! The daemon: loads the configuration, binds the listeners, and serves until it is stopped.

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Parser;
use ipvsd::{
    app::App,
    audit::AuditLog,
    executor::Executor,
    kernel::{Kernel, NetlinkKernel, use_permitted_capability},
    server::{
        Authenticator, Config, InheritedSockets, KernelKind, Log, Phase, Reloader, Server,
        ServiceManager, Shutdown, StateError, Traces, add_metrics,
        args::{Arguments, OpenapiFormat, ServeOptions, StateOptions, Subcommand},
        build_router, configure_allocator, handle_signals, issue, return_freed_memory, run_state,
        use_built_in_name_service, write_completion, write_manual,
    },
};
use tokio::runtime::{Builder, Runtime};

/// Exit status of an invalid command line or configuration; clap uses the same.
const EXIT_USAGE: u8 = 2;

/// Maximum number of threads that serve requests. The kernel executes one at a time; more threads would
/// not make the daemon faster, and would exceed TasksMax= of its systemd unit on a large machine.
const MAX_WORKERS: usize = 32;

/// Time that blocked threads may delay the exit.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long each work at the end waits for the kernel.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that the stored state may take to be written and closed.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let Arguments {
        mut options,
        subcommand,
    } = Arguments::parse();
    if cfg!(target_feature = "crt-static") {
        use_built_in_name_service();
    }
    // Before the first thread is started.
    let sockets = match InheritedSockets::take() {
        Ok(sockets) => sockets,
        Err(error) => return fail(&format!("ipvsd: {error}"), 1),
    };
    options.sockets = sockets.addresses();
    let outcome = match subcommand {
        Some(Subcommand::Openapi { format }) => print_openapi(format),
        Some(Subcommand::State(options)) => state(&options),
        Some(Subcommand::Cert(options)) => issue(&options)
            .map_err(anyhow::Error::from)
            .and_then(|report| print(&report)),
        Some(Subcommand::Man { page }) => write_to_stdout(|out| write_manual(page, out)),
        Some(Subcommand::Completion { shell }) => {
            write_to_stdout(|out| write_completion(shell, out))
        }
        None => match Config::load(&options) {
            Ok(config) if options.check_config => match check_files(&config) {
                Ok(warnings) => print_checked(&config, &warnings),
                Err(error) => return fail(&format!("{error:#}"), EXIT_USAGE),
            },
            Ok(config) => return serve(options, config, sockets),
            Err(error) => return fail(&format!("{:#}", anyhow::Error::from(error)), EXIT_USAGE),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("ipvsd: {error:#}"), 1),
    }
}

/// Serves, and writes errors by way of the log, because standard error may block.
fn serve(options: ServeOptions, config: Config, sockets: InheritedSockets) -> ExitCode {
    configure_allocator();
    let log = match Log::start(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(&format!("ipvsd: {:#}", anyhow::Error::from(error)), 1),
    };
    if let Err(error) = use_permitted_capability() {
        tracing::warn!(%error, "cannot use the capabilities of the program's file");
    }
    // The runtime panics if the system has no threads left. The log has the message.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(options, config, sockets, &log)))
        .unwrap_or_else(|_| Err(anyhow!("internal error")));
    let status = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&format!("ipvsd: {error:#}"));
            ExitCode::FAILURE
        }
    };
    log.finish();
    status
}

fn run(
    options: ServeOptions,
    config: Config,
    sockets: InheritedSockets,
    log: &Log,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let mut kept = None;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let reloads = handle_signals(&shutdown).context("cannot install the signal handlers")?;
        let (app, authenticator, server, traces) = tokio::select! {
            () = shutdown.reached(Phase::Draining) => return Ok(()),
            started = start(&config, sockets) => started?,
        };
        let (trail, _) = kept
            .insert((app.audit_log().clone(), app.store().clone()))
            .clone();
        let budget = app.budget().clone();
        let last_work = last_work(app.clone(), &config);
        tokio::spawn(return_freed_memory(budget.clone()));
        let server = server.with_background_work(app.background_work());
        let server = server.with_audit(&trail);
        let router = build_router(app.clone(), &config, &authenticator, &shutdown);
        tokio::spawn(recover(app.clone(), &config));
        if let Some(path) = config.policy.clone() {
            tokio::spawn(authenticator.clone().watch(path));
        }
        let (service, tls) = (server.service(), server.tls());
        add_metrics(app.metrics(), log, tls.clone());
        notify_service_manager(app.clone(), &server, &shutdown);
        let shutdown_handle = shutdown.clone();
        let reloader = Reloader {
            options,
            running: config,
            log: log.clone(),
            audit: trail,
            authenticator: authenticator.clone(),
            replace: Box::new(move |config| {
                let router = build_router(app.clone(), config, &authenticator, &shutdown_handle);
                service.replace(router, &config.limits);
            }),
            tls,
            service_manager: ServiceManager::of_process(),
        };
        tokio::spawn(reloader.run(reloads));
        server.serve(router, &budget, &shutdown).await;
        last_work.await;
        finish(traces).await
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    // Last: writes that the end has interrupted are stored and recorded, too.
    if let Some((audit, store)) = kept {
        if !store.close(STORE_CLOSE_TIMEOUT) {
            tracing::warn!(
                "the stored state is not closed; the next start verifies and repairs it"
            );
        }
        audit.finish();
    }
    outcome
}

/// The threads that serve requests.
fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        // Otherwise the runtime reads TOKIO_WORKER_THREADS, and panics if that is not a number.
        .worker_threads(available_parallelism().map_or(1, |cpus| cpus.get().min(MAX_WORKERS)))
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

/// Notifies the service manager, if there is one, that the daemon serves, and of what becomes of it.
fn notify_service_manager(app: App, server: &Server, shutdown: &Shutdown) {
    let Some(manager) = ServiceManager::of_process() else {
        return;
    };
    manager.ready();
    tokio::spawn(manager.announce_end(shutdown.clone()));
    let addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    let serving = format!("Serving on {}", addresses.join(", "));
    tokio::spawn(async move {
        let progress = || app.progress();
        let status = || async {
            match app.ready().await {
                Ok(()) => serving.clone(),
                Err(error) => format!("IPVS is unavailable: {}", error.detail),
            }
        };
        manager.keep_informed(progress, status).await;
    });
}

/// Exports the traces that wait, while the runtime runs, by which the collector is reached.
async fn finish(traces: Traces) -> anyhow::Result<()> {
    Ok(tokio::task::spawn_blocking(move || traces.finish()).await?)
}

/// What is to be done at the end of the daemon: a snapshot, if any are taken, and the weights of servers whose checks
/// have failed, if they are to be restored.
fn last_work(app: App, config: &Config) -> impl Future<Output = ()> + use<> {
    let takes_snapshots = config.tables.snapshot_interval > Duration::ZERO;
    let restores_weights = config.health.restore_weights_at_stop;
    async move {
        if restores_weights {
            let released =
                tokio::time::timeout(LAST_TIMEOUT, app.release_failed_servers(LAST_TIMEOUT)).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!(
                    ?released,
                    "not all servers whose checks have failed have their weight"
                );
            }
        }
        if takes_snapshots && let Err(error) = app.take_snapshot(LAST_TIMEOUT).await {
            tracing::warn!(%error, "no snapshot at the end; the last one is kept");
        }
    }
}

/// Recovers the declared tables, and keeps those that ask for it as they are declared.
fn recover(app: App, config: &Config) -> impl Future<Output = ()> + use<> {
    let (tables, timeout) = (config.tables, config.limits.request_timeout);
    async move {
        // Before the tables, so that servers which are created again are held from the begin.
        app.resume_holds();
        let recovery = app.recover_tables(tables.interrupted, tables.restore_on_start, timeout);
        recovery.await;
        // Afterwards, so that no record of a server is dropped that is created again.
        app.check_servers();
        let snapshots = async {
            if tables.snapshot_interval > Duration::ZERO {
                app.keep_snapshots(tables.snapshot_interval, timeout).await;
            }
        };
        tokio::join!(app.reconcile_tables(timeout), snapshots);
    }
}

/// States in one line each what is exposed without a credential or without encryption.
fn warn_of_open_access(config: &Config) {
    if config.dev {
        tracing::warn!("--dev: every process of this machine has full control of IPVS");
    }
    if config.insecure {
        match config.policy {
            None => tracing::warn!(
                "--insecure: anyone who can connect has full control of IPVS, and anyone on the way \
                 can read and change requests"
            ),
            Some(_) => tracing::warn!(
                "--insecure: anyone on the way can read the tokens of clients, and change requests"
            ),
        }
    }
}

/// Starts the application, reads the policy, and binds the listeners.
async fn start(
    config: &Config,
    sockets: InheritedSockets,
) -> anyhow::Result<(App, Arc<Authenticator>, Server, Traces)> {
    // Signals are handled meanwhile: a namespace or a directory may be on a file system that does
    // not respond.
    let owned = config.clone();
    let start = move || {
        let authenticator = Authenticator::load(&owned)?;
        let traces = Traces::start(&owned.tracing)?;
        let app = start_app(&owned)?.with_tracer(traces.tracer());
        anyhow::Ok((
            app,
            authenticator,
            Server::inherit(&owned, sockets)?,
            traces,
        ))
    };
    let (app, authenticator, server, traces) = tokio::task::spawn_blocking(start).await??;
    if let Err(error) = app.ready().await {
        tracing::warn!(%error, hint = error.hint, "IPVS is unavailable; serving anyway");
    }
    warn_of_open_access(config);
    traces.add_metrics(app.metrics());
    Ok((app, authenticator, server, traces))
}

/// Starts the executor on the configured kernel, and the application layer above it.
fn start_app(config: &Config) -> anyhow::Result<App> {
    let executor = Executor::start(kernel(config)?, config.executor_limits())
        .context("cannot start the executor's thread")?;
    let audit = AuditLog::start(&config.audit.options())?;
    let store = config
        .open_store()
        .map_err(|error| anyhow!("{}", error.report()))?;
    let app = App::with_audit(executor, config.app_options(), audit);
    Ok(app.with_store(store)?)
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

/// Checks the files that the configuration names. Returns what should be changed.
fn check_files(config: &Config) -> anyhow::Result<Vec<String>> {
    Authenticator::load(config)?;
    config.tracing.check_files()?;
    let state = config.check_store();
    let state = state.map_err(|error| anyhow!("{}", error.report()))?;
    Ok(config.check_files()?.into_iter().chain(state).collect())
}

/// Executes `ipvsd state`. A closed pipe (`| head`) is not an error.
fn state(options: &StateOptions) -> anyhow::Result<()> {
    // The error has the message of a panic that damage of the file has caused.
    std::panic::set_hook(Box::new(|_| {}));
    match run_state(options, &mut io::stdout().lock()) {
        Err(StateError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Prints a configuration, and on standard error what should be changed.
fn print_checked(config: &Config, warnings: &[String]) -> anyhow::Result<()> {
    for warning in warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    print(&config.to_toml())
}

fn print_openapi(format: OpenapiFormat) -> anyhow::Result<()> {
    let document = ipvsd::http::openapi();
    print(&match format {
        OpenapiFormat::Json => document.to_pretty_json()? + "\n",
        OpenapiFormat::Yaml => document.to_yaml()?,
    })
}

/// Prints to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    write_to_stdout(|out| out.write_all(text.as_bytes()))
}

/// Writes a text to standard output as a whole. A closed pipe (`| head`) is not an error.
fn write_to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    write(&mut text)?;
    match io::stdout().write_all(&text) {
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
