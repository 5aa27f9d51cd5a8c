//! Access control: every operation of both protocols, with every role and without a credential.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use http::{Method, Request};
use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    identity::{Accounts, Policy, Role},
    kernel::{
        FakeKernel,
        fake::{Destination, Service, ServiceId},
    },
    model::Sha256,
    proto::v1 as pb,
    server::{Authenticator, Config, Shutdown, build_router},
};
use prost::Message;
use tower::ServiceExt;

use super::harness::test_config;

const DOCUMENT: &str = include_str!("../../../docs/security.md");
pub const SERVICE: &str = "tcp-192.0.2.1-80";
pub const SERVER: &str = "192.168.10.1-80";
/// Stand for the ids of the drain and of the ramp that a daemon has, which are as long.
const DRAIN: &str = "000000000000000d";
const RAMP: &str = "000000000000000e";
/// Words in the names of operations on drains and ramps.
pub const HOLDS: [&str; 4] = ["drains", "ramps", "Drain", "Ramp"];
const EDIT_WEIGHT: &str = "-e -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 5\n";

/// A machine without accounts.
pub struct NoAccounts;

impl Accounts for NoAccounts {
    fn user(&self, _: &str) -> Option<u32> {
        None
    }

    fn group(&self, _: &str) -> Option<u32> {
        None
    }

    fn own_user(&self) -> u32 {
        0
    }
}

/// A router of the daemon that requires a credential.
pub struct Guarded {
    pub router: axum::Router,
    pub authenticator: Arc<Authenticator>,
    pub kernel: FakeKernel,
    pub shutdown: Shutdown,
    /// The ids of its drain and of its ramp, once it has them.
    holds: OnceLock<[String; 2]>,
}

/// The policy with a token for each role, whose text is the name of the role with the prefix.
pub fn policy_of_roles(more: &str) -> Policy {
    let entry = |role: Role| {
        let hash = Sha256::of(token(role).as_bytes());
        format!("[[token]]\nname = '{role}'\nsha256 = '{hash}'\nrole = '{role}'\n{more}\n")
    };
    Policy::parse(&Role::ALL.map(entry).concat(), &NoAccounts).unwrap()
}

pub fn token(role: Role) -> String {
    format!("ipvsd_{role}")
}

/// A daemon whose table has one service with one server.
pub fn guarded(policy: Policy) -> Guarded {
    guarded_with(policy, ExecutorLimits::default())
}

pub fn guarded_with(policy: Policy, limits: ExecutorLimits) -> Guarded {
    let kernel = FakeKernel::new();
    let executor = Executor::start(Arc::new(kernel.clone()), limits).unwrap();
    let app = App::new(executor, AppOptions::default());
    let config = Config {
        dev: false,
        ..test_config()
    };
    let authenticator = Authenticator::new(&config, policy);
    let shutdown = Shutdown::new();
    let router = build_router(app, &config, &authenticator, &shutdown);
    Guarded {
        router,
        authenticator,
        kernel,
        shutdown,
        holds: OnceLock::new(),
    }
}

/// What a request is refused with, if it is: `(401, "UNAUTHENTICATED")`.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Admitted,
    Unauthenticated,
    Denied,
}

#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub media_type: &'static str,
    pub body: Vec<u8>,
}

