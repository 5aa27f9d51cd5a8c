//! `-L -c`, and `ipvsctl connections`.

use std::io::Write;

use super::{
    CliError,
    names::Looked,
    output::{Format, write_json, write_table},
};
use crate::{
    client::{Client, Connection, ConnectionQuery},
    ipvsadm::{ConnectionLine, Names, Numeric, write_connection, write_connection_header},
};

/// Which connections `ipvsctl connections` shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub query: ConnectionQuery,
    /// Only counts them, by this.
    pub count_by: Option<&'static str>,
}

/// Connections whose names are looked up at a time.
const CHUNK: usize = 4096;

/// `-L -c`: as they come, and never all in memory.
pub(super) fn list(
    client: &Client,
    numeric: bool,
    engine_data: bool,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let query = ConnectionQuery::default();
    if format != Format::Table {
        return json(client, &query, format, out);
    }
    print(client, &query, numeric, engine_data, out)
}

fn print(
    client: &Client,
    query: &ConnectionQuery,
    numeric: bool,
    engine_data: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut connections = client.connections(query)?;
    write_connection_header(out, engine_data)?;
    let mut looked = Looked::new();
    loop {
        let chunk = connections.by_ref().take(CHUNK);
        let chunk = chunk.collect::<Result<Vec<_>, _>>()?;
        let lines: Vec<_> = chunk.iter().map(line).collect();
        if !numeric {
            looked.look_up(lines.iter().flat_map(ConnectionLine::addresses));
        }
        let names: &dyn Names = if numeric { &Numeric } else { &looked };
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
        virtual_address,
        destination,
        state,
        template: _,
        expires_in_seconds,
        persistence_engine,
        persistence_data,
    } = connection;
    ConnectionLine {
        protocol: *protocol,
        client: *client,
        virtual_address: *virtual_address,
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
    let path = ConnectionQuery {
        limit: query.limit.or(Some(ConnectionQuery::MAX)),
        ..query.clone()
    };
    write_json(out, format, &client.get(&path.path())?)
}

// === impl Wanted ===

impl Wanted {
    /// Shows them.
    pub(super) fn show(
        &self,
        client: &Client,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        #[derive(serde::Deserialize)]
        struct Counts {
            counts: Vec<Count>,
        }
        #[derive(serde::Deserialize)]
        struct Count {
            group: String,
            count: u64,
        }
        let Some(by) = self.count_by else {
            return match format {
                Format::Table => print(client, &self.query, true, false, out),
                _ => json(client, &self.query, format, out),
            };
        };
        let mut query = self.query.clone();
        query.filters.push(("count_by", by.to_owned()));
        let answer = client.get(&query.path())?;
        if format != Format::Table {
            return write_json(out, format, &answer);
        }
        let Counts { counts } = serde_json::from_slice(&answer)?;
        let rows: Vec<_> = counts
            .into_iter()
            .map(|Count { group, count }| vec![count.to_string(), group])
            .collect();
        let heading = by.to_uppercase();
        Ok(write_table(out, &["COUNT", &heading], &rows)?)
    }
}
