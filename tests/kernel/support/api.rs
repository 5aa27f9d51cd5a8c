//! One client for the three interfaces, so that a test can run over each.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use ipvsd::{
    app::{App, AppOptions, Guard, ListServices, RequestContext, RequestId},
    model::{Error, Include, ServerKey, ServiceKey, ServiceView, SyncDaemonView, SyncState},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{daemon::Daemon, grpc::Grpc, http::Http};

/// How a test reaches the tested code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The use cases of `app`, called in this process.
    App,
    /// The daemon, over HTTP.
    Http,
    /// The daemon, over gRPC.
    Grpc,
}

/// A write, or a read of one resource. Bodies are those of the HTTP API.
#[derive(Clone, Debug)]
pub enum Request {
    GetService(String),
    CreateService(Value),
    ReplaceService(String, Value),
    UpdateService(String, Value),
    DeleteService(String),
    /// Deletes all services, with the right `confirm`.
    Clear,
    CreateServer(String, Value),
    ReplaceServer(String, String, Value),
    UpdateServer(String, String, Value),
    DeleteServer(String, String),
    Zero(Option<String>),
    SetTimeouts(Value),
    /// Fails if the daemon runs.
    StartSyncDaemon(String, Value),
    StopSyncDaemon(String),
    UpdateSettings(Value),
}

/// An error of any interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    pub errno: Option<String>,
    pub fields: Vec<String>,
    pub detail: String,
    pub hint: Option<String>,
}

/// A client of the kernel in the namespace of the thread that created it.
pub struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

enum Client {
    App(App),
    Http(Http),
    Grpc(Grpc),
}

impl Api {
    /// Starts the tested code in this thread's namespace.
    pub fn start(interface: Interface) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = match interface {
            Interface::App => Client::App(App::new(super::executor(), AppOptions::default())),
            Interface::Http => Client::Http(runtime.block_on(Http::start())),
            Interface::Grpc => Client::Grpc(runtime.block_on(Grpc::start())),
        };
        Self { runtime, client }
    }

    /// A client over HTTP of a running daemon.
    pub fn of(daemon: Daemon) -> Self {
        Self::with(Interface::Http, daemon)
    }

    /// A client of a running daemon, over HTTP or gRPC.
    pub fn with(interface: Interface, daemon: Daemon) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = match interface {
            Interface::App => panic!("not of a daemon"),
            Interface::Http => Client::Http(Http::to(Some(daemon))),
            Interface::Grpc => Client::Grpc(runtime.block_on(Grpc::to(daemon))),
        };
        Self { runtime, client }
    }

    /// Ends the daemon as a service manager does.
    pub fn stop(self) {
        let Client::Http(http) = self.client else {
            panic!("not HTTP");
        };
        // With its connections.
        drop(self.runtime);
        http.stop();
    }

    /// Status and body of a path, over HTTP.
    pub fn fetch(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, &[], None)
    }

    /// Status and body of a response, over HTTP.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (u16, Value) {
        let Client::Http(http) = &self.client else {
            panic!("not HTTP");
        };
        let answer = http.send(method.parse().unwrap(), path, headers, body);
        let (status, body) = self.runtime.block_on(answer);
        (status.as_u16(), body)
    }

    /// The body of the response to a JSON body, which must be a success, over HTTP.
    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [("content-type", "application/json")];
        let (status, response) = self.send(method, path, &headers, Some(body));
        assert!((200..300).contains(&status), "{method} {path}: {response}");
        response
    }

    /// Sends a write, and returns the result.
    pub fn write(&self, request: &Request) -> Result<Value, Refusal> {
        self.runtime.block_on(async {
            match &self.client {
                Client::App(app) => write(app, request).await,
                Client::Http(http) => http.write(request).await,
                Client::Grpc(grpc) => grpc.write(request).await,
            }
        })
    }

    /// All services with their servers, sorted by id. Must succeed.
    pub fn services(&self) -> Vec<Value> {
        self.try_services().unwrap()
    }

    /// All services with their servers, sorted by id.
    pub fn try_services(&self) -> Result<Vec<Value>, Refusal> {
        self.runtime.block_on(async {
            match &self.client {
                Client::App(app) => services(app).await,
                Client::Http(http) => http.list("/v1/services?include=servers,stats").await,
                Client::Grpc(grpc) => grpc.services().await,
            }
        })
    }

    /// The timeouts.
    pub fn timeouts(&self) -> Value {
        let answer = self.runtime.block_on(async {
            match &self.client {
                Client::App(app) => Ok(json!(app.timeouts(context()).await.unwrap().value)),
                Client::Http(http) => http.get("/v1/timeouts").await,
                Client::Grpc(grpc) => grpc.timeouts().await,
            }
        });
        without_etags(answer.unwrap())
    }

    /// The sync daemons.
    pub fn sync_daemons(&self) -> Vec<Value> {
        let answer = self.runtime.block_on(async {
            match &self.client {
                Client::App(app) => {
                    let daemons = app.sync_daemons(context()).await.unwrap().value;
                    Ok(daemons
                        .into_iter()
                        .map(|daemon| json!(SyncDaemonView::from(daemon)))
                        .collect::<Vec<_>>())
                }
                Client::Http(http) => http.list("/v1/sync-daemons").await,
                Client::Grpc(grpc) => grpc.sync_daemons().await,
            }
        });
        answer.unwrap().into_iter().map(without_etags).collect()
    }

    /// The use cases. Panics for the other interfaces.
    pub fn app(&self) -> (&tokio::runtime::Runtime, &App) {
        match &self.client {
            Client::App(app) => (&self.runtime, app),
            _ => panic!("not the app"),
        }
    }
}