impl Guarded {
    /// Makes one service with one server and a table, and starts a sync daemon if it is to run.
    async fn seed(&self, with_sync_daemon: bool) {
        let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
        assert!(self.kernel.add_service(Service::new(id)));
        let destination = Destination::new("192.168.10.1:80".parse().unwrap());
        assert!(self.kernel.add_destination(id, destination));
        let table = http_call("PUT", "/v1/tables/k8s", r#"{"services": []}"#);
        let (status, ..) = self.send(&table, Some(&token(Role::Admin))).await;
        assert_eq!(status, 200);
        let path = format!("/v1/services/{SERVICE}");
        let check = http_call("PATCH", &path, r#"{"health_check": {"type": "external"}}"#);
        let (status, ..) = self.send(&check, Some(&token(Role::Admin))).await;
        assert_eq!(status, 200);
        if !with_sync_daemon {
            return;
        }
        let path = "/v1/sync-daemons/master";
        let start = http_call("PUT", path, r#"{"interface": "eth0", "sync_id": 1}"#);
        let (status, ..) = self.send(&start, Some(&token(Role::Admin))).await;
        assert_eq!(status, 201);
    }

    /// Drains another server of the service, and ramps the weight of a third.
    async fn seed_holds(&self) {
        let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
        for address in ["192.168.10.8:80", "192.168.10.9:80"] {
            let destination = Destination::new(address.parse().unwrap());
            assert!(self.kernel.add_destination(id, destination));
        }
        let drain = r#"{"server": "192.168.10.8"}"#;
        let ramp = format!(
            r#"{{"service": "{SERVICE}", "server": "192.168.10.9-80", "to": 9, "over_seconds": 1000}}"#
        );
        let calls = [
            http_call("POST", "/v1/drains", drain),
            http_call("POST", "/v1/ramps", &ramp),
        ];
        let mut ids = Vec::new();
        for call in calls {
            let (status, _, body) = self.send(&call, Some(&token(Role::Admin))).await;
            assert_eq!(status, 201);
            let hold: serde_json::Value = serde_json::from_slice(&body).unwrap();
            ids.push(hold["id"].as_str().unwrap().to_owned());
        }
        self.holds.set(ids.try_into().unwrap()).unwrap();
    }

    /// A request with the ids of the drain and of the ramp.
    fn with_ids(&self, call: &Call) -> Call {
        let mut call = call.clone();
        for (stand_in, id) in [DRAIN, RAMP]
            .iter()
            .zip(self.holds.get().into_iter().flatten())
        {
            call.path = call.path.replace(stand_in, id);
            let mut places = call.body.windows(id.len());
            if let Some(place) = places.position(|bytes| bytes == stand_in.as_bytes()) {
                call.body[place..][..id.len()].copy_from_slice(id.as_bytes());
            }
        }
        call
    }

    pub async fn send(&self, call: &Call, token: Option<&str>) -> (u16, http::HeaderMap, Vec<u8>) {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header("host", "localhost")
            .header("x-request-id", "test")
            .header("content-type", call.media_type);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::from(call.body.clone()));
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let (head, mut body) = response.into_parts();
        // A mutated path can be that of a watch, too.
        let is_events = head.headers.get("content-type");
        let is_events = is_events.is_some_and(|kind| kind == "text/event-stream");
        let streams = ["IpvsService/Watch", "IpvsService/StreamStats"];
        let is_stream = streams.iter().any(|path| call.path.contains(path));
        let is_watch = is_events || is_stream;
        let body = match is_watch && head.status == 200 {
            // It has no end.
            true => {
                let frame = body.frame().await.map(Result::unwrap);
                let data = frame.and_then(|frame| frame.into_data().ok());
                data.unwrap_or_default().to_vec()
            }
            false => body.collect().await.unwrap().to_bytes().to_vec(),
        };
        (head.status.as_u16(), head.headers, body)
    }

    async fn verdict(&self, call: &Call, token: Option<&str>) -> Verdict {
        let call = &self.with_ids(call);
        let (status, headers, body) = self.send(call, token).await;
        // Of grpc-web: in the head, or in the last frame of the body.
        let text = String::from_utf8_lossy(&body);
        let in_head = headers
            .get("grpc-status")
            .map(|code| code.to_str().unwrap());
        let in_body = text.split("grpc-status:").nth(1);
        let code = in_head.or(in_body.and_then(|rest| rest.split("\r\n").next()));
        match (status, code.map(str::trim)) {
            (401, _) | (_, Some("16")) => {
                assert!(code.is_some() || headers["www-authenticate"] == "Bearer realm=\"ipvsd\"");
                Verdict::Unauthenticated
            }
            (403, _) | (_, Some("7")) => Verdict::Denied,
            (400..=499, _) | (_, Some("3" | "5" | "6" | "9")) => {
                panic!("{} is no valid request: {status} {text}", call.path)
            }
            _ => Verdict::Admitted,
        }
    }
}

fn http_call(method: &str, path: &str, body: &str) -> Call {
    let path = path
        .replace("{service}", SERVICE)
        .replace("{server}", SERVER)
        .replace("{state}", "master")
        .replace("{owner}", "k8s")
        .replace("drains/{id}", &format!("drains/{DRAIN}"))
        .replace("ramps/{id}", &format!("ramps/{RAMP}"))
        .replace("{reason}", "INTERNAL");
    Call {
        method: method.parse().unwrap(),
        path,
        media_type: "application/json",
        body: body.into(),
    }
}

/// A batch that updates the server.
fn batch_call(server: &str) -> Call {
    let body = r#"{"operations": [{"op": "update_server", "service": "SERVICE", "server": "SERVER",
                   "value": {"server": VALUE}}]}"#;
    let body = body.replace("SERVICE", SERVICE).replace("SERVER", SERVER);
    http_call("POST", "/v1/batch", &body.replace("VALUE", server))
}

