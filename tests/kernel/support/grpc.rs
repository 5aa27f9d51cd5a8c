//! A gRPC client. It builds messages from the JSON bodies of the HTTP API, which have the same field
//! names.

use ipvsd::{
    model::Error,
    proto::{DESCRIPTORS, v1 as pb, v1::ipvs_service_client::IpvsServiceClient},
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use super::{
    api::{Refusal, Request},
    daemon::{ADDRESS, Daemon},
};

/// A daemon with a client.
pub struct Grpc {
    client: IpvsServiceClient<Channel>,
    pool: DescriptorPool,
    _daemon: Daemon,
}

impl Grpc {
    /// Starts the daemon in the network namespace of this thread.
    pub async fn start() -> Self {
        Self::to(Daemon::start(&[])).await
    }

    /// A client of a running daemon in this thread's namespace.
    pub async fn to(daemon: Daemon) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{ADDRESS}")).unwrap();
        Self {
            client: IpvsServiceClient::new(endpoint.connect().await.unwrap()),
            pool: DescriptorPool::decode(DESCRIPTORS).unwrap(),
            _daemon: daemon,
        }
    }

    /// Builds a request from a body. Numbers that the type of their field cannot represent are
    /// rejected here, as any client does.
    fn message<M: Message + Default>(&self, name: &str, body: Value) -> Result<M, Refusal> {
        let descriptor = self
            .pool
            .get_message_by_name(&format!("ipvsd.v1.{name}"))
            .unwrap();
        let mut track = serde_path_to_error::Track::new();
        let body = serde_path_to_error::Deserializer::new(body, &mut track);
        match DynamicMessage::deserialize(descriptor, body) {
            Ok(message) => Ok(M::decode(message.encode_to_vec().as_slice()).unwrap()),
            Err(error) => {
                let path = track.path().to_string();
                // Errors name fields relative to the resource.
                let field = path.split_once('.').map_or("", |(_, field)| field);
                Err(Error::invalid(field, error.to_string()).into())
            }
        }
    }

    fn value(&self, name: &str, message: &impl Message) -> Value {
        let descriptor = self
            .pool
            .get_message_by_name(&format!("ipvsd.v1.{name}"))
            .unwrap();
        let bytes = message.encode_to_vec();
        let message = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_proto_field_name(true)
            .skip_default_fields(false);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .unwrap()
    }

    /// Lists all services with their servers.
    pub async fn services(&self) -> Result<Vec<Value>, Refusal> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListServicesRequest {
                include: vec!["servers".to_owned(), "stats".to_owned()],
                page_token,
                ..Default::default()
            };
            let page = self.client.clone().list_services(request).await;
            let page = page.map_err(refusal)?.into_inner();
            let services = page.services.iter();
            all.extend(services.map(|s| without_absent(self.value("Service", s))));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Reads the timeouts.
    pub async fn timeouts(&self) -> Result<Value, Refusal> {
        let request = pb::GetTimeoutsRequest::default();
        let response = self.client.clone().get_timeouts(request).await;
        let timeouts = response.map_err(refusal)?.into_inner().timeouts;
        Ok(self.value("Timeouts", &timeouts.unwrap()))
    }

    /// Lists the sync daemons.
    pub async fn sync_daemons(&self) -> Result<Vec<Value>, Refusal> {
        let request = pb::ListSyncDaemonsRequest::default();
        let response = self.client.clone().list_sync_daemons(request).await;
        let daemons = response.map_err(refusal)?.into_inner().sync_daemons;
        Ok(daemons
            .iter()
            .map(|daemon| self.value("SyncDaemon", daemon))
            .collect())
    }

    /// Sends a request.
    pub async fn write(&self, request: &Request) -> Result<Value, Refusal> {
        let mut client = self.client.clone();
        let with_id = |body: &Value, id: &str| {
            let mut body = body.clone();
            body["id"] = id.into();
            body
        };
        macro_rules! call {
            ($method:ident, $message:ident, $body:expr) => {{
                let request: pb::$message = self.message(stringify!($message), $body)?;
                client.$method(request).await.map(drop)
            }};
        }
        let response = match request {
            Request::GetService(id) => call!(get_service, GetServiceRequest, json!({"id": id})),
            Request::CreateService(body) => {
                call!(
                    create_service,
                    CreateServiceRequest,
                    json!({"service": body})
                )
            }
            Request::ReplaceService(id, body) => {
                let body = json!({"service": with_id(body, id)});
                call!(replace_service, ReplaceServiceRequest, body)
            }
            Request::UpdateService(id, body) => {
                let body = json!({"service": with_id(body, id), "update_mask": mask(body)});
                call!(update_service, UpdateServiceRequest, body)
            }
            Request::DeleteService(id) => {
                call!(delete_service, DeleteServiceRequest, json!({"id": id}))
            }
            Request::Clear => {
                let count = self.services().await?.len();
                call!(
                    clear_services,
                    ClearServicesRequest,
                    json!({"confirm": count})
                )
            }
            Request::CreateServer(id, body) => {
                let body = json!({"service": id, "server": body});
                call!(create_server, CreateServerRequest, body)
            }
            Request::ReplaceServer(id, of, body) => {
                let body = json!({"service": id, "server": with_id(body, of)});
                call!(replace_server, ReplaceServerRequest, body)
            }
            Request::UpdateServer(id, of, body) => {
                let (server, mask) = (with_id(body, of), mask(body));
                let body = json!({"service": id, "server": server, "update_mask": mask});
                call!(update_server, UpdateServerRequest, body)
            }
            Request::DeleteServer(id, of) => {
                let body = json!({"service": id, "id": of});
                call!(delete_server, DeleteServerRequest, body)
            }
            Request::Zero(id) => {
                let body = id.as_ref().map_or(json!({}), |id| json!({"service": id}));
                call!(zero_counters, ZeroCountersRequest, body)
            }
            Request::SetTimeouts(body) => {
                let body = json!({"timeouts": body, "update_mask": mask(body)});
                call!(set_timeouts, SetTimeoutsRequest, body)
            }
            Request::StartSyncDaemon(state, body) => {
                let mut daemon = body.clone();
                daemon["state"] = state.clone().into();
                let body = json!({"sync_daemon": daemon});
                call!(start_sync_daemon, StartSyncDaemonRequest, body)
            }
            Request::StopSyncDaemon(state) => {
                call!(
                    stop_sync_daemon,
                    StopSyncDaemonRequest,
                    json!({"state": state})
                )
            }
            Request::UpdateSettings(body) => {
                let settings: serde_json::Map<_, _> = body
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, value)| (name.clone(), setting(value)))
                    .collect();
                call!(
                    update_settings,
                    UpdateSettingsRequest,
                    json!({"settings": settings})
                )
            }
        };
        response.map(|()| Value::Null).map_err(refusal)
    }
}

