//! The kernel's connection table.

use std::str::FromStr;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;

use super::Api;
use crate::{
    app::{Count, RequestContext},
    model::{Connection, ConnectionFilter, Endpoint, Error},
    proto::v1 as pb,
};

/// Messages as the client takes them: the app reads ahead no further than its own chunks.
pub(super) async fn list(
    api: Api,
    request: pb::ListConnectionsRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::Connection, Error>> + use<>, Error> {
    let pb::ListConnectionsRequest { filter, limit } = request;
    let filter = connection_filter(filter)?;
    let chunks = api.app.connections(&context, filter, limit).await?;
    Ok(chunks
        .map_ok(|chunk| stream::iter(chunk).map(|connection| Ok(connection.into())))
        .try_flatten())
}

pub(super) async fn count(
    api: Api,
    request: pb::CountConnectionsRequest,
    context: RequestContext,
) -> Result<pb::CountConnectionsResponse, Error> {
    let pb::CountConnectionsRequest { filter, count_by } = request;
    let filter = connection_filter(filter)?;
    let counts = api
        .app
        .count_connections(&context, filter, count_by.parse()?)
        .await?;
    Ok(fitting(counts, api.options.max_response_bytes))
}

/// The largest groups, as many as fit: each client may be a group of its own.
fn fitting(counts: Vec<Count>, mut room: usize) -> pb::CountConnectionsResponse {
    let mut answer = pb::CountConnectionsResponse::default();
    let mut counts = counts.into_iter();
    for count in counts.by_ref() {
        let connections = count.count;
        let count = pb::ConnectionCount::from(count);
        // A tag and a length of at most 5 bytes go before it.
        match room.checked_sub(count.encoded_len() + 6) {
            Some(left) => {
                room = left;
                answer.counts.push(count);
            }
            None => {
                answer.other_groups = 1;
                answer.other_connections = connections;
                break;
            }
        }
    }
    for count in counts {
        answer.other_groups += 1;
        answer.other_connections += count.count;
    }
    answer
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
        r#virtual,
        destination,
        state,
        templates,
    } = filter.unwrap_or_default();
    Ok(ConnectionFilter {
        protocol: parsed(protocol, "filter.protocol")?,
        client: parsed(client, "filter.client")?,
        virtual_address: parsed(r#virtual, "filter.virtual")?,
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
            r#virtual: Some(virtual_address.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_do_not_fit_are_counted_together() {
        let counts = || {
            (0..100).map(|i| Count {
                group: format!("198.51.100.{i}"),
                count: 100 - i,
            })
        };
        let all = fitting(counts().collect(), 1 << 20);
        assert_eq!(
            (all.counts.len(), all.other_groups, all.other_connections),
            (100, 0, 0)
        );
        let some = fitting(counts().collect(), 1000);
        assert!(some.encoded_len() <= 1000 + 20);
        let told = some.counts.len();
        assert!((1..100).contains(&told));
        assert_eq!(some.other_groups, 100 - told as u64);
        let connections: u64 = some.counts.iter().map(|c| c.count).sum();
        assert_eq!(connections + some.other_connections, 5050);
    }
}
