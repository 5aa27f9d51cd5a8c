//! JSON on one line, whatever a reader takes for the end of a line.

use std::io;

use serde::Serialize;
use serde_json::{
    Serializer,
    ser::{CompactFormatter, Formatter},
};

use crate::model::is_hidden;

/// Escapes what JSON allows in a string, but what some programs take for the end of a line (U+0085,
/// U+2028, U+2029), what terminals execute (U+007F to U+009F), and what is not shown as it is.
struct OneLine(CompactFormatter);

/// A value as one line, with its end.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut text, OneLine(CompactFormatter));
    if value.serialize(&mut serializer).is_err() {
        // Writing into memory does not fail, and records have no values that JSON lacks.
        text.clear();
    }
    text.push(b'\n');
    text
}

// === impl OneLine ===

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            let (before, after) = rest.split_at(at);
            self.0.write_string_fragment(writer, before)?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        self.0.write_string_fragment(writer, rest)
    }
}