/// A field mask with the fields of a body, in the JSON form of protobuf.
fn mask(body: &Value) -> Value {
    let camel = |name: &String| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| {
            let (head, tail) = part.split_at(1);
            all + &head.to_uppercase() + tail
        })
    };
    let names: Vec<_> = body.as_object().unwrap().keys().map(camel).collect();
    names.join(",").into()
}

fn setting(value: &Value) -> Value {
    match value {
        Value::Bool(on) => json!({"boolean": on}),
        Value::Array(pair) => json!({"pair": {"first": pair[0], "second": pair[1]}}),
        Value::String(text) => json!({"text": text}),
        number => json!({"integer": number}),
    }
}

fn refusal(status: Status) -> Refusal {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("a status without details: {status:?}"));
    let fields = details.bad_request().map(|bad| &bad.field_violations);
    Refusal {
        reason: info.reason.clone(),
        errno: info.metadata.get("errno").cloned(),
        fields: fields
            .into_iter()
            .flatten()
            .map(|violation| violation.field.clone())
            .collect(),
        detail: status.message().to_owned(),
        hint: info.metadata.get("hint").cloned(),
    }
}

/// These fields have no presence; in JSON they are absent.
fn without_absent(mut service: Value) -> Value {
    let labels = service.as_object_mut().unwrap().remove("labels");
    assert_eq!(labels, Some(json!({})));
    for server in service["servers"].as_array_mut().unwrap() {
        let server = server.as_object_mut().unwrap();
        assert_eq!(server.remove("holds"), Some(json!([])));
        assert_eq!(server.remove("membership"), Some(json!("")));
    }
    service
}
