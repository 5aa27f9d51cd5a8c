//! One client for the three ways in, so that the same test runs over each.

use std::{sync::Arc, time::Duration};

use ipvsd::{
    director::{Call, Director, DirectorOptions, Guard, ListServices},
    model::{Error, Include, ServerKey, ServiceKey, ServiceView, SyncDaemonView, SyncState},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{daemon::Daemon, grpc::Grpc, http::Http};

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The use cases, called in this process.
    Director,
    /// The daemon, over HTTP.
    Http,
    /// The daemon, over gRPC.
    Grpc,
}

/// A write, or a look at one thing. Bodies are as in the HTTP interface.
#[derive(Clone, Debug)]
pub enum Request {
    GetService(String),
    CreateService(Value),
    PutService(String, Value),
    UpdateService(String, Value),
    DeleteService(String),
    /// With the right number of services.
    Clear,
    CreateServer(String, Value),
    PutServer(String, String, Value),
    UpdateServer(String, String, Value),
    DeleteServer(String, String),
    Zero(Option<String>),
    SetTimeouts(Value),
    /// One that runs already is refused.
    StartSyncDaemon(String, Value),
    StopSyncDaemon(String),
    UpdateSettings(Value),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    pub errno: Option<String>,
    pub fields: Vec<String>,
    pub detail: String,
    pub hint: Option<String>,
}

/// A client of the kernel in the namespace of the thread that made it.
pub struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

enum Client {
    Director(Director),
    Http(Http),
    Grpc(Grpc),
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Api {
    /// Starts what it takes, in this thread's namespace.
    pub fn start(way: Way) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = match way {
            Way::Director => {
                Client::Director(Director::new(super::executor(), DirectorOptions::default()))
            }
            Way::Http => Client::Http(runtime.block_on(Http::start())),
            Way::Grpc => Client::Grpc(runtime.block_on(Grpc::start())),
        };
        Self { runtime, client }
    }

    /// A client over HTTP of a daemon that was started otherwise.
    pub fn of(daemon: Daemon) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = Client::Http(Http::to(Some(daemon)));
        Self { runtime, client }
    }

    /// Status and body of a path, over HTTP.
    pub fn fetch(&self, path: &str) -> (u16, Value) {
        let Client::Http(http) = &self.client else {
            panic!("not HTTP");
        };
        let answer = http.send(http::Method::GET, path, &[], None);
        let (status, body) = self.runtime.block_on(answer);
        (status.as_u16(), body)
    }

    /// Makes a change; what it answers.
    pub fn write(&self, request: &Request) -> Result<Value, Refusal> {
        self.runtime.block_on(async {
            match &self.client {
                Client::Director(director) => write(director, request).await,
                Client::Http(http) => http.write(request).await,
                Client::Grpc(grpc) => grpc.write(request).await,
            }
        })
    }

    /// All services with their servers, by id.
    pub fn services(&self) -> Vec<Value> {
        self.try_services().unwrap()
    }

    /// All services with their servers, by id, or why not.
    pub fn try_services(&self) -> Result<Vec<Value>, Refusal> {
        self.runtime.block_on(async {
            match &self.client {
                Client::Director(director) => services(director).await,
                Client::Http(http) => http.list("/v1/services?include=servers,stats").await,
                Client::Grpc(grpc) => grpc.services().await,
            }
        })
    }

    /// The timeouts.
    pub fn timeouts(&self) -> Value {
        let answer = self.runtime.block_on(async {
            match &self.client {
                Client::Director(director) => {
                    Ok(json!(director.timeouts(call()).await.unwrap().value))
                }
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
                Client::Director(director) => {
                    let daemons = director.sync_daemons(call()).await.unwrap().value;
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

    /// The director, where this is one.
    pub fn director(&self) -> (&tokio::runtime::Runtime, &Director) {
        match &self.client {
            Client::Director(director) => (&self.runtime, director),
            _ => panic!("not the director"),
        }
    }
}

impl Refusal {
    /// Whether it names this field, or one below it.
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

/// A call without hurry.
pub fn call() -> Call {
    Call::within(PATIENCE)
}

/// The same without the fingerprints and what is counted.
pub fn without_etags(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        for name in [
            "etag",
            "changed",
            "created",
            "stats",
            "rates",
            "server_count",
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

async fn services(director: &Director) -> Result<Vec<Value>, Refusal> {
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
    let page = director.list_services(list, call()).await?.value;
    let view = |entry| json!(ServiceView::new(entry, include));
    Ok((0..page.len())
        .filter_map(|place| page.get(place))
        .map(view)
        .collect())
}

async fn write(director: &Director, request: &Request) -> Result<Value, Refusal> {
    let view = |entry: Arc<_>| json!(ServiceView::new(&entry, Include::default()));
    let nothing = Value::Null;
    Ok(match request {
        Request::GetService(id) => {
            let answer = director.service(service_key(id)?, Include::default(), call());
            view(answer.await?.value)
        }
        Request::CreateService(body) => {
            let written = director.create_service(draft(body)?, call()).await?;
            view(written.value)
        }
        Request::PutService(id, body) => {
            let (key, draft) = (service_key(id)?, draft(body)?);
            let written = director.put_service(key, draft, Guard::None, call());
            view(written.await?.value)
        }
        Request::UpdateService(id, body) => {
            let (key, draft) = (service_key(id)?, draft(body)?);
            let written = director.update_service(key, draft, Guard::None, false, call());
            view(written.await?.value)
        }
        Request::DeleteService(id) => {
            let deleted = director.delete_service(service_key(id)?, false, Guard::None, call());
            json!(deleted.await?)
        }
        Request::Clear => {
            let count = services(director).await?.len() as u64;
            json!(director.clear_services(Some(count), call()).await?)
        }
        Request::CreateServer(id, body) => {
            let written = director.create_server(service_key(id)?, draft(body)?, call());
            written.await?;
            nothing
        }
        Request::PutServer(id, server, body) => {
            let (key, server, draft) = (service_key(id)?, server_key(server)?, draft(body)?);
            let written = director.put_server(key, server, draft, Guard::None, call());
            written.await?;
            nothing
        }
        Request::UpdateServer(id, server, body) => {
            let (key, server, draft) = (service_key(id)?, server_key(server)?, draft(body)?);
            let written = director.update_server(key, server, draft, Guard::None, false, call());
            written.await?;
            nothing
        }
        Request::DeleteServer(id, server) => {
            let (key, server) = (service_key(id)?, server_key(server)?);
            let deleted = director.delete_server(key, server, false, Guard::None, call());
            json!(deleted.await?)
        }
        Request::Zero(id) => {
            let key = id.as_deref().map(service_key).transpose()?;
            director.zero(key, call()).await?;
            nothing
        }
        Request::SetTimeouts(body) => {
            let written = director.update_timeouts(draft(body)?, Guard::None, call());
            json!(written.await?.value)
        }
        Request::StartSyncDaemon(state, body) => {
            let state: SyncState = state.parse()?;
            let started =
                director.start_sync_daemon(state, draft(body)?, false, Guard::None, call());
            json!(started.await?.value)
        }
        Request::StopSyncDaemon(state) => {
            let stopped = director.stop_sync_daemon(state.parse()?, false, Guard::None, call());
            json!(stopped.await?)
        }
        Request::UpdateSettings(body) => {
            let written = director.update_settings(draft(body)?, call());
            json!(written.await?.value)
        }
    })
}
