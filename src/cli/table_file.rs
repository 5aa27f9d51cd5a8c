//! Files that declare the services of an owner.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{
    error::CliError,
    input::{self, MAX_INPUT},
};
use crate::model::{Owner, ServiceDraft, ServiceKey};

/// What one or several files declare.
#[derive(Debug, Default)]
pub(super) struct TableFile {
    owner: Option<(String, Owner)>,
    services: Vec<Value>,
    /// The other members, with the first file of each.
    members: Vec<(String, Value, String)>,
    /// The files, with the number of services before each.
    files: Vec<(String, usize)>,
}

/// JSON Schema of a file. `make openapi` makes it of the daemon's document.
pub(super) const SCHEMA: &str = include_str!("../../openapi/table.schema.json");
/// Members that the daemon adds to a table, and ignores in a request.
const READ_ONLY: [&str; 3] = ["generation", "etag", "status"];
/// Members that identify a service.
const IDENTITY: [&str; 6] = ["id", "protocol", "address", "port", "fwmark", "family"];
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

pub(super) fn invalid(file: &str, message: impl Into<String>) -> CliError {
    CliError::TableFile {
        file: file.to_owned(),
        message: message.into(),
    }
}

// === impl TableFile ===

impl TableFile {
    /// Reads a file, standard input (`-`), or the files of a directory in the order of their names.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let mut table = Self::default();
        let mut seen = HashMap::new();
        if path == Path::new("-") || !path.is_dir() {
            let (name, text) = input::named(path)?;
            table.add(name, &text, &mut seen)?;
            return Ok(table);
        }
        let directory = path.display().to_string();
        let mut bytes = 0;
        for file in files(path)? {
            let text = input::read(Some(file.clone()))?;
            bytes += text.len() as u64;
            if bytes > MAX_INPUT {
                let message = format!("the files have more than {MAX_INPUT} bytes");
                return Err(invalid(&directory, message));
            }
            table.add(file.display().to_string(), &text, &mut seen)?;
        }
        match table.files.is_empty() {
            // No services would mean to delete all.
            true => Err(invalid(&directory, "has no *.json, *.yaml or *.yml")),
            false => Ok(table),
        }
    }

    /// Adds a file. `seen` has the file of each service.
    fn add(
        &mut self,
        file: String,
        text: &str,
        seen: &mut HashMap<ServiceKey, String>,
    ) -> Result<(), CliError> {
        let mut members = parse(&file, text)?;
        if let Some(owner) = members.remove("owner") {
            self.set_owner(&file, owner)?;
        }
        let Some(Value::Sequence(services)) = members.remove("services") else {
            let message = "services: a list is required: all services of the owner; [] for none";
            return Err(invalid(&file, message));
        };
        for service in &services {
            let Some(key) = key(service) else {
                continue;
            };
            if let Some(other) = seen.insert(key, file.clone()) {
                let message = match other == file {
                    true => format!("{key} is declared twice"),
                    false => format!("{key} is declared here and in {other}"),
                };
                return Err(invalid(&file, message));
            }
        }
        self.files.push((file.clone(), self.services.len()));
        self.services.extend(services);
        for (name, value) in members {
            let name = name.as_str().map(str::to_owned);
            let name = name.ok_or_else(|| invalid(&file, "a name that is no text"))?;
            if READ_ONLY.contains(&name.as_str()) {
                continue;
            }
            match self.members.iter().find(|(other, ..)| *other == name) {
                Some((_, other, _)) if *other == value => {}
                Some((.., other)) => {
                    let message = format!("{name}: is another than in {other}");
                    return Err(invalid(&file, message));
                }
                None => self.members.push((name, value, file.clone())),
            }
        }
        Ok(())
    }

    fn set_owner(&mut self, file: &str, owner: Value) -> Result<(), CliError> {
        let name = owner.as_str().unwrap_or_default();
        let owner: Owner = name
            .parse()
            .map_err(|error: crate::model::Error| invalid(file, error.to_string()))?;
        match &self.owner {
            Some((other, name)) if *name != owner => Err(invalid(
                file,
                format!("owner: is {owner}, and {name} in {other}"),
            )),
            Some(_) => Ok(()),
            None => {
                self.owner = Some((file.to_owned(), owner));
                Ok(())
            }
        }
    }

    /// The owner: that of the command line, which the files must not contradict, or that of the files.
    pub(super) fn owner(&self, given: Option<Owner>) -> Result<Owner, CliError> {
        match (given, &self.owner) {
            (Some(given), Some((file, owner))) if given != *owner => Err(invalid(
                file,
                format!("owner: is {owner}, and --owner is {given}"),
            )),
            (Some(owner), _) => Ok(owner),
            (None, Some((_, owner))) => Ok(owner.clone()),
            (None, None) => Err(CliError::NoOwner),
        }
    }

    /// The table as JSON. With `keep_weights`, servers that exist keep their weight, whatever the files say.
    pub(super) fn json(&self, keep_weights: bool) -> Result<Vec<u8>, CliError> {
        let mut body = Mapping::new();
        for (name, value, _) in &self.members {
            body.insert(name.as_str().into(), value.clone());
        }
        if keep_weights {
            body.insert("keep_weights".into(), true.into());
        }
        body.insert("services".into(), Value::Sequence(self.services.clone()));
        let file = |(file, _): &(String, usize)| file.clone();
        let names: Vec<_> = self.files.iter().map(file).collect();
        serde_json::to_vec(&body).map_err(|error| invalid(&names.join(", "), error.to_string()))
    }

    /// A message of the daemon, in which a service of several files has its file and its number there.
    pub(super) fn locate(&self, message: &str) -> String {
        const FIELD: &str = "services[";
        let mut located = String::new();
        let mut rest = message;
        while let Some(start) = rest.find(FIELD).filter(|_| self.files.len() > 1) {
            let (before, field) = rest.split_at(start);
            let number = field[FIELD.len()..].split(']').next().unwrap_or_default();
            located += before;
            rest = &field[FIELD.len()..];
            let index = number.parse::<usize>().ok();
            let file = index.and_then(|index| {
                let first = self.files.iter().rev().find(|(_, first)| *first <= index);
                first.map(|(file, first)| (file, index - first))
            });
            match file {
                Some((file, index)) => {
                    located += &format!("{file}: {FIELD}{index}");
                    rest = &rest[number.len()..];
                }
                None => located += FIELD,
            }
        }
        located + rest
    }
}

