//! `ipvsctl directors`.

use std::io::Write;

use super::{
    config::Config,
    environment::Environment,
    error::CliError,
    escape::escape,
    fanout::parallel_map,
    hints::describe,
    options::{Format, Options},
    output::{write_json, write_table},
    target::Target,
};

/// Lists the configured directors and their status. The exit code is 1 if one is not reachable.
pub(super) fn show(options: &Options, out: &mut dyn Write) -> Result<u8, CliError> {
    let environment = Environment::load()?;
    let config = Config::load(&environment)?;
    let directors: Vec<_> = config.directors.iter().collect();
    let results = parallel_map(&directors, |(name, director)| {
        let target = Target::named(name, director, options, environment.credentials.clone());
        let info = target.and_then(|target| Ok(target.client.info()?));
        let info = info.map_err(|error| describe(&error));
        let state = info.map(|info| {
            format!(
                "ipvsd {}, kernel {}, IPVS {}",
                info.version, info.kernel.release, info.kernel.ipvs_version
            )
        });
        (*name, &director.endpoint, state)
    });
    let code = u8::from(results.iter().any(|(.., state)| state.is_err()));
    if options.format != Format::Table {
        let list: Vec<_> = results
            .iter()
            .map(|(name, endpoint, state)| {
                serde_json::json!({
                    "name": name,
                    "endpoint": endpoint.to_string(),
                    "default": config.default.as_ref() == Some(*name),
                    "reachable": state.is_ok(),
                    "state": state.as_ref().unwrap_or_else(|error| error),
                })
            })
            .collect();
        let json = serde_json::to_vec(&serde_json::json!({ "directors": list }))?;
        write_json(out, options.format, &json)?;
        return Ok(code);
    }
    let rows: Vec<_> = results
        .into_iter()
        .map(|(name, endpoint, state)| {
            let mark = if config.default.as_ref() == Some(name) {
                "*"
            } else {
                ""
            };
            vec![
                format!("{name}{mark}"),
                endpoint.to_string(),
                escape(&state.unwrap_or_else(|error| error)),
            ]
        })
        .collect();
    write_table(out, &["NAME", "ENDPOINT", "STATE"], &rows)?;
    Ok(code)
}