fn grpc_call(method: &str, message: Vec<u8>) -> Call {
    Call {
        method: Method::POST,
        path: format!("/ipvsd.v1.IpvsService/{method}"),
        media_type: "application/grpc-web+proto",
        body: framed(&message),
    }
}

/// A message in its frame.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The request of an empty table.
fn apply_call(adopt: Option<&str>) -> Call {
    use pb::apply_table_request::Part;
    let options = pb::ApplyTableOptions {
        owner: "k8s".to_owned(),
        adopt: adopt.map(str::to_owned),
        ..Default::default()
    };
    let parts = [
        Part::Options(options),
        Part::Services(pb::TableServices::default()),
    ];
    let parts = parts.map(|part| pb::ApplyTableRequest { part: Some(part) });
    Call {
        body: parts
            .iter()
            .flat_map(|part| framed(&part.encode_to_vec()))
            .collect(),
        ..grpc_call("ApplyTable", Vec::new())
    }
}

/// A batch that updates the server.
fn batch_message(server: Option<pb::Server>) -> Vec<u8> {
    use pb::resource::Resource;
    let operation = pb::BatchOperation {
        op: "update_server".to_owned(),
        service: SERVICE.to_owned(),
        server: SERVER.to_owned(),
        value: Some(pb::Resource {
            resource: server.map(Resource::Server),
        }),
        ..Default::default()
    };
    let request = pb::ApplyBatchRequest {
        operations: vec![operation],
        ..Default::default()
    };
    request.encode_to_vec()
}

