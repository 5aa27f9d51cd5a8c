//! The table of options and everything that is generated from it agree.

use std::{collections::BTreeSet, ffi::OsString};

use super::{
    args::{self, Args},
    completion,
    error::CliError,
    help, man,
    options::GLOBAL_OPTIONS,
};
use crate::ipvsadm::{Numeric, OPTIONS, OptionError, ParseError, parse_with};

/// The option words in a text, such as `-t` and `--tcp-service`.
fn option_words(text: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(text)
        .replace("\\-", "-")
        .replace("\\fB", "")
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
    let subcommands = || grammar.get_subcommands();
    let all = subcommands().chain(subcommands().flat_map(|s| s.get_subcommands()));
    let mut arguments = all.flat_map(|s| s.get_arguments());
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

/// The completions of the last of `words`.
fn completions(words: &[&str]) -> Vec<String> {
    let words: Vec<_> = ["ipvsctl"]
        .iter()
        .chain(words)
        .map(OsString::from)
        .collect();
    let mut grammar = completion::grammar(&words);
    let last = words.len() - 1;
    let candidates = clap_complete::engine::complete(&mut grammar, words, last, None).unwrap();
    let values = candidates.iter().map(|candidate| candidate.get_value());
    values
        .map(|value| value.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_completions_contain_exactly_the_options_of_the_parser() {
    let completed: BTreeSet<_> = completions(&["-"])
        .into_iter()
        .chain(completions(&["--"]))
        .collect();
    // A second letter of an option, an alias, is accepted but not offered.
    let aliases = OPTIONS.iter().flat_map(|spec| spec.short.chars().skip(1));
    let aliases: BTreeSet<_> = aliases.map(|letter| format!("-{letter}")).collect();
    let missing = &(&table() - &aliases) - &completed;
    assert!(missing.is_empty(), "{missing:?}");
    for option in completed {
        assert!(is_accepted(&option), "{option}");
    }
}

#[test]
fn values_that_are_known_here_are_completed() {
    for (words, value) in [
        (&["-A", "-t", "192.0.2.1:80", "-s", "w"][..], "wlc"),
        (&["-A", "-f", "1", "--scheduler", ""], "mh"),
        (&["-a", "--tun-type", "g"], "gue"),
        (&["--start-daemon", "m"], "master"),
        (&["settings", "conn"], "conntrack"),
        (&["connections", "--count-by", "s"], "state"),
        (&["restore", "--input", "y"], "yaml"),
        (&["--output", "j"], "json"),
        (&["apply", "--on-failure", "s"], "stop"),
        (&["diff", "--adopt", "u"], "unmanaged"),
        (&["tables", "sh"], "show"),
        (&["drain", "192.0.2.1", "--then", "r"], "remove"),
        (&["undr"], "undrain"),
        (&["rest"], "restore"),
        (&["who"], "whoami"),
        (&["token", "cr"], "create"),
        (&["token", "create", "--role", "v"], "viewer"),
    ] {
        let completed = completions(words);
        assert!(
            completed.iter().any(|one| one == value),
            "{words:?}: {completed:?}"
        );
    }
}

#[test]
fn the_help_of_a_subcommand_has_its_own_options_first() {
    for subcommand in args::grammar().get_subcommands() {
        for help in ["-h", "--help"] {
            let words = [subcommand.get_name().to_owned(), help.to_owned()];
            let Err(CliError::Args(help)) = Args::parse(&words) else {
                panic!("{words:?}");
            };
            let help = help.render().to_string();
            let own = help.find("\nOptions:\n").unwrap();
            let global = help.find("\nGlobal options:\n").unwrap();
            assert!(own < global, "{help}");
        }
    }
}

#[test]
fn the_manual_page_has_a_section_and_a_date() {
    let mut text = Vec::new();
    man::write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let title = text
        .lines()
        .find_map(|line| line.strip_prefix(".TH IPVSCTL 8 "));
    let date = title.unwrap().split(' ').next().unwrap();
    let date: Vec<_> = date.split('-').collect();
    assert!(
        matches!(date[..], [year, _, _] if year.len() == 4),
        "{title:?}"
    );
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
