//! `ipvsctl info`.

use std::io::Write;

use super::{error::CliError, options::Format, output::write_json};
use crate::{
    client::{Client, Info},
    version::{LONG, long},
};

/// Shows daemon and kernel information.
pub(super) fn show(client: &Client, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let (info, response) = client.get("/v1/info")?;
    if format != Format::Table {
        return write_json(out, format, &response);
    }
    let Info {
        version,
        commit,
        build_date,
        namespace,
        kernel,
        schedulers,
        persistence_engines,
    } = info;
    let ipvsd = long(&version, commit.as_deref(), build_date.as_deref());
    let loaded = schedulers.into_iter().filter(|scheduler| scheduler.loaded);
    let loaded: Vec<_> = loaded.map(|scheduler| scheduler.name).collect();
    let list = |items: &[String]| match items {
        [] => "none".to_owned(),
        items => items.join(" "),
    };
    let kind = match kernel.kind.as_str() {
        "fake" => " (in-memory simulator)",
        _ => "",
    };
    let rows = [
        ("director", client.endpoint().to_string()),
        ("ipvsd", ipvsd),
        ("ipvsctl", LONG.clone()),
        ("kernel", format!("{}{kind}", kernel.release)),
        ("IPVS", kernel.ipvs_version),
        (
            "connection table",
            format!("{} buckets", kernel.connection_table_size),
        ),
        (
            "namespace",
            namespace.unwrap_or_else(|| "that of the daemon".to_owned()),
        ),
        (
            "estimation",
            if kernel.estimation {
                "on"
            } else {
                "off: counters are not updated"
            }
            .to_owned(),
        ),
        ("features", list(&kernel.features)),
        ("schedulers loaded", list(&loaded)),
        ("engines loaded", list(&persistence_engines)),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<18} {value}")?;
    }
    Ok(())
}
