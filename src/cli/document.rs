//! Saved state: rules as text, or a document in JSON or YAML with the shapes of the API.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    commands::{Commands, parse_line},
    error::CliError,
    output::eprint_line,
};
use crate::{
    ipvsadm::{CommandLine, Line, Lines, ParseError, Resolver},
    model::{
        Director, Error, Field, Forwarding, Op, ServerConfig, ServerDraft, ServiceDraft,
        ServiceKey, SettingSpec, SettingValue, StoredFields, SyncDaemonConfig, SyncDaemonDraft,
        Table, TimeoutsDraft, Violation,
    },
};

/// Format of a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Input {
    /// Commands of ipvsadm.
    Text,
    Json,
    Yaml,
}

/// What is to be restored. A part that the input does not contain is `None` and is left as it is.
#[derive(Debug, Default)]
pub(super) struct State<'a> {
    pub settings: Option<BTreeMap<String, SettingValue>>,
    pub timeouts: Option<TimeoutsDraft>,
    /// Commands that make the services and servers.
    pub services: Option<Commands<'a>>,
    pub sync_daemons: Option<Vec<SyncDaemonConfig>>,
}

/// A document as `ipvsctl save` prints it. Its parts have the shapes of the API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    services: Option<Vec<ServiceDraft>>,
    timeouts: Option<TimeoutsDraft>,
    sync_daemons: Option<Vec<SyncDaemonDraft>>,
    settings: Option<BTreeMap<String, Field<SettingValue>>>,
    /// Of a list, for watches.
    #[serde(rename = "revision")]
    _revision: Option<IgnoredAny>,
}

/// Number of invalid fields or lines that are reported.
const MAX_REPORTED: usize = 100;

// === impl Input ===

impl Input {
    /// The format of a text by its first line that is neither empty nor a comment; `None` if there is
    /// no such line.
    pub(super) fn detect(text: &str) -> Option<Self> {
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))?;
        Some(match line.as_bytes() {
            [b'{', ..] => Self::Json,
            b"---" => Self::Yaml,
            [b'-', b' ', ..] => Self::Yaml,
            [b'-', ..] => Self::Text,
            // A command has blanks before its first colon, a key has none.
            _ => match line.split_once(':') {
                Some((key, _)) if !key.contains([' ', '\t']) => Self::Yaml,
                _ => Self::Text,
            },
        })
    }

    /// Parses and validates a saved state. Reports everything that is invalid. `is_whole`: the text
    /// describes a whole table, instead of commands to execute one after the other.
    pub(super) fn parse<'a>(
        self,
        text: &'a str,
        is_whole: bool,
        resolver: &dyn Resolver,
    ) -> Result<State<'a>, CliError> {
        match self {
            Self::Text => Ok(State {
                services: Some(lines(text, is_whole, resolver)?),
                ..State::default()
            }),
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let document = document(&mut deserializer)?;
                deserializer.end()?;
                document.validate()
            }
            Self::Yaml => document(yaml_serde::Deserializer::from_str(text))?.validate(),
        }
    }
}

/// Parses all lines. Reports every invalid line.
fn lines<'a>(
    text: &'a str,
    is_whole: bool,
    resolver: &dyn Resolver,
) -> Result<Commands<'a>, CliError> {
    let mut commands = Commands::of_lines(text);
    let mut table = Table::default();
    changes(text, resolver, |line, op, is_numeric| {
        if is_whole && !op.makes_table() {
            let message =
                "only -A, -a, -E, -e, -D, -d and -C describe a table; --no-clear executes others";
            return Ok(Some(message.to_owned()));
        }
        match table.apply(&op, line.number) {
            Err(error) if is_whole => Ok(Some(error.detail)),
            _ => Ok(commands.push(line, &op, is_numeric).map(|()| None)?),
        }
    })?;
    match commands.is_empty() {
        true => Err(CliError::EmptyInput),
        false => Ok(commands),
    }
}

/// Parses all lines. `accept` gets each operation, and whether its line is numeric; it returns what is wrong
/// with it. Reports every invalid line.
pub(super) fn changes(
    text: &str,
    resolver: &dyn Resolver,
    mut accept: impl FnMut(&Line<'_>, Op, bool) -> Result<Option<String>, CliError>,
) -> Result<(), CliError> {
    let mut invalid = 0;
    for line in Lines::without_comments(text) {
        let number = line.number;
        let (parsed, is_numeric) = parse_line("ipvsctl", &line, resolver);
        let message = match parsed {
            Ok(CommandLine::Change(op)) => match accept(&line, op, is_numeric)? {
                Some(message) => message,
                None => continue,
            },
            Ok(_) => "only commands that change the table are allowed".to_owned(),
            Err(ParseError::TryHelp { .. }) => "does not begin with a command".to_owned(),
            Err(error) => error.to_string().trim_end().to_owned(),
        };
        invalid += 1;
        if invalid <= MAX_REPORTED {
            eprint_line(&format!(
                "line {number}: {message}: {}",
                line.words.join(" ")
            ));
        }
    }
    match invalid {
        0 => Ok(()),
        invalid => Err(CliError::InvalidLines(invalid)),
    }
}

fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Document, CliError>
where
    D::Error: std::fmt::Display,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| CliError::Document {
        path: error.path().to_string(),
        message: error.into_inner().to_string(),
    })
}

// === impl Document ===

