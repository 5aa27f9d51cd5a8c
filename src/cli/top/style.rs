//! What the terminal can show: colors, and characters other than ASCII.

use std::env;

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::border,
};

use crate::cli::{options, output::is_colored};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Styles {
    is_colored: bool,
    is_unicode: bool,
}

/// Borders of characters that every terminal has.
const ASCII_BORDER: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

// === impl Styles ===

impl Styles {
    pub(super) fn new(is_colored: bool, is_unicode: bool) -> Self {
        Self {
            is_colored,
            is_unicode,
        }
    }

    /// As the options and the environment say (`NO_COLOR`; `LC_ALL`, `LC_CTYPE`, `LANG`).
    pub(super) fn of_environment(color: options::Color) -> Self {
        let mut locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
        let locale = locale.find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        Self::new(
            is_colored(color, true),
            locale.is_some_and(|name| is_utf8(&name)),
        )
    }

    pub(super) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The heading of the column that rows are sorted by.
    pub(super) fn sorted(self) -> Style {
        self.heading().add_modifier(Modifier::UNDERLINED)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Figures that are not current.
    pub(super) fn old(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn failure(self) -> Style {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn success(self) -> Style {
        self.color(Color::Green)
    }

    /// What is held.
    pub(super) fn held(self) -> Style {
        self.color(Color::Yellow)
    }

    fn color(self, color: Color) -> Style {
        match self.is_colored {
            true => Style::new().fg(color),
            false => Style::new(),
        }
    }

    pub(super) fn ellipsis(self) -> char {
        if self.is_unicode { '…' } else { '~' }
    }

    pub(super) fn border(self) -> border::Set<'static> {
        match self.is_unicode {
            true => border::PLAIN,
            false => ASCII_BORDER,
        }
    }

    /// A text in the characters that the terminal can show.
    pub(super) fn text(self, text: &str) -> String {
        let shown = |c: char| {
            if self.is_unicode || c.is_ascii() {
                c
            } else {
                '?'
            }
        };
        text.chars().map(shown).collect()
    }
}

/// Whether the name of a locale has UTF-8 as its encoding: `C.UTF-8`, `de_DE.utf8`.
fn is_utf8(locale: &str) -> bool {
    let (_, encoding) = locale.split_once('.').unwrap_or_default();
    let (encoding, _) = encoding.split_once('@').unwrap_or((encoding, ""));
    encoding.eq_ignore_ascii_case("UTF-8") || encoding.eq_ignore_ascii_case("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_without_utf8_gets_ascii() {
        for name in ["C.UTF-8", "de_DE.utf8", "de_DE.UTF-8@euro"] {
            assert!(is_utf8(name), "{name}");
        }
        for name in ["C", "POSIX", "de_DE", "de_DE.ISO-8859-1", ""] {
            assert!(!is_utf8(name), "{name}");
        }
        assert_eq!(Styles::new(true, false).text("é-1"), "?-1");
        assert_eq!(Styles::new(true, true).text("é-1"), "é-1");
    }
}