/// A valid request of an operation of the HTTP API.
pub fn http_request(operation: &str) -> Call {
    let (method, path) = operation.split_once(' ').unwrap();
    if operation == "PATCH /v1/services/{service}/servers/{server} of the weight" {
        let path = path.trim_end_matches(" of the weight");
        return http_call(method, path, r#"{"weight": 5}"#);
    }
    if operation == "POST /v1/rules of the whole table (clear=true)" {
        let mut call = http_call(method, "/v1/rules?clear=true", "-A -t 192.0.2.3:80 -s rr\n");
        call.media_type = "text/plain";
        return call;
    }
    if operation == "POST /v1/rules of weights (-e)" {
        let mut call = http_call(method, "/v1/rules", EDIT_WEIGHT);
        call.media_type = "text/plain";
        return call;
    }
    if operation == "PUT /v1/tables/{owner} of others (adopt=any)" {
        return http_call("PUT", "/v1/tables/k8s?adopt=any", r#"{"services": []}"#);
    }
    if operation == "POST /v1/drains of servers to remove (then: remove)" {
        let body = r#"{"server": "192.168.10.1-80", "then": "remove"}"#;
        return http_call("POST", "/v1/drains", body);
    }
    if operation == "POST /v1/batch of weights" {
        return batch_call(r#"{"weight": 5}"#);
    }
    if operation == "POST /v1/batch" {
        return batch_call(r#"{"upper_threshold": 7}"#);
    }
    let (query, body) = match operation {
        "POST /v1/drains" => ("", r#"{"server": "192.168.10.1-80"}"#),
        "PUT /v1/health/{service}/{server}/override" => ("", r#"{"state": "up"}"#),
        "PUT /v1/health/{service}/{server}" => ("", r#"{"healthy": true}"#),
        "POST /v1/ramps" => (
            "",
            r#"{"service": "tcp-192.0.2.1-80", "server": "192.168.10.1-80", "to": 9, "over_seconds": 1000}"#,
        ),
        "PUT /v1/tables/{owner}" => ("", r#"{"services": []}"#),
        "DELETE /v1/tables/{owner}" => ("?confirm=0", ""),
        "GET /v1/can-i" => ("?verb=clear", ""),
        "POST /v1/services" => ("", r#"{"id": "tcp-192.0.2.2-80"}"#),
        "PUT /v1/services/{service}" => ("", r#"{"scheduler": "rr"}"#),
        "PATCH /v1/services/{service}" => ("", r#"{"scheduler": "rr"}"#),
        "POST /v1/services/{service}/servers" => ("", r#"{"address": "192.168.10.2"}"#),
        "PUT /v1/services/{service}/servers/{server}" => ("", r#"{"upper_threshold": 7}"#),
        "PATCH /v1/services/{service}/servers/{server}" => ("", r#"{"upper_threshold": 7}"#),
        "DELETE /v1/services" => ("?confirm=1", ""),
        "POST /v1/rules" | "PUT /v1/rules" => ("", "-A -t 192.0.2.3:80 -s rr\n"),
        "PATCH /v1/tables/{owner}" => ("", r#"{"reconcile": "report"}"#),
        "PATCH /v1/timeouts" => ("", r#"{"udp_seconds": 7}"#),
        "PATCH /v1/settings" => ("", r#"{"drop_entry": 1}"#),
        "PUT /v1/sync-daemons/{state}" => ("", r#"{"interface": "eth0"}"#),
        "DELETE /v1/sync-daemons/{state}" => ("", ""),
        _ => ("", ""),
    };
    let mut call = http_call(method, &format!("{path}{query}"), body);
    if path == "/v1/rules" {
        call.media_type = "text/plain";
    }
    call
}

/// A valid request of a method.
pub fn grpc_request(method: &str) -> Call {
    let service = || {
        Some(pb::Service {
            id: SERVICE.to_owned(),
            scheduler: Some("rr".to_owned()),
            ..pb::Service::default()
        })
    };
    let server = |id: &str| {
        Some(pb::Server {
            id: id.to_owned(),
            upper_threshold: Some(7),
            ..pb::Server::default()
        })
    };
    let id = SERVICE.to_owned();
    let owner = "k8s".to_owned();
    let drain = pb::CreateDrainRequest {
        server: SERVER.to_owned(),
        ..Default::default()
    };
    let message = match method {
        "CreateDrain" => drain.encode_to_vec(),
        "CreateDrain of servers to remove" => pb::CreateDrainRequest {
            then: Some("remove".to_owned()),
            ..drain
        }
        .encode_to_vec(),
        "GetDrain" => pb::GetDrainRequest {
            id: DRAIN.to_owned(),
        }
        .encode_to_vec(),
        "DeleteDrain" => pb::DeleteDrainRequest {
            id: DRAIN.to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "CreateRamp" => pb::CreateRampRequest {
            service: id,
            server: SERVER.to_owned(),
            to: Some(9),
            over_seconds: Some(1000),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetRamp" => pb::GetRampRequest {
            id: RAMP.to_owned(),
        }
        .encode_to_vec(),
        "DeleteRamp" => pb::DeleteRampRequest {
            id: RAMP.to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ApplyTable" => return apply_call(None),
        "ApplyTable of others" => return apply_call(Some("any")),
        "ApplyBatch" => batch_message(server(SERVER)),
        "ApplyBatch of weights" => batch_message(Some(pb::Server {
            weight: Some(5),
            ..Default::default()
        })),
        "GetTable" => pb::GetTableRequest { owner }.encode_to_vec(),
        "GetDrift" => pb::GetDriftRequest { owner }.encode_to_vec(),
        "ListTableOperations" => pb::ListTableOperationsRequest {
            owner,
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateTable" => pb::UpdateTableRequest {
            owner,
            ..Default::default()
        }
        .encode_to_vec(),
        "DeleteTable" => pb::DeleteTableRequest {
            owner,
            confirm: Some(0),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetHealth" => pb::GetHealthRequest { service: id }.encode_to_vec(),
        "SetHealthOverride" => pb::SetHealthOverrideRequest {
            service: id,
            server: SERVER.to_owned(),
            state: Some("up".to_owned()),
            ..Default::default()
        }
        .encode_to_vec(),
        "ReportHealth" => pb::ReportHealthRequest {
            service: id,
            server: SERVER.to_owned(),
            healthy: Some(true),
            ..Default::default()
        }
        .encode_to_vec(),
        "DeleteHealthOverride" => pb::DeleteHealthOverrideRequest {
            service: id,
            server: SERVER.to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetService" => pb::GetServiceRequest {
            id,
            ..Default::default()
        }
        .encode_to_vec(),
        "ListServers" => pb::ListServersRequest {
            service: id,
            ..Default::default()
        }
        .encode_to_vec(),
        "GetServer" => pb::GetServerRequest {
            service: id,
            id: SERVER.to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "CheckPermission" => pb::CheckPermissionRequest {
            verb: "clear".to_owned(),
            service: None,
        }
        .encode_to_vec(),
        "CountConnections" => pb::CountConnectionsRequest {
            count_by: "state".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateServer of the weight" => pb::UpdateServerRequest {
            service: id,
            server: Some(pb::Server {
                id: SERVER.to_owned(),
                weight: Some(5),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["weight".to_owned()],
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "ZeroCounters of a service" => pb::ZeroCountersRequest {
            service: id,
            ..Default::default()
        }
        .encode_to_vec(),
        "CreateService" => pb::CreateServiceRequest {
            service: Some(pb::Service {
                id: "tcp-192.0.2.2-80".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "ReplaceService" => pb::ReplaceServiceRequest {
            service: service(),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateService" => pb::UpdateServiceRequest {
            service: service(),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["scheduler".to_owned()],
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "DeleteService" => pb::DeleteServiceRequest {
            id,
            ..Default::default()
        }
        .encode_to_vec(),
        "CreateServer" => pb::CreateServerRequest {
            service: id,
            server: server("192.168.10.2-80"),
            ..Default::default()
        }
        .encode_to_vec(),
        "CreateServers" => pb::CreateServersRequest {
            service: id,
            servers: server("192.168.10.2-80").into_iter().collect(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ReplaceServer" => pb::ReplaceServerRequest {
            service: id,
            server: server(SERVER),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateServer" => pb::UpdateServerRequest {
            service: id,
            server: server(SERVER),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["upper_threshold".to_owned()],
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "DeleteServer" => pb::DeleteServerRequest {
            service: id,
            id: SERVER.to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ClearServices" => pb::ClearServicesRequest {
            confirm: Some(1),
            ..Default::default()
        }
        .encode_to_vec(),
        "RestoreRules" => pb::RestoreRulesRequest {
            text: "-A -t 192.0.2.3:80 -s rr\n".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "SetTimeouts" => pb::SetTimeoutsRequest {
            timeouts: Some(pb::Timeouts {
                udp_seconds: Some(7),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["udp_seconds".to_owned()],
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateSettings" => pb::UpdateSettingsRequest {
            settings: [(
                "drop_entry".to_owned(),
                pb::SettingValue {
                    kind: Some(pb::setting_value::Kind::Integer(1)),
                },
            )]
            .into(),
            ..Default::default()
        }
        .encode_to_vec(),
        "StartSyncDaemon" => pb::StartSyncDaemonRequest {
            sync_daemon: Some(pb::SyncDaemon {
                state: "master".to_owned(),
                interface: Some("eth0".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "StopSyncDaemon" => pb::StopSyncDaemonRequest {
            state: "master".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => Vec::new(),
    };
    grpc_call(method.split(' ').next().unwrap(), message)
}

/// The table of the documentation: each operation with its lowest role; `None` for none.
pub fn documented() -> (
    BTreeMap<String, Option<Role>>,
    BTreeMap<String, Option<Role>>,
) {
    let table = DOCUMENT.split("| HTTP | gRPC |").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let (mut http, mut grpc) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let role = cells[4].parse().ok();
        assert!(role.is_some() || cells[4] == "none", "{row}");
        if !cells[1].is_empty() {
            http.insert(cells[1].replace('`', ""), role);
        }
        for method in cells[2].split(',').filter(|cell| !cell.is_empty()) {
            let method = method.replace('`', "").trim().to_owned();
            if !method.starts_with("grpc.") {
                grpc.insert(method, role);
            }
        }
    }
    (http, grpc)
}

/// The path and method of every operation, without what a row says beside them.
fn names<'a>(rows: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    rows.map(|name| name.split(" of ").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_documentation_has_every_operation() {
    let (http, grpc) = documented();
    let document = serde_json::to_value(ipvsd::http::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let more = [
        "GET /docs",
        "GET /openapi.json",
        "GET /openapi.yaml",
        "GET /ui",
    ];
    let operations: BTreeSet<_> = operations.chain(more.map(str::to_owned)).collect();
    assert_eq!(names(http.keys()), operations);
    let pool = prost_reflect::DescriptorPool::decode(ipvsd::proto::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("ipvsd.v1.IpvsService").unwrap();
    let methods: BTreeSet<_> = service.methods().map(|m| m.name().to_owned()).collect();
    assert_eq!(names(grpc.keys()), methods);
}

#[tokio::test]
async fn every_operation_requires_the_documented_role() {
    let (http, grpc) = documented();
    let http = http
        .into_iter()
        .map(|(name, role)| (http_request(&name), name, role));
    let grpc = grpc
        .into_iter()
        .map(|(name, role)| (grpc_request(&name), name, role));
    for (call, name, lowest) in http.chain(grpc) {
        for role in Role::ALL.map(Some).into_iter().chain([None]) {
            let daemon = guarded(policy_of_roles(""));
            daemon.seed(name != "StartSyncDaemon").await;
            if HOLDS.iter().any(|word| name.contains(word)) {
                daemon.seed_holds().await;
            }
            let token = role.map(token);
            let verdict = daemon.verdict(&call, token.as_deref()).await;
            let expected = match (role, lowest) {
                (_, None) => Verdict::Admitted,
                (None, Some(_)) => Verdict::Unauthenticated,
                (Some(role), Some(lowest)) if role < lowest => Verdict::Denied,
                _ => Verdict::Admitted,
            };
            assert_eq!(verdict, expected, "{name} with {role:?}");
        }
    }
}

#[tokio::test]
async fn a_policy_that_is_replaced_applies_to_the_next_request() {
    let daemon = guarded(policy_of_roles(""));
    let call = http_call("GET", "/v1/services", "");
    let viewer = token(Role::Viewer);
    assert_eq!(daemon.send(&call, Some(&viewer)).await.0, 200);
    daemon
        .authenticator
        .replace(Policy::parse("", &NoAccounts).unwrap());
    assert_eq!(daemon.send(&call, Some(&viewer)).await.0, 401);
}

#[tokio::test]
async fn credentials_that_are_not_valid_are_refused_everywhere_and_are_not_shown() {
    let daemon = guarded(policy_of_roles("expires = 2020-01-01T00:00:00Z"));
    for (token, text) in [
        (token(Role::Admin), "has expired (2020-01-01T00:00:00Z)"),
        ("ipvsd_unknown".to_owned(), "not known"),
        ("a.b.c".to_owned(), "no identity provider"),
        (String::new(), "empty or too long"),
        ("x".repeat(20_000), "empty or too long"),
    ] {
        for path in ["/v1/services", "/healthz"] {
            let call = http_call("GET", path, "");
            let (status, headers, body) = daemon.send(&call, Some(&token)).await;
            let body = String::from_utf8(body).unwrap();
            assert_eq!(status, 401, "{body}");
            assert!(body.contains(text), "{body}");
            assert!(token.is_empty() || !body.contains(&token), "{body}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"ipvsd\"");
        }
    }
}

#[tokio::test]
async fn with_scope_reads_lists_show_what_is_within_the_scope() {
    let scope = "scope = [{address = '192.0.2.0/24'}]\nscope_reads = true";
    let daemon = guarded(policy_of_roles(scope));
    for address in ["192.0.2.1:80", "192.0.2.7:80", "198.51.100.1:80"] {
        let id = ServiceId::tcp(address.parse().unwrap());
        assert!(daemon.kernel.add_service(Service::new(id)));
    }
    let viewer = token(Role::Viewer);
    let get = async |path: &str| {
        let call = http_call("GET", path, "");
        let (status, _, body) = daemon.send(&call, Some(&viewer)).await;
        (status, String::from_utf8(body).unwrap())
    };
    // The second time from the cache.
    for _ in 0..2 {
        let (status, list) = get("/v1/services?page_size=2").await;
        assert_eq!(status, 200);
        assert!(
            list.contains("192.0.2.1") && list.contains("192.0.2.7"),
            "{list}"
        );
        // There is no further page.
        assert!(
            !list.contains("198.51.100.1") && !list.contains("next_page_token"),
            "{list}"
        );
    }
    assert_eq!(get("/v1/services/tcp-192.0.2.1-80").await.0, 200);
    assert_eq!(get("/v1/services/tcp-198.51.100.1-80").await.0, 403);
    // A service that does not exist is refused alike.
    assert_eq!(get("/v1/services/tcp-198.51.100.9-80").await.0, 403);
    for path in ["/v1/stats", "/v1/rules", "/v1/listing", "/metrics"] {
        assert_eq!(get(path).await.0, 403, "{path}");
    }
    assert_eq!(get("/v1/info").await.0, 200);
}

#[tokio::test]
async fn a_list_that_was_shared_by_all_is_not_shown_to_one_with_a_scope() {
    let policy = |more: &str| {
        let entry = |name: &str, more: &str| {
            let hash = Sha256::of(format!("ipvsd_{name}").as_bytes());
            format!("[[token]]\nname = 'same'\nsha256 = '{hash}'\nrole = 'viewer'\n{more}\n")
        };
        entry("all", "") + &entry("some", more)
    };
    let text = policy("scope = []\nscope_reads = true");
    let daemon = guarded(Policy::parse(&text, &NoAccounts).unwrap());
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    assert!(daemon.kernel.add_service(Service::new(id)));
    for (token, shown) in [
        ("ipvsd_all", true),
        ("ipvsd_some", false),
        ("ipvsd_all", true),
    ] {
        let request = Request::get("/v1/services")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .header("cache-control", "max-age=60")
            .body(axum::body::Body::empty());
        let response = daemon
            .router
            .clone()
            .oneshot(request.unwrap())
            .await
            .unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(body.contains("192.0.2.1"), shown, "{token}: {body}");
    }
}

#[tokio::test]
async fn every_refused_attempt_is_in_the_audit_without_the_secret() {
    let daemon = guarded(policy_of_roles(""));
    daemon.seed(false).await;
    let delete = http_call("DELETE", "/v1/services/{service}", "");
    assert_eq!(daemon.send(&delete, Some("ipvsd_secret")).await.0, 401);
    assert_eq!(daemon.send(&delete, None).await.0, 401);
    let viewer = token(Role::Viewer);
    assert_eq!(daemon.send(&delete, Some(&viewer)).await.0, 403);
    let audit = http_call("GET", "/v1/audit", "");
    assert_eq!(daemon.send(&audit, Some(&viewer)).await.0, 403);
    let (status, _, body) = daemon.send(&audit, Some(&token(Role::Admin))).await;
    assert_eq!(status, 200);
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains("ipvsd_"), "{text}");
    let page: serde_json::Value = serde_json::from_str(&text).unwrap();
    let records = page["records"].as_array().unwrap().iter();
    let shown: Vec<_> = records
        .map(|record| {
            let field = |name: &str| record[name].as_str().unwrap_or_default();
            ["principal", "operation", "service", "outcome"].map(|name| field(name).to_owned())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ["viewer", "list_audit_records", "", "denied"],
            ["viewer", "delete_service", SERVICE, "denied"],
            ["anonymous", "authenticate", "", "unauthenticated"],
            ["anonymous", "authenticate", "", "unauthenticated"],
            ["admin", "update_service", SERVICE, "success"],
            ["admin", "apply_table", "", "success"],
        ]
    );
}

#[tokio::test]
async fn who_may_not_clear_does_not_learn_the_number_of_services() {
    let scope = "scope = [{fwmark = '1'}]\nscope_reads = true";
    let daemon = guarded(policy_of_roles(scope));
    daemon.kernel.add_service(Service::new(ServiceId::tcp(
        "192.0.2.1:80".parse().unwrap(),
    )));
    for (query, role) in [
        ("?confirm=9&dry_run=true", Role::Viewer),
        ("?confirm=9", Role::Editor),
    ] {
        let call = http_call("DELETE", &format!("/v1/services{query}"), "");
        let (status, _, body) = daemon.send(&call, Some(&token(role))).await;
        assert_eq!(status, 403, "{}", String::from_utf8_lossy(&body));
    }
}
