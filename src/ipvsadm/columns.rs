//! A line in columns. A long listing is little else than padded numbers, and `write!` takes several
//! times as long for each as they take here.

use itoa::Integer;

/// A line that is built in place, and used again for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub text: String,
}

// === impl Line ===

impl Line {
    /// A number as it is.
    pub fn number(&mut self, number: impl Integer) {
        self.text.push_str(itoa::Buffer::new().format(number));
    }

    /// A blank, and text at the left of a column.
    pub fn left(&mut self, text: &str, width: usize) {
        self.text.push(' ');
        let start = self.text.len();
        self.text.push_str(text);
        self.fill(start, width);
    }

    /// A blank, and a number at the left of a column.
    pub fn left_number(&mut self, number: impl Integer, width: usize) {
        self.left(itoa::Buffer::new().format(number), width);
    }

    /// A number at the right of a column.
    pub fn right_number(&mut self, number: impl Integer, width: usize) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number);
        for _ in digits.len()..width {
            self.text.push(' ');
        }
        self.text.push_str(digits);
    }

    /// Blanks, until what begins at `start` is as wide as its column.
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
