//! The daemon: reads its settings, opens its listeners, serves until told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::response::{IntoResponse, Response};
use clap::Parser;
use http::{HeaderMap, StatusCode};
use ipvsd::server::cli::{Cli, Command, OpenapiFormat};
use ipvsd::server::{Config, LimitReason, Server, Shutdown, log, with_limits};

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("no signal handlers")?;
        let server = Server::bind(config)?;
        let router = with_limits(faces(), &config.limits, answer);
        server.serve(router, &shutdown).await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WAIT);
    outcome
}

/// Where the HTTP and gRPC faces come together.
fn faces() -> Router {
    Router::new()
}

fn answer(reason: LimitReason, _request: &HeaderMap) -> Response {
    let status = match reason {
        LimitReason::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        LimitReason::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
        LimitReason::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        LimitReason::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    };
    status.into_response()
}

fn print_openapi(_format: OpenapiFormat) -> anyhow::Result<()> {
    anyhow::bail!("there is no HTTP interface yet")
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