impl Document {
    fn validate(self) -> Result<State<'static>, CliError> {
        let Self {
            services,
            timeouts,
            sync_daemons,
            settings,
            ..
        } = self;
        let mut errors = Vec::new();
        let mut keep = |result: Result<(), Error>| errors.extend(result.err());
        if services.is_none() && timeouts.is_none() && sync_daemons.is_none() && settings.is_none()
        {
            return Err(CliError::EmptyInput);
        }
        let has_stored = |service: &&ServiceDraft| {
            matches!(service.labels, Field::Set(_)) || matches!(service.health_check, Field::Set(_))
        };
        let with_stored = services.iter().flatten().filter(has_stored).count();
        let services = services.map(|services| {
            let mut table = Services::default();
            for (index, service) in services.iter().enumerate() {
                let result = table.add(service);
                keep(result.map_err(|error| error.below(&format!("services[{index}]"))));
            }
            table.into_commands()
        });
        let director = Director::of_drafts(timeouts.as_ref(), sync_daemons.as_deref());
        let director = director.map_err(|error| keep(Err(error)));
        if let Some(settings) = &settings {
            let result = SettingSpec::check(settings);
            keep(result.map(drop).map_err(|error| error.below("settings")));
        }
        report(&errors)?;
        if with_stored > 0 {
            eprint_line(&format!(
                "labels and health checks of {with_stored} services are not restored: apply a table, or set them by the \
                 API"
            ));
        }
        Ok(State {
            settings: settings.map(set_values),
            timeouts,
            services: services.transpose()?,
            sync_daemons: director.unwrap_or_default().sync_daemons,
        })
    }
}

/// The values that are set.
fn set_values<K: Ord, V>(settings: BTreeMap<K, Field<V>>) -> BTreeMap<K, V> {
    let values = settings
        .into_iter()
        .filter_map(|(name, field)| match field {
            Field::Set(value) => Some((name, value)),
            Field::Keep | Field::Clear => None,
        });
    values.collect()
}

/// Reports all invalid fields.
fn report(errors: &[Error]) -> Result<(), CliError> {
    let violations: Vec<&Violation> = errors.iter().flat_map(|error| &error.violations).collect();
    for Violation { field, message } in violations.iter().take(MAX_REPORTED) {
        eprint_line(&format!("{field}: {message}"));
    }
    match violations.len() {
        0 => Ok(()),
        invalid => Err(CliError::InvalidFields(invalid)),
    }
}

/// The commands that make the services of a document.
#[derive(Default)]
struct Services {
    table: Table,
    ops: Vec<Op>,
}

// === impl Services ===

impl Services {
    fn add(&mut self, draft: &ServiceDraft) -> Result<(), Error> {
        let key = draft.key()?;
        let key = key.ok_or_else(|| Error::invalid("id", "is required"))?;
        let config = draft.create(key)?;
        self.push(Op::CreateService(key, config, StoredFields::default()))?;
        let servers = draft.servers.as_ref();
        let servers =
            servers.ok_or_else(|| Error::invalid("servers", "is required: [] for none"))?;
        // In the kernel's order. It inserts a new server before the others.
        for (index, server) in servers.iter().enumerate().rev() {
            let result = self.add_server(key, server.clone());
            result.map_err(|error| error.below(&format!("servers[{index}]")))?;
        }
        Ok(())
    }

    fn add_server(&mut self, service: ServiceKey, mut draft: ServerDraft) -> Result<(), Error> {
        let key = draft.key(service)?;
        let key = key.ok_or_else(|| Error::invalid("address", "is required"))?;
        make_settable(&mut draft);
        let foreign = take_foreign_weight(&mut draft);
        let mut config = draft.create(service, key)?;
        config.weight = foreign.unwrap_or(config.weight);
        self.push(Op::CreateServer(service, key, config))
    }

    fn push(&mut self, op: Op) -> Result<(), Error> {
        let exists = |error: Error| Error::invalid("id", error.detail);
        self.table.apply(&op, 0).map_err(exists)?;
        self.ops.push(op);
        Ok(())
    }

    /// The commands; for an empty list of services, the one that makes the table empty.
    fn into_commands(mut self) -> io::Result<Commands<'static>> {
        if self.ops.is_empty() {
            self.ops.push(Op::Clear);
        }
        Commands::of_ops(&self.ops)
    }
}

/// Takes a weight that the kernel accepts, but not a request, out of a draft: what another program has
/// set and was saved can be restored.
fn take_foreign_weight(draft: &mut ServerDraft) -> Option<u32> {
    let weights = ServerConfig::MAX_WEIGHT + 1..=ServerConfig::MAX_KERNEL_WEIGHT;
    let Field::Set(weight) = draft.weight else {
        return None;
    };
    let weight = u32::try_from(weight).ok()?;
    let weight = Some(weight).filter(|weight| weights.contains(weight))?;
    draft.weight = Field::Keep;
    Some(weight)
}

/// Replaces a forwarding method that the kernel sets by itself with `direct`, as in the output of `-S`.
fn make_settable(draft: &mut ServerDraft) {
    if let Field::Set(text) = &draft.forwarding
        && text
            .parse()
            .is_ok_and(|method: Forwarding| !method.is_settable())
    {
        draft.forwarding = Field::Set(Forwarding::Direct.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_a_saved_state_is_detected() {
        for (text, format) in [
            ("-A -t 192.0.2.1:80 -s rr\n", Some(Input::Text)),
            ("\n# saved\n--add-service -f 1\n", Some(Input::Text)),
            ("ipvsadm -A -t 192.0.2.1:80\n", Some(Input::Text)),
            ("foo\n", Some(Input::Text)),
            ("{\"services\":[]}", Some(Input::Json)),
            ("\n  {\n", Some(Input::Json)),
            ("services: []\n", Some(Input::Yaml)),
            ("# saved\n---\nservices:\n", Some(Input::Yaml)),
            ("- id: x\n", Some(Input::Yaml)),
            ("", None),
            ("\n# nothing\n", None),
        ] {
            assert_eq!(Input::detect(text), format, "{text:?}");
        }
    }
}
