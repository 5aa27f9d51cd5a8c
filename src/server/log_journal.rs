//! The log in the journal of systemd: entries with fields, made of the lines of the JSON format.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::journal::{Entry, Journal};

/// Writes lines of the JSON format as entries of the journal.
///
/// The thread of the log makes the entries, so that requests neither make them nor wait for the journal.
pub(super) struct JournalWriter(Journal);

/// `SYSLOG_IDENTIFIER` of the entries.
const IDENTIFIER: &str = "ipvsd";
/// What the names of fields begin with, so that none has the name of a field of the journal.
const PREFIX: &str = "IPVSD_";
/// Maximum length of a field's name (journald's own).
const MAX_NAME: usize = 64;

// === impl JournalWriter ===

impl JournalWriter {
    pub(super) fn new(journal: Journal) -> Self {
        Self(journal)
    }
}

/// Each call writes one line.
impl Write for JournalWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines.split_inclusive(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        self.0.send(&entry(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The entry of a line. One that is no JSON object is an error message of the daemon, or was cut.
fn entry(line: &[u8]) -> Entry {
    let mut entry = Entry::default();
    entry.field("SYSLOG_IDENTIFIER", IDENTIFIER);
    let Ok(Value::Object(mut event)) = serde_json::from_slice(line) else {
        let level = if line.starts_with(b"{") {
            "TRACE"
        } else {
            "ERROR"
        };
        entry.field("PRIORITY", priority(level));
        entry.field("MESSAGE", line.trim_ascii_end());
        return entry;
    };
    let text = |value: Option<Value>| value.map(shown).unwrap_or_default();
    // The journal has a time of its own.
    event.remove("timestamp");
    entry.field("PRIORITY", priority(&text(event.remove("level"))));
    let mut message = text(event.remove("message"));
    let span = match event.remove("span") {
        Some(Value::Object(span)) => span,
        _ => Map::new(),
    };
    // The target is a field, but seldom of interest in the message.
    let target = event.remove("target");
    for (name, value) in event.into_iter().chain(span) {
        let value = shown(value);
        if name != "name" {
            message.push_str(&format!(" {name}={value}"));
        }
        entry.field(&field_name(&name), value);
    }
    entry.field("IPVSD_TARGET", text(target));
    entry.field("MESSAGE", message);
    entry
}

/// A value as text, without the quotes of JSON.
fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The priority of a level (syslog(3)).
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// The name of a field for the journal.
fn field_name(name: &str) -> String {
    let valid = |byte: char| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_uppercase(),
        false => '_',
    };
    PREFIX
        .chars()
        .chain(name.chars().map(valid))
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// What the journal receives of these lines.
    fn received(lines: &str, count: usize) -> Vec<String> {
        let directory = std::env::temp_dir().join(format!("ipvsd-{}-log", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("journal");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut writer = JournalWriter::new(Journal::open(&path).unwrap());
        writer.write_all(lines.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        let entries = (0..count).map(|_| {
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned()
        });
        let entries = entries.collect();
        std::fs::remove_dir_all(&directory).unwrap();
        entries
    }

    #[test]
    fn a_line_is_an_entry_with_priority_and_fields() {
        let lines = concat!(
            r#"{"timestamp":"2026-11-30T00:00:00Z","level":"WARN","message":"request failed","status":409,"#,
            r#""reason":"CONFLICT","target":"ipvsd::http","span":{"request.id":"r-1","name":"request"}}"#,
            "\n",
            r#"{"level":"INFO","message":"a\nb","target":"ipvsd"}"#,
            "\nipvsd: cannot listen\n",
        );
        assert_eq!(
            received(lines, 3),
            [
                "SYSLOG_IDENTIFIER=ipvsd\nPRIORITY=4\nIPVSD_REASON=CONFLICT\nIPVSD_STATUS=409\n\
                 IPVSD_NAME=request\nIPVSD_REQUEST_ID=r-1\nIPVSD_TARGET=ipvsd::http\n\
                 MESSAGE=request failed reason=CONFLICT status=409 request.id=r-1\n",
                "SYSLOG_IDENTIFIER=ipvsd\nPRIORITY=6\nIPVSD_TARGET=ipvsd\n\
                 MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n",
                "SYSLOG_IDENTIFIER=ipvsd\nPRIORITY=3\nMESSAGE=ipvsd: cannot listen\n",
            ]
        );
    }

    #[test]
    fn a_long_name_of_a_field_is_cut() {
        assert_eq!(field_name(&"x".repeat(100)).len(), MAX_NAME);
    }
}
