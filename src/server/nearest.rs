//! The key or variable that was probably meant.

use super::{
    args::CONFIG_VARIABLE,
    keys::{KEYS, Key, PREFIX},
};

/// The key that was probably meant: one with the same last component (`max_body_bytes` outside of
/// `[limits]`), or the nearest by edit distance, up to a third of the length of `name`.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &'_ str| {
        name.rsplit_once('.')
            .map_or(name, |(_, last)| last)
            .to_owned()
    };
    if let Some(key) = KEYS.iter().find(|key| last(key.name) == last(name)) {
        return Some(key.name);
    }
    nearest_of(KEYS.iter().map(|key| key.name), name)
}

/// The environment variable that was probably meant: one with the same end (IPVSD_MAX_BODY_BYTES), or
/// the nearest.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let name = name.trim_start_matches(PREFIX);
    let keys = KEYS.iter().map(Key::variable);
    let known = keys.chain([CONFIG_VARIABLE.to_owned()]);
    // Without the common prefix, which would make short names similar.
    let mut known = known.map(|known| known.trim_start_matches(PREFIX).to_owned());
    let same_end = known
        .clone()
        .find(|known| known.ends_with(&format!("_{name}")));
    let nearest = same_end.or_else(|| nearest_of(&mut known, name))?;
    Some(format!("{PREFIX}{nearest}"))
}

/// The nearest name by edit distance, up to a third of the length of `name`.
fn nearest_of<T: AsRef<str> + Ord>(names: impl Iterator<Item = T>, name: &str) -> Option<T> {
    let scored = names.map(|known| (edit_distance(known.as_ref(), name), known));
    scored
        .min()
        .filter(|(distance, _)| distance * 3 <= name.len())
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
