//! The manual page of a configuration file, from the file that is shipped: a TOML file that describes each key in the
//! comment above it, and has the key itself commented out.
//!
//! A comment has a blank after `#`, a key that is commented out has none. A comment is about the key, or the table,
//! that follows it. One that an empty line follows is a paragraph. Lines that are indented in a comment stay as they
//! are. Keys of a table that is commented out are an example.

use super::Page;

/// A line of a file.
enum Line<'a> {
    /// Of a comment, without `# `.
    Comment(&'a str),
    /// The heading of a table, with its brackets.
    Table(&'a str),
    /// The heading of a table that is commented out.
    Example(&'a str),
    /// A key and its value.
    Key(&'a str, &'a str),
    Empty,
}

// === impl Page ===

impl Page {
    /// Adds what the comments of a TOML file say of it, its tables and its keys. `title` is that of the section of the keys.
    pub fn commented_toml(&mut self, text: &str, title: &str) {
        let mut comment = Vec::new();
        let mut example = String::new();
        let mut has_title = false;
        for line in text.lines().map(Line::of).chain([Line::Empty]) {
            let is_example = matches!(line, Line::Key(..)) && !example.is_empty();
            if !matches!(line, Line::Empty | Line::Comment(_)) && !has_title {
                // The comment above the first key is its own.
                self.section(title);
                has_title = true;
            }
            match line {
                Line::Comment(text) => comment.push(text),
                Line::Table(heading) => {
                    self.subsection(heading);
                    self.comment(&comment);
                    comment.clear();
                }
                Line::Example(heading) => {
                    if example.is_empty() && !comment.is_empty() {
                        self.subsection(heading);
                        self.comment(&comment);
                        comment.clear();
                    }
                    example += &format!("{heading}\n");
                }
                Line::Key(key, value) if is_example => example += &format!("{key} {value}\n"),
                Line::Key(key, value) => {
                    self.key(key, value, &comment);
                    comment.clear();
                }
                Line::Empty => {
                    if !example.is_empty() {
                        self.literal(&example);
                        example.clear();
                    }
                    self.comment(&comment);
                    comment.clear();
                }
            }
        }
    }

    /// Adds a key with the comment above it.
    fn key(&mut self, key: &str, value: &str, comment: &[&str]) {
        let is_plain = |line: &&&str| !line.is_empty() && !line.starts_with(' ');
        let (first, rest) = comment.split_at(comment.iter().take_while(is_plain).count());
        self.setting(key, value, &first.join("\n"));
        if !rest.is_empty() {
            self.indent();
            self.comment(rest);
            self.outdent();
        }
    }

    /// Adds the lines of a comment: paragraphs, and indented lines as they are.
    fn comment(&mut self, lines: &[&str]) {
        let is_indented = |line: &&str| line.starts_with(' ');
        for paragraph in lines.split(|line| line.is_empty()) {
            for part in paragraph.chunk_by(|a, b| is_indented(a) == is_indented(b)) {
                match part {
                    [first, ..] if is_indented(first) => self.literal(&part.join("\n")),
                    part => self.paragraph(&part.join("\n")),
                }
            }
        }
    }
}

// === impl Line ===

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let uncommented = line.strip_prefix('#').unwrap_or(line);
        match (line, uncommented.split_once(' ')) {
            ("", _) => Self::Empty,
            _ if line.starts_with("# ") || line == "#" => {
                Self::Comment(uncommented.get(1..).unwrap_or(""))
            }
            _ if line.starts_with('[') => Self::Table(line),
            _ if uncommented.starts_with('[') => Self::Example(uncommented),
            (_, Some((key, value))) => Self::Key(key, value),
            _ => Self::Key(uncommented, ""),
        }
    }
}
