//! The connection table: `-L -c` and `ipvsctl connections`.

use std::io::Write;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    args::ConnectionArgs,
    error::CliError,
    names::ResolvedNames,
    options::Format,
    output::{write_json, write_table},
};
use crate::{
    client::{Client, Connection, ConnectionCount, ConnectionQuery},
    ipvsadm::{ConnectionLine, Names, Numeric, write_connection, write_connection_header},
    model::Family,
};

/// Output of `ipvsctl connections`.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionReport {
    query: ConnectionQuery,
    /// Print counts grouped by this field instead of connections.
    count_by: Option<&'static str>,
}

/// The response of `/v1/connections`.
#[derive(Deserialize)]
struct ConnectionList {
    #[serde(rename = "connections")]
    _connections: Vec<IgnoredAny>,
}

/// The response of `/v1/connections?count_by=`.
#[derive(Deserialize)]
struct Counts {
    counts: Vec<ConnectionCount>,
}

/// Number of connections whose names are resolved together.
const CHUNK: usize = 4096;

/// `-L -c`. Connections are printed as they arrive; they are never all in memory.
pub(super) fn list(
    client: &Client,
    numeric: bool,
    engine_data: bool,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let query = ConnectionQuery::default();
    match format {
        Format::Table => print(client, &query, numeric, engine_data, out),
        _ => json(client, &query, format, out),
    }
}

fn print(
    client: &Client,
    query: &ConnectionQuery,
    numeric: bool,
    engine_data: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut connections = client.connections(query)?;
    let mut resolved = ResolvedNames::new();
    let mut is_first = true;
    loop {
        let chunk = connections.by_ref().take(CHUNK);
        let chunk = chunk.collect::<Result<Vec<_>, _>>()?;
        if std::mem::take(&mut is_first) {
            write_connection_header(out, engine_data)?;
        }
        let lines: Vec<_> = chunk.iter().map(line).collect();
        if !numeric {
            resolved.resolve(lines.iter().flat_map(ConnectionLine::addresses));
        }
        let names: &dyn Names = if numeric { &Numeric } else { &resolved };
        for line in &lines {
            write_connection(out, line, engine_data, names)?;
        }
        if chunk.len() < CHUNK {
            return Ok(());
        }
    }
}

fn line(connection: &Connection) -> ConnectionLine<'_> {
    let Connection {
        protocol,
        client,
        service,
        destination,
        state,
        template: _,
        invalidated,
        expires_in_seconds,
        persistence_engine,
        persistence_data,
    } = connection;
    ConnectionLine {
        protocol: *protocol,
        client: *client,
        virtual_address: service.endpoint(Family::of(client.address), *invalidated),
        destination: *destination,
        state,
        expires_in_seconds: *expires_in_seconds,
        engine: persistence_engine
            .as_deref()
            .zip(persistence_data.as_deref()),
    }
}

fn json(
    client: &Client,
    query: &ConnectionQuery,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let query = ConnectionQuery {
        limit: query.limit.or(Some(ConnectionQuery::MAX)),
        ..query.clone()
    };
    let (_, json) = client.get::<ConnectionList>(&query.path())?;
    write_json(out, format, &json)
}

// === impl ConnectionReport ===

impl From<ConnectionArgs> for ConnectionReport {
    fn from(args: ConnectionArgs) -> Self {
        let ConnectionArgs {
            protocol,
            client,
            r#virtual,
            fwmark,
            destination,
            state,
            templates,
            limit,
            count_by,
        } = args;
        let fwmark = fwmark.map(|mark| mark.to_string());
        let templates = templates.map(|templates| templates.to_string());
        let filters = [
            ("protocol", protocol),
            ("client", client),
            ("virtual", r#virtual),
            ("fwmark", fwmark),
            ("destination", destination),
            ("state", state),
            ("templates", templates),
        ];
        let filters = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        Self {
            query: ConnectionQuery { filters, limit },
            count_by: count_by.map(|field| field.name()),
        }
    }
}

impl ConnectionReport {
    pub(super) fn write(
        &self,
        client: &Client,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let Some(field) = self.count_by else {
            return match format {
                Format::Table => print(client, &self.query, true, false, out),
                _ => json(client, &self.query, format, out),
            };
        };
        let mut query = self.query.clone();
        query.filters.push(("count_by", field.to_owned()));
        let (Counts { counts }, response) = client.get(&query.path())?;
        if format != Format::Table {
            return write_json(out, format, &response);
        }
        let rows: Vec<_> = counts
            .into_iter()
            .map(|ConnectionCount { group, count }| vec![count.to_string(), group])
            .collect();
        let heading = field.to_uppercase();
        Ok(write_table(out, &["COUNT", &heading], &rows)?)
    }
}
