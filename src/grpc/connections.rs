//! Methods of the connection table.

use std::str::FromStr;

use futures_util::{Stream, StreamExt, future::ready};
use prost::Message;

use super::{
    api::Api,
    convert::{self, Fields, ITEM_OVERHEAD},
};
use crate::{
    app::{Count, RequestContext},
    model::{Connection, ConnectionFilter, ConnectionService, Endpoint, Error, both},
    proto::v1 as pb,
};

/// Each message has one chunk of the app, which reads on as the client consumes the stream.
pub(super) async fn list(
    api: Api,
    request: pb::ListConnectionsRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::ListConnectionsResponse, Error>> + use<>, Error> {
    let pb::ListConnectionsRequest { filter, limit } = request;
    let filter = connection_filter(filter)?;
    let limit = limit.map(u64::from);
    let chunks = api.app.connections(&context, filter, limit).await?;
    Ok(chunks.filter_map(|chunk| {
        ready(match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            chunk => Some(chunk.map(|chunk| pb::ListConnectionsResponse {
                connections: chunk.into_iter().map(pb::Connection::from).collect(),
            })),
        })
    }))
}

pub(super) async fn count(
    api: Api,
    request: pb::CountConnectionsRequest,
    context: RequestContext,
) -> Result<pb::CountConnectionsResponse, Error> {
    let pb::CountConnectionsRequest { filter, count_by } = request;
    let (filter, by) = both(connection_filter(filter), count_by.parse())?;
    let counts = api.app.count_connections(&context, filter, by).await?;
    Ok(truncated(counts, api.options.max_response_bytes))
}

/// The largest groups that fit `limit` bytes, and the sums of the others. Grouped by client, there
/// can be as many groups as connections.
fn truncated(counts: Vec<Count>, limit: usize) -> pb::CountConnectionsResponse {
    let mut response = pb::CountConnectionsResponse::default();
    let mut available = limit;
    let mut fits = true;
    for count in counts.into_iter().map(pb::ConnectionCount::from) {
        let size = count.encoded_len() + ITEM_OVERHEAD;
        fits = fits && size <= available;
        if fits {
            available -= size;
            response.counts.push(count);
        } else {
            response.other_groups += 1;
            response.other_connections = response.other_connections.saturating_add(count.count);
        }
    }
    response
}

fn connection_filter(filter: Option<pb::ConnectionFilter>) -> Result<ConnectionFilter, Error> {
    fn parse<T: FromStr<Err = Error>>(
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
        fwmark,
    } = filter.unwrap_or_default();
    let mut fields = Fields::default();
    let filter = ConnectionFilter {
        protocol: fields.take(parse(protocol, "filter.protocol")).flatten(),
        client: fields.take(parse(client, "filter.client")).flatten(),
        virtual_address: fields.take(parse(r#virtual, "filter.virtual")).flatten(),
        destination: fields
            .take(parse(destination, "filter.destination"))
            .flatten(),
        state,
        templates,
        fwmark,
    };
    fields.finish()?;
    Ok(filter)
}

// === pb::Connection ===

impl From<Connection> for pb::Connection {
    fn from(connection: Connection) -> Self {
        let Connection {
            protocol,
            client,
            service,
            destination,
            state,
            template,
            invalidated,
            expires_in_seconds,
            persistence_engine,
            persistence_data,
        } = connection;
        Self {
            protocol: protocol.to_string(),
            client: Some(client.into()),
            r#virtual: match service {
                ConnectionService::Address(address) => Some(address.into()),
                ConnectionService::Fwmark(_) => None,
            },
            fwmark: match service {
                ConnectionService::Address(_) => None,
                ConnectionService::Fwmark(mark) => Some(mark),
            },
            destination: Some(destination.into()),
            state: state.into(),
            template,
            invalidated,
            expires_in_seconds,
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
        let Count {
            group,
            count: connections,
        } = count;
        Self {
            group,
            count: convert::count(connections),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_do_not_fit_are_summed() {
        let counts = || {
            (0..100).map(|i| Count {
                group: format!("198.51.100.{i}"),
                count: 100 - i,
            })
        };
        let all = truncated(counts().collect(), 1 << 20);
        assert_eq!(
            (all.counts.len(), all.other_groups, all.other_connections),
            (100, 0, 0)
        );
        let some = truncated(counts().collect(), 1000);
        assert!(some.encoded_len() <= 1000 + 20);
        let returned = some.counts.len();
        assert!((1..100).contains(&returned));
        assert_eq!(some.other_groups, 100 - u32::try_from(returned).unwrap());
        let connections: u32 = some.counts.iter().map(|c| c.count).sum();
        assert_eq!(connections + some.other_connections, 5050);
    }
}
