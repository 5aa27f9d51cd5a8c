//! The virtual servers of a keepalived.conf(5), as keepalived 2 makes them of it, all servers healthy.

mod addresses;
mod lines;
mod parameters;
mod statements;
mod virtual_server;

use std::{collections::HashMap, path::Path};

use self::{addresses::Group, lines::Reader};
use super::{conversion::Conversion, error::CliError};

/// Adds the virtual servers of a text to a table. `directory`: where the files are that it includes.
/// `config_id`: which of the lines that begin with `@` are for this director; `None`: they are left out.
pub(super) fn read(
    text: &str,
    directory: &Path,
    config_id: Option<&str>,
    conversion: &mut Conversion,
) -> Result<(), CliError> {
    let lines = Reader::new(config_id, conversion).read(text, directory)?;
    let statements = statements::parse(&lines)
        .map_err(|error| conversion.error(error.place, error.message.to_owned()))?;
    // A group may follow the virtual servers that use it.
    let mut groups = HashMap::new();
    for statement in &statements {
        if statement.keyword() == "virtual_server_group" {
            let name = statement.argument(0, "name", conversion)?;
            let group = Group::read(statement, conversion)?;
            groups.insert(name.text.clone(), group);
        }
    }
    for statement in &statements {
        match statement.keyword() {
            "virtual_server" => virtual_server::read(statement, &groups, conversion)?,
            "virtual_server_group" => {}
            _ => statement.leave_out(conversion),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*, sample};

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            words in collection::vec(
                prop_oneof![
                    sample::select(vec![
                        "virtual_server", "virtual_server_group", "real_server", "group", "G", "fwmark",
                        "192.0.2.1", "10.0.0.1-3", "2001:db8::/127", "80", "0", "-1", "weight",
                        "lvs_method", "TUN", "type", "gue", "port", "persistence_granularity", "64",
                        "persistence_timeout", "protocol", "tcp", "ip_family", "inet6", "ops", "sh-port",
                        "{", "}", "\n", "\n", "$A", "${A}", "$A=", "\\\n", "@a", "@^a", "\"", "'", "!",
                        "é", "$", "${", "include",
                    ])
                    .prop_map(str::to_owned),
                    "\\PC{0,4}",
                ],
                0..60,
            ),
        ) {
            let mut conversion = Conversion::new("x".to_owned());
            let text = words.join(" ");
            // It must not panic, and end.
            let _ = read(&text, Path::new("/nonexistent"), Some("a"), &mut conversion);
            conversion.notes();
        }
    }
}
