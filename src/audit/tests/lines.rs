//! Reading of lines backwards.

use proptest::prelude::*;

use super::*;
use crate::audit::lines::{BackwardLines, MAX_LINE, first_line};

/// The lines of a text, the last one first, with their places.
fn backwards(text: &[u8], end: usize) -> Vec<(usize, Vec<u8>)> {
    let dir = TempDir::new();
    fs::write(dir.file(), text).unwrap();
    let file = fs::File::open(dir.file()).unwrap();
    let mut lines = BackwardLines::new(file, end as u64);
    let mut found = Vec::new();
    while let Some(line) = lines.next().unwrap() {
        found.push((line.start as usize, line.text));
    }
    found
}

/// The same, by going forward.
fn expected(text: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        if body.len() <= MAX_LINE {
            found.push((start, body.to_vec()));
        }
        start += line.len();
    }
    found.reverse();
    found
}

#[test]
fn lines_around_the_size_of_a_block_are_found() {
    for length in [0, 1, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE + 7] {
        let long = vec![b'x'; length];
        for text in [
            [b"a\n".as_slice(), &long, b"\nb\n"].concat(),
            [long.as_slice(), b"\nb"].concat(),
            [b"a\n\n".as_slice(), &long].concat(),
            [b"a\n".as_slice(), &long, b"\n", &long, b"\n"].concat(),
        ] {
            let found = backwards(&text, text.len());
            assert!(found == expected(&text), "a line of {length} bytes");
        }
    }
}

#[test]
fn reading_starts_at_a_place() {
    assert_eq!(
        backwards(b"a\nbc\nd\n", 5),
        [(2, b"bc".to_vec()), (0, b"a".to_vec())]
    );
    assert_eq!(backwards(b"a\n", 0), []);
}

#[test]
fn the_first_line_is_found_if_it_is_complete() {
    let first = |text: &[u8]| {
        let dir = TempDir::new();
        fs::write(dir.file(), text).unwrap();
        first_line(&fs::File::open(dir.file()).unwrap()).unwrap()
    };
    assert_eq!(first(b"ab\nc\n"), Some(b"ab".to_vec()));
    assert_eq!(first(b"\n"), Some(Vec::new()));
    assert_eq!(first(b"ab"), None);
    assert_eq!(first(b""), None);
    assert_eq!(first(&vec![b'x'; 2 * MAX_LINE]), None);
}

proptest! {
    #[test]
    fn lines_are_the_same_backwards(lines in prop::collection::vec(0usize..40_000, 0..12), end: bool) {
        let lines: Vec<_> = lines.into_iter().map(|length| "x".repeat(length)).collect();
        let mut text = lines.join("\n");
        if end {
            text.push('\n');
        }
        prop_assert!(backwards(text.as_bytes(), text.len()) == expected(text.as_bytes()));
    }
}
