//! Characters that a terminal would obey instead of showing them. A director may send any text.

use std::fmt::Write as _;

use crate::model::is_hidden;

/// Escapes a stream of bytes, of which a character may span several parts. Line feeds and tabs, which
/// make up a listing, are kept.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// The beginning of a character.
    pending: Vec<u8>,
}

/// Length of a message in characters. A director, or a file in the wrong format, may have a longer line
/// than anybody reads.
const MAX_LENGTH: usize = 2000;

/// Appends text, with the characters that are hidden as `\uNNNN`. JSON has the same escapes, so that
/// an escaped document is still the same document.
fn append(escaped: &mut String, text: &str, is_kept: impl Fn(char) -> bool) {
    for c in text.chars() {
        if !is_hidden(c) || is_kept(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing into a String does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
}

/// Escapes a text of one line, and cuts it at [`MAX_LENGTH`].
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let (text, rest) = match text.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => text.split_at(end),
        None => (text, ""),
    };
    append(&mut escaped, text, |_| false);
    if !rest.is_empty() {
        escaped.push_str("...");
    }
    escaped
}

// === impl Filter ===

impl Filter {
    /// Escapes the next part of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.pending);
        let mut escaped = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            append(&mut escaped, chunk.valid(), |c| matches!(c, '\n' | '\t'));
            let invalid = chunk.invalid();
            let is_last = invalid.as_ptr_range().end == bytes.as_ptr_range().end;
            match std::str::from_utf8(invalid) {
                Err(error) if is_last && error.error_len().is_none() => {
                    self.pending = invalid.to_vec();
                }
                _ => append_bytes(&mut escaped, invalid),
            }
        }
        escaped
    }

    /// The end of the stream: what is left of an incomplete character.
    pub(super) fn finish(&mut self) -> String {
        let mut escaped = String::new();
        append_bytes(&mut escaped, &std::mem::take(&mut self.pending));
        escaped
    }
}

fn append_bytes(escaped: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a String does not fail.
        let _ = write!(escaped, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let text = "a\u{1b}[2J\r\n\t\u{7f}\u{9b}\u{202e}\u{200b}\u{e0041}é漢";
        assert_eq!(
            escape(text),
            "a\\u001b[2J\\u000d\\u000a\\u0009\\u007f\\u009b\\u202e\\u200b\\udb40\\udc41é漢"
        );
    }

    #[test]
    fn a_message_of_any_length_is_cut() {
        let cut = escape(&"é".repeat(MAX_LENGTH + 1));
        assert_eq!(cut, "é".repeat(MAX_LENGTH) + "...");
        let whole = "é".repeat(MAX_LENGTH);
        assert_eq!(escape(&whole), whole);
    }

    #[test]
    fn a_stream_is_escaped_alike_however_it_is_divided() {
        let bytes = b"a\x1b\xe2\x80\xae\xc3\xa9\x9b\tz\n\xe2\x80";
        let expected = "a\\u001b\\u202eé\\x9b\tz\n\\xe2\\x80";
        for length in 1..=bytes.len() {
            let mut filter = Filter::default();
            let parts = bytes.chunks(length).map(|part| filter.push(part));
            let escaped = parts.collect::<String>() + &filter.finish();
            assert_eq!(escaped, expected, "{length}");
        }
    }
}
