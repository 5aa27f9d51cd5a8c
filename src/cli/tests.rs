//! The table of options and everything that is generated from it agree.

use std::collections::BTreeSet;

use super::{args, args::Shell, completion, help, man, options::GLOBAL_OPTIONS};
use crate::ipvsadm::{Numeric, OPTIONS, OptionError, ParseError, parse_with};

/// The option words in a text, such as `-t` and `--tcp-service`.
fn option_words(text: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(text)
        .replace("\\-", "-")
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every spelling in the tables.
fn table() -> BTreeSet<String> {
    let long = OPTIONS.iter().map(|spec| spec.long);
    let global = GLOBAL_OPTIONS.iter().map(|option| option.syntax.long);
    let short = OPTIONS.iter().flat_map(|spec| spec.short.chars());
    long.chain(global)
        .map(|name| format!("--{name}"))
        .chain(short.map(|letter| format!("-{letter}")))
        .collect()
}

/// Whether the parser of ipvsadm's command lines, or the grammar of a subcommand, knows an option.
fn is_accepted(option: &str) -> bool {
    let extra = GLOBAL_OPTIONS.map(|option| option.syntax);
    let parsed = parse_with("ipvsctl", &["-L", option, "value"], &extra, &Numeric);
    let unknown = matches!(
        parsed,
        Err(ParseError::Option {
            error: OptionError::Unknown,
            ..
        })
    );
    let grammar = args::grammar();
    let mut arguments = grammar.get_subcommands().flat_map(|s| s.get_arguments());
    let is_of_subcommand = |long| arguments.any(|arg| arg.get_long() == Some(long));
    !unknown || option.strip_prefix("--").is_some_and(is_of_subcommand)
}

fn assert_documents_the_table(name: &str, text: &[u8]) {
    let words = option_words(text);
    let missing: Vec<_> = table().difference(&words).cloned().collect();
    assert!(missing.is_empty(), "{name} lacks {missing:?}");
    let unknown: Vec<_> = words.iter().filter(|word| !is_accepted(word)).collect();
    assert!(unknown.is_empty(), "{name} has {unknown:?}");
}

#[test]
fn the_parser_accepts_every_option_of_the_table() {
    for option in table() {
        assert!(is_accepted(&option), "{option}");
    }
    assert!(!is_accepted("--no-such-option"));
    assert!(!is_accepted("-k"));
}

#[test]
fn the_short_help_documents_exactly_the_options_of_the_parser() {
    let mut text = Vec::new();
    help::write_short(&mut text, "ipvsctl").unwrap();
    assert_documents_the_table("-h", &text);
}

#[test]
fn the_long_help_documents_exactly_the_options_of_the_parser() {
    let mut text = Vec::new();
    help::write_long(&mut text).unwrap();
    assert_documents_the_table("help", &text);
}

#[test]
fn the_manual_page_documents_exactly_the_options_of_the_parser() {
    let mut text = Vec::new();
    man::write(&mut text).unwrap();
    assert_documents_the_table("man", &text);
}

#[test]
fn the_completions_contain_every_option() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        completion::write(&mut script, shell).unwrap();
        let script = String::from_utf8(script).unwrap();
        for option in table() {
            let (long, short) = match option.strip_prefix("--") {
                Some(long) => (Some(long), None),
                None => (None, option.strip_prefix('-')),
            };
            // Fish writes `-l NAME` and `-s LETTER`.
            let contained = match shell {
                Shell::Fish => {
                    let name = match long {
                        Some(long) => format!("-l {long}"),
                        None => format!("-s {}", short.unwrap_or_default()),
                    };
                    script.lines().any(|line| {
                        line.split(" -d ")
                            .next()
                            .is_some_and(|line| format!("{line} ").contains(&format!(" {name} ")))
                    })
                }
                _ => option_words(script.as_bytes()).contains(&option),
            };
            assert!(contained, "{shell:?}: {option}");
        }
    }
}

#[test]
fn the_bash_completion_contains_only_options_of_the_parser() {
    let mut script = Vec::new();
    completion::write(&mut script, Shell::Bash).unwrap();
    let script = String::from_utf8(script).unwrap();
    let mut lists = script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("opts="))
        .peekable();
    assert!(lists.peek().is_some());
    for option in lists.flat_map(|list| option_words(list.as_bytes())) {
        assert!(is_accepted(&option), "{option}");
    }
}

#[test]
fn help_lines_are_at_most_98_characters_wide() {
    let mut text = Vec::new();
    help::write_short(&mut text, "ipvsctl").unwrap();
    help::write_long(&mut text).unwrap();
    for line in String::from_utf8(text).unwrap().lines() {
        assert!(line.chars().count() <= 98, "{line}");
    }
}
