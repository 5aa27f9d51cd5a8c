//! Servers for `transport`, each in its own process, apart from the clients: ipvsd on the fake kernel,
//! which counts dumps, and a static server.

use std::{
    convert::Infallible,
    io::{Read, stdin},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{get, patch, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::future::{Ready, ready};
use http::{HeaderMap, StatusCode, header};
use ipvsd::{
    app::App,
    executor::Executor,
    kernel::{FakeKernel, fake::command},
    sampling::SamplingOptions,
    server::{
        Authenticator, Config, ListenAddress, Log, Server, Shutdown, build_router,
        configure_allocator, return_freed_memory,
    },
};
use tokio::{net::TcpListener, runtime};

use super::{grpc, subjects, table::Size};

#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_enum)]
    kind: Kind,
    /// The table of ipvsd.
    #[arg(long, default_value = "100x10")]
    size: Size,
    /// Connections in the table of ipvsd.
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// Threads that serve requests. Default: one for each processor.
    #[arg(long)]
    workers: Option<usize>,
    /// File with the JSON of the static server.
    #[arg(long)]
    json: Option<PathBuf>,
    /// File with the gRPC message of the static server.
    #[arg(long)]
    proto: Option<PathBuf>,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// ipvsd.
    Ipvsd,
    /// Axum and tonic with a static response of the same length.
    Nothing,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    // For both servers, before other threads start.
    configure_allocator();
    let mut runtime = runtime::Builder::new_multi_thread();
    if let Some(workers) = options.workers {
        runtime.worker_threads(workers);
    }
    let runtime = runtime.enable_all().build()?;
    match options.kind {
        Kind::Ipvsd => {
            let kernel = subjects::kernel(options.size.services, options.size.servers);
            let connections = options.connections;
            kernel.set_connection_source(move || Box::new((0..connections).map(connection)));
            let address = runtime.block_on(serve_ipvsd(&kernel))?;
            println!("address\t{address}");
            wait_for_end()?;
            println!("dumps\t{}", kernel.dumps(command::GET_SERVICE));
        }
        Kind::Nothing => {
            let read = |path: &Option<PathBuf>| {
                let path = path.as_ref().context("it needs --json and --proto")?;
                anyhow::Ok(Bytes::from(std::fs::read(path)?))
            };
            let router = nothing(read(&options.json)?, read(&options.proto)?);
            let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
            println!("address\t{}", listener.local_addr()?);
            // As in the daemon: Nagle's algorithm may delay a response.
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            runtime.spawn(async move { axum::serve(listener, router).await });
            wait_for_end()?;
        }
    }
    Ok(())
}

/// Serves like the daemon, with its defaults, but without a history of statistics.
async fn serve_ipvsd(kernel: &FakeKernel) -> anyhow::Result<SocketAddr> {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse()?],
        dev: true,
        // Its samples are taken by the clock: they are not a cost of what is measured.
        stats: SamplingOptions {
            history: Duration::ZERO,
            ..SamplingOptions::default()
        },
        ..Config::default()
    };
    Log::start(&config.log)?;
    let executor = Executor::start(Arc::new(kernel.clone()), config.executor_limits())?;
    let app = App::new(executor, config.app_options());
    let server = Server::bind(&config)?;
    let address = server.addresses().iter().find_map(ListenAddress::tcp);
    let shutdown = Shutdown::new();
    let budget = app.budget().clone();
    tokio::spawn(return_freed_memory(budget.clone()));
    let server = server.with_background_work(app.background_work());
    let router = build_router(app, &config, &Authenticator::load(&config)?, &shutdown);
    tokio::spawn(async move { server.serve(router, &budget, &shutdown).await });
    address.context("it listens nowhere")
}

/// A line of `/proc/net/ip_vs_conn`.
fn connection(number: u32) -> String {
    let (client, port) = (0xc612_0000 + number, 1024 + number % 50_000);
    format!("TCP {client:08X} {port:04X} 0A010001 0050 0A800001 0050 ESTABLISHED     899")
}

/// The same response to every request.
fn nothing(json: Bytes, proto: Bytes) -> Router {
    const TAG: &str = "\"nothing\"";
    let list = move |headers: HeaderMap| async move {
        let tag = [(header::ETAG, TAG)];
        if headers.get(header::IF_NONE_MATCH).is_some_and(|t| t == TAG) {
            return (StatusCode::NOT_MODIFIED, tag).into_response();
        }
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (tag, kind, json.clone()).into_response()
    };
    let answer = list.clone();
    let taking = move |headers: HeaderMap, _: Bytes| answer(headers);
    let call = move |request: Request| async move {
        let mut grpc = tonic::server::Grpc::new(grpc::Opaque);
        let response: Response = grpc
            .unary(Static(proto.clone()), request)
            .await
            .map(axum::body::Body::new);
        Ok::<_, Infallible>(response)
    };
    Router::new()
        .route("/v1/services", get(list.clone()))
        .route("/v1/services/{service}", get(list.clone()))
        .route("/v1/services/{service}/servers", post(taking.clone()))
        .route("/v1/services/{service}/servers/{server}", patch(taking))
        .route(grpc::LIST, post(call.clone()))
        .route(grpc::UPDATE, post(call))
}

#[derive(Clone)]
struct Static(Bytes);

impl tonic::server::UnaryService<Bytes> for Static {
    type Response = Bytes;
    type Future = Ready<Result<tonic::Response<Bytes>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        ready(Ok(tonic::Response::new(self.0.clone())))
    }
}

/// Waits until the parent closes standard input or ends.
fn wait_for_end() -> anyhow::Result<()> {
    let waiting = thread::spawn(|| stdin().read_to_end(&mut Vec::new()));
    waiting
        .join()
        .map_err(|_| anyhow::anyhow!("the wait has failed"))??;
    Ok(())
}
