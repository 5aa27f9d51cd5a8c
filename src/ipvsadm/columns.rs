//! Writes lines in columns. Padding numbers by hand takes a fraction of the time of `write!`, and
//! long listings consist of little else.

use itoa::Integer;

/// Buffer for a line, reused for the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct ColumnWriter {
    pub text: String,
}

// === impl ColumnWriter ===

impl ColumnWriter {
    /// Appends a number.
    pub fn number(&mut self, number: impl Integer) {
        self.text.push_str(itoa::Buffer::new().format(number));
    }

    /// Appends a blank, and text aligned left in a column.
    pub fn left(&mut self, text: &str, width: usize) {
        self.text.push(' ');
        let start = self.text.len();
        self.text.push_str(text);
        self.fill(start, width);
    }

    /// Appends a blank, and a number aligned left in a column.
    pub fn left_number(&mut self, number: impl Integer, width: usize) {
        self.left(itoa::Buffer::new().format(number), width);
    }

    /// Appends a number aligned right in a column.
    pub fn right_number(&mut self, number: impl Integer, width: usize) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number);
        for _ in digits.len()..width {
            self.text.push(' ');
        }
        self.text.push_str(digits);
    }

    /// Pads the text that begins at byte `start` to `width` characters.
    pub fn fill(&mut self, start: usize, width: usize) {
        let written = self
            .text
            .get(start..)
            .map_or(0, |text| text.chars().count());
        for _ in written..width {
            self.text.push(' ');
        }
    }
}