/// The files of a directory with one of [`EXTENSIONS`], by name. Hidden ones are those of editors.
fn files(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let error = |source| CliError::File {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_table = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        if is_table && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Parses JSON, which begins with a brace, or YAML. A member that occurs twice is an error in both.
pub(super) fn document(file: &str, text: &str) -> Result<Value, CliError> {
    match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| invalid(file, error.to_string())),
        false => yaml_serde::from_str(text).map_err(|error| invalid(file, error.to_string())),
    }
}

fn parse(file: &str, text: &str) -> Result<Mapping, CliError> {
    match document(file, text)? {
        Value::Mapping(members) => Ok(members),
        Value::Null => Err(invalid(file, "is empty; `services: []` declares none")),
        _ => Err(invalid(file, "is no table: `services:` is expected")),
    }
}

/// The key of a service; `None` if it is not valid, of which the daemon gives the reason.
fn key(service: &Value) -> Option<ServiceKey> {
    let members = service.as_mapping()?.iter();
    let identity =
        members.filter(|(name, _)| name.as_str().is_some_and(|name| IDENTITY.contains(&name)));
    let identity: Mapping = identity
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let json = serde_json::to_value(identity).ok()?;
    ServiceDraft::deserialize(json).ok()?.key().ok()?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn a_message_about_several_files_names_the_file() {
        let mut table = TableFile::default();
        let mut seen = HashMap::new();
        let mut add = |file: &str, text| table.add(file.to_owned(), text, &mut seen);
        add("a", "services: [{fwmark: 1}, {fwmark: 2}]").unwrap();
        let message = "services[1].scheduler: x, services[2]: y, services[: z";
        add("b", "services: []").unwrap();
        add("c", "services: [{fwmark: 3}]").unwrap();
        assert_eq!(
            table.locate(message),
            "a: services[1].scheduler: x, c: services[0]: y, services[: z"
        );
        // One file has the numbers of the message.
        let mut table = TableFile::default();
        let text = "services: [{fwmark: 1}]";
        table
            .add("a".to_owned(), text, &mut HashMap::new())
            .unwrap();
        assert_eq!(table.locate(message), message);
    }
}