impl Refusal {
    /// Whether the error names this field, or one below it.
    pub fn names(&self, field: &str) -> bool {
        self.fields.iter().any(|named| {
            named
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            reason: error.reason.as_str().to_owned(),
            errno: error.errno.map(|errno| errno.to_string()),
            fields: error.violations.into_iter().map(|v| v.field).collect(),
            detail: error.detail,
            hint: error.hint,
        }
    }
}

/// A context with a long deadline.
pub fn context() -> &'static RequestContext {
    static CONTEXT: LazyLock<RequestContext> =
        LazyLock::new(|| RequestContext::new(RequestId::new("test"), Duration::from_secs(3600)));
    &CONTEXT
}

/// A resource without ETags, counters and what ipvsadm does not show.
pub fn without_etags(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for name in [
            "etag",
            "changed",
            "created",
            "stats",
            "rates",
            "server_count",
            "interface_state",
        ] {
            object.remove(name);
        }
        for name in ["active", "inactive", "persistent"] {
            object.remove(&format!("{name}_connections"));
        }
        object.retain(|_, value| !value.is_null());
    }
    if let Some(servers) = value.get_mut("servers").and_then(Value::as_array_mut) {
        for server in servers {
            *server = without_etags(server.take());
        }
    }
    value
}

fn draft<T: DeserializeOwned>(body: &Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(body.clone()).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(path, error.into_inner().to_string()).into()
    })
}

fn service_key(id: &str) -> Result<ServiceKey, Refusal> {
    Ok(id.parse()?)
}

fn server_key(id: &str) -> Result<ServerKey, Refusal> {
    Ok(id.parse()?)
}

async fn services(app: &App) -> Result<Vec<Value>, Refusal> {
    let include = Include {
        servers: true,
        stats: true,
        rates: false,
    };
    let list = ListServices {
        include,
        page_size: Some(100_000),
        ..ListServices::default()
    };
    let page = app.list_services(context(), list).await?.value;
    let view = |entry| json!(ServiceView::new(entry, include));
    Ok((0..page.len())
        .filter_map(|place| page.get(place))
        .map(view)
        .collect())
}

async fn write(app: &App, request: &Request) -> Result<Value, Refusal> {
    let view = |entry: Arc<_>| json!(ServiceView::new(&entry, Include::default()));
    let nothing = Value::Null;
    Ok(match request {
        Request::GetService(id) => {
            let answer = app.service(context(), service_key(id)?, Include::default());
            view(answer.await?.value)
        }
        Request::CreateService(body) => {
            let written = app.create_service(context(), draft(body)?).await?;
            view(written.value)
        }
        Request::ReplaceService(id, body) => {
            let (key, draft) = (service_key(id)?, draft(body)?);
            let written = app.replace_service(context(), key, draft, Guard::None);
            view(written.await?.value)
        }
        Request::UpdateService(id, body) => {
            let (key, draft) = (service_key(id)?, draft(body)?);
            let written = app.update_service(context(), key, draft, Guard::None, false);
            view(written.await?.value)
        }
        Request::DeleteService(id) => {
            let deleted = app.delete_service(context(), service_key(id)?, false, Guard::None);
            json!(deleted.await?)
        }
        Request::Clear => {
            let count = services(app).await?.len() as u64;
            json!(app.clear_services(context(), Some(count)).await?.deleted)
        }
        Request::CreateServer(id, body) => {
            let written = app.create_server(context(), service_key(id)?, draft(body)?);
            written.await?;
            nothing
        }
        Request::ReplaceServer(id, server, body) => {
            let (key, server, draft) = (service_key(id)?, server_key(server)?, draft(body)?);
            let written = app.replace_server(context(), key, server, draft, Guard::None);
            written.await?;
            nothing
        }
        Request::UpdateServer(id, server, body) => {
            let (key, server, draft) = (service_key(id)?, server_key(server)?, draft(body)?);
            let written = app.update_server(context(), key, server, draft, Guard::None, false);
            written.await?;
            nothing
        }
        Request::DeleteServer(id, server) => {
            let (key, server) = (service_key(id)?, server_key(server)?);
            let deleted = app.delete_server(context(), key, server, false, Guard::None);
            json!(deleted.await?)
        }
        Request::Zero(id) => {
            let key = id.as_deref().map(service_key).transpose()?;
            app.zero(context(), key).await?;
            nothing
        }
        Request::SetTimeouts(body) => {
            let written = app.update_timeouts(context(), draft(body)?, Guard::None);
            json!(written.await?.value)
        }
        Request::StartSyncDaemon(state, body) => {
            let state: SyncState = state.parse()?;
            let started = app.start_sync_daemon(context(), state, draft(body)?, false, Guard::None);
            json!(started.await?.value)
        }
        Request::StopSyncDaemon(state) => {
            let stopped = app.stop_sync_daemon(context(), state.parse()?, false, Guard::None);
            json!(stopped.await?)
        }
        Request::UpdateSettings(body) => {
            let written = app.update_settings(context(), draft(body)?);
            json!(written.await?.value)
        }
    })
}
