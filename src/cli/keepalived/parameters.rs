//! Parameters of a keepalived.conf: `$NAME=VALUE`, and then `$NAME` or `${NAME}`.

use std::collections::HashMap;

/// The parameters that are defined so far.
#[derive(Debug, Default)]
pub(super) struct Parameters(HashMap<String, Value>);

/// The value of a parameter: one line, or several.
#[derive(Debug, Default)]
struct Value(Vec<String>);

/// A definition that continues in the next line.
#[derive(Debug)]
pub(super) struct Definition {
    name: String,
    value: Value,
}

/// A line with the values of parameters, and the lines that follow it if one of them has several.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub line: String,
    pub following: Vec<String>,
}

/// A line became too long, or a parameter stands for itself.
#[derive(Debug)]
pub(super) struct TooLong;

/// Length of a line in bytes.
const MAX_LINE: usize = 64 << 10;
/// Parameters that one line has, those in the values of others included.
const MAX_PARAMETERS: usize = 1000;

/// A reference to a parameter.
struct Reference<'a> {
    name: &'a str,
    /// Bytes of the reference.
    length: usize,
}

// === impl Parameters ===

impl Parameters {
    /// Takes a line that is a definition: `None` if it is one, else the line. A definition whose line
    /// ends with `\` is put into `open`, and takes the lines that follow.
    pub(super) fn define<'a>(
        &mut self,
        line: &'a str,
        open: &mut Option<Definition>,
    ) -> Option<&'a str> {
        let mut definition = match open.take() {
            Some(definition) => definition,
            None => {
                let Some((name, _)) = split(line) else {
                    return Some(line);
                };
                Definition {
                    name: name.to_owned(),
                    value: Value::default(),
                }
            }
        };
        let text = match split(line) {
            Some((_, value)) if definition.value.0.is_empty() => value,
            _ => line,
        };
        let text = text.trim();
        match text.strip_suffix('\\') {
            Some(text) => {
                definition.value.0.push(text.trim_end().to_owned());
                *open = Some(definition);
            }
            None => {
                definition.value.0.push(text.to_owned());
                self.close(definition);
            }
        }
        None
    }

    /// Ends a definition.
    pub(super) fn close(&mut self, mut definition: Definition) {
        // `$NAME= \` has nothing in its first line.
        if definition.value.0.len() > 1 && definition.value.0[0].is_empty() {
            definition.value.0.remove(0);
        }
        self.0.insert(definition.name, definition.value);
    }

    /// Replaces the parameters of a line, also those in their values. What is not defined stays.
    pub(super) fn expand(&self, line: &str) -> Result<Expanded, TooLong> {
        let mut line = line.to_owned();
        let mut following: Vec<String> = Vec::new();
        let mut start = 0;
        let mut replaced = 0;
        while let Some(found) = line.get(start..).and_then(|rest| rest.find('$')) {
            let at = start + found;
            let reference = reference(&line[at..]);
            let value = reference.and_then(|reference| {
                let value = self.0.get(reference.name)?;
                let is_last = line[at + reference.length..].trim().is_empty();
                // Several lines are possible only at the end of a line.
                (value.0.len() == 1 || is_last).then_some((value, reference.length))
            });
            let Some((Value(lines), length)) = value else {
                start = at + 1;
                continue;
            };
            replaced += 1;
            let (first, rest) = lines.split_first().ok_or(TooLong)?;
            if replaced > MAX_PARAMETERS || line.len() + first.len() > MAX_LINE {
                return Err(TooLong);
            }
            line.replace_range(at..at + length, first);
            following.splice(0..0, rest.iter().cloned());
            start = at;
        }
        Ok(Expanded { line, following })
    }
}

/// The name and the value of a definition.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('$')?.split_once('=')?;
    (name_length(name) == name.len() && !name.is_empty()).then_some((name, value))
}

/// The reference with which a text begins. Without braces, a blank must follow, or the end of a list.
fn reference(text: &str) -> Option<Reference<'_>> {
    let rest = &text[1..];
    let (name, braces) = match rest.strip_prefix('{') {
        Some(rest) => (rest.split_once('}')?.0, 2),
        None => (rest.get(..name_length(rest))?, 0),
    };
    let length = 1 + name.len() + braces;
    let is_name = !name.is_empty() && name_length(name) == name.len();
    let next = text[length..].chars().next();
    let ends = braces > 0 || next.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | ')'));
    (is_name && ends).then_some(Reference { name, length })
}

/// The number of bytes of the name with which a text begins.
fn name_length(text: &str) -> usize {
    let is_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let is_part = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    match is_digit {
        true => 0,
        false => text.bytes().take_while(is_part).count(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    fn parameters(lines: &[&str]) -> Parameters {
        let mut parameters = Parameters::default();
        let mut open = None;
        for line in lines {
            assert_eq!(parameters.define(line, &mut open), None, "{line}");
        }
        assert!(open.is_none());
        parameters
    }

    fn expanded(parameters: &Parameters, line: &str) -> String {
        let Expanded { line, following } = parameters.expand(line).unwrap();
        std::iter::once(line)
            .chain(following)
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn values_are_replaced_when_they_are_used() {
        let mut found = parameters(&["$NET=10.2.${SUB}", "  $SUB=0", "$_E=", "$W=7"]);
        for (line, wanted) in [
            ("${NET}.100/32", "10.2.0.100/32"),
            ("weight $W", "weight 7"),
            ("weight $W # x", "weight 7 # x"),
            (
                "a$_E b ${_E}c $NOT ${NOT} $W.1 $1 $ $",
                "a b c $NOT ${NOT} $W.1 $1 $ $",
            ),
            ("f($W, $W)", "f(7, 7)"),
            ("é$W", "é7"),
            ("${W", "${W"),
        ] {
            assert_eq!(expanded(&found, line), wanted);
        }
        found.define("$SUB=10", &mut None);
        assert_eq!(expanded(&found, "${NET}.1"), "10.2.10.1");
        for line in ["a $X=1", "$1=2", "$=2", "$X Y=2", "x"] {
            assert_eq!(found.define(line, &mut None), Some(line));
        }
    }

    #[test]
    fn a_value_of_several_lines_ends_a_line() {
        let found = parameters(&[
            "$RS= \\",
            " real_server $IP { \\",
            "   weight 1 \\",
            " }",
            "$IP=10.0.0.1 80",
        ]);
        assert_eq!(
            expanded(&found, "$RS"),
            "real_server 10.0.0.1 80 {|weight 1|}"
        );
        assert_eq!(expanded(&found, "$RS x"), "$RS x");
    }

    #[test]
    fn a_value_of_itself_is_an_error() {
        for lines in [&["$A=$B", "$B=$A"][..], &["$A=x$A y"], &["$A=$A"]] {
            assert!(parameters(lines).expand("$A").is_err(), "{lines:?}");
        }
    }
}
