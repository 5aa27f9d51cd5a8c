//! `ipvsctl info`.

use std::io::Write;

use super::{
    CliError,
    output::{Format, write_json},
};
use crate::client::{Client, Info};

/// Shows what daemon and kernel are.
pub(super) fn show(client: &Client, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let answer = client.get("/v1/info")?;
    if format != Format::Table {
        return write_json(out, format, &answer);
    }
    let Info {
        version,
        namespace,
        kernel,
        schedulers,
        persistence_engines,
    } = serde_json::from_slice(&answer)?;
    let loaded: Vec<_> = schedulers
        .iter()
        .filter(|scheduler| scheduler.loaded)
        .map(|scheduler| scheduler.name.as_str())
        .collect();
    let list = |items: &[String]| match items {
        [] => "none".to_owned(),
        items => items.join(" "),
    };
    let kind = match kernel.kind.as_str() {
        "fake" => " (fake: in memory, for trials)",
        _ => "",
    };
    let rows = [
        ("director", client.endpoint().to_string()),
        ("ipvsd", version),
        ("ipvsctl", env!("CARGO_PKG_VERSION").to_owned()),
        ("kernel", format!("{}{kind}", kernel.release)),
        ("IPVS", kernel.ipvs_version),
        (
            "connection table",
            format!("{} buckets", kernel.connection_table_size),
        ),
        (
            "namespace",
            namespace.unwrap_or_else(|| "the daemon's own".to_owned()),
        ),
        (
            "estimation",
            if kernel.estimation {
                "on"
            } else {
                "off: counters stand still"
            }
            .to_owned(),
        ),
        ("features", list(&kernel.features)),
        (
            "schedulers loaded",
            if loaded.is_empty() {
                "none".to_owned()
            } else {
                loaded.join(" ")
            },
        ),
        ("engines loaded", list(&persistence_engines)),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<18} {value}")?;
    }
    Ok(())
}
