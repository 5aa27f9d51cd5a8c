//! The kernel's connection table.

use std::str::FromStr;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::Face;
use crate::{
    director::{Call, Count},
    model::{Connection, ConnectionFilter, Endpoint, Error},
    proto::v1 as pb,
};

/// Messages as the client takes them: the director reads ahead no further than its own chunks.
pub(super) async fn list(
    face: Face,
    request: pb::ListConnectionsRequest,
    call: Call,
) -> Result<impl Stream<Item = Result<pb::Connection, Error>> + use<>, Error> {
    let pb::ListConnectionsRequest { filter, limit } = request;
    let filter = connection_filter(filter)?;
    let chunks = face.director.connections(filter, limit, call).await?;
    Ok(chunks
        .map_ok(|chunk| stream::iter(chunk).map(|connection| Ok(connection.into())))
        .try_flatten())
}

pub(super) async fn count(
    face: Face,
    request: pb::CountConnectionsRequest,
    call: Call,
) -> Result<pb::CountConnectionsResponse, Error> {
    let pb::CountConnectionsRequest { filter, count_by } = request;
    let filter = connection_filter(filter)?;
    let counts = face
        .director
        .count_connections(filter, count_by.parse()?, call)
        .await?;
    Ok(pb::CountConnectionsResponse {
        counts: counts.into_iter().map(pb::ConnectionCount::from).collect(),
    })
}

fn connection_filter(filter: Option<pb::ConnectionFilter>) -> Result<ConnectionFilter, Error> {
    fn parsed<T: FromStr<Err = Error>>(
        text: Option<String>,
        field: &str,
    ) -> Result<Option<T>, Error> {
        text.map(|text| text.parse())
            .transpose()
            .map_err(|error: Error| error.below(field))
    }
    let pb::ConnectionFilter {
        protocol,
        client,
        virtual_address,
        destination,
        state,
        templates,
    } = filter.unwrap_or_default();
    Ok(ConnectionFilter {
        protocol: parsed(protocol, "filter.protocol")?,
        client: parsed(client, "filter.client")?,
        virtual_address: parsed(virtual_address, "filter.virtual_address")?,
        destination: parsed(destination, "filter.destination")?,
        state,
        templates,
    })
}

// === pb::Connection ===

impl From<Connection> for pb::Connection {
    fn from(connection: Connection) -> Self {
        let Connection {
            protocol,
            client,
            virtual_address,
            destination,
            state,
            template,
            expires_in_seconds,
            persistence_engine,
            persistence_data,
        } = connection;
        Self {
            protocol: protocol.to_string(),
            client: Some(client.into()),
            virtual_address: Some(virtual_address.into()),
            destination: Some(destination.into()),
            state: state.into(),
            template,
            expires_in_seconds: expires_in_seconds.into(),
            persistence_engine: persistence_engine.map(String::from),
            persistence_data: persistence_data.map(String::from),
        }
    }
}

impl From<Endpoint> for pb::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint { address, port } = endpoint;
        Self {
            address: address.to_string(),
            port: port.into(),
        }
    }
}

impl From<Count> for pb::ConnectionCount {
    fn from(count: Count) -> Self {
        let Count { group, count } = count;
        Self { group, count }
    }
}
