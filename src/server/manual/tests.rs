//! The pages and what they are made of agree.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::server::keys::KEYS;

/// A page without what roff escapes.
fn text(page: ManualPage) -> String {
    let mut text = Vec::new();
    write_manual(page, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\&", "")
}

/// The section of a page with a title.
fn section(text: &str, title: &str) -> String {
    let mut sections = text.split("\n.SH ");
    let quoted = format!("\"{title}\"\n");
    let found = sections.find_map(|section| {
        let plain = section
            .strip_prefix(title)
            .and_then(|rest| rest.strip_prefix('\n'));
        plain.or_else(|| section.strip_prefix(quoted.as_str()))
    });
    found
        .unwrap_or_else(|| panic!("no section {title}"))
        .to_owned()
}

#[test]
fn the_page_of_the_daemon_has_every_option_and_subcommand() {
    fn assert_described(page: &str, command: &Command) {
        for arg in command.get_arguments() {
            let name = arg.get_long().map_or_else(
                || arg.get_value_names().unwrap().concat(),
                |long| format!("--{long}"),
            );
            let is_term = |line: &str| line.starts_with("\\fB") && line.contains(&name);
            assert!(page.lines().any(is_term), "{}: {name}", command.get_name());
            let help = arg.get_help().unwrap().to_string();
            assert!(page.contains(&help), "{name}: {help}");
        }
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            let is_term =
                |line: &str| line.starts_with("\\fB") && line.ends_with(&format!("{name}\\fR"));
            assert!(page.lines().any(is_term), "{name}");
            assert_described(page, subcommand);
        }
    }
    assert_described(&text(ManualPage::Ipvsd), &Arguments::command());
}

#[test]
fn the_page_of_the_daemon_has_each_command_line() {
    let synopsis = section(&text(ManualPage::Ipvsd), "SYNOPSIS");
    for words in [
        "[OPTION]...",
        "state export [OPTIONS]",
        "openapi [OPTIONS]",
        "completion <SHELL>",
    ] {
        let line = format!("\\fBipvsd\\fR {words}");
        let mut lines = synopsis.lines();
        assert!(
            lines.any(|found| found.ends_with(&line)),
            "{line}: {synopsis}"
        );
    }
}

#[test]
fn the_page_of_the_daemon_has_the_signals_and_statuses_of_the_document() {
    let document = include_str!("../../../docs/ipvsd.md");
    let page = text(ManualPage::Ipvsd);
    let (_, signals) = document.split_once("\n## Signals\n").unwrap();
    for (names, _) in SIGNALS {
        for name in names.split(", ") {
            assert!(signals.contains(&format!("SIG{name}")), "{name}");
        }
    }
    let (_, statuses) = document.split_once("\n## Exit status\n").unwrap();
    let rows = statuses.lines().filter_map(|line| {
        let status = line.strip_prefix("| ")?.split(' ').next()?;
        status.parse::<u8>().ok()
    });
    let documented: Vec<_> = rows.map(|status| status.to_string()).collect();
    assert_eq!(
        EXIT_STATUS.map(|(status, _)| status.to_owned()).to_vec(),
        documented
    );
    for title in [
        "SIGNALS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "SECURITY",
        "SEE ALSO",
    ] {
        section(&page, title);
    }
    for (name, _) in SIGNALS.iter().chain(&EXIT_STATUS).chain(&ENVIRONMENT) {
        assert!(page.contains(&format!("\n\\fB{name}\\fR\n")), "{name}");
    }
}

/// Keys of a page in order, each with its table, and its description.
fn keys(page: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    let mut lines = section(page, "KEYS");
    lines += "\n.";
    let mut lines = lines.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix(".SS ") {
            table = heading.trim_matches(['[', ']']).to_owned() + ".";
        }
        let Some((key, _)) = line
            .strip_prefix("\\fB")
            .and_then(|rest| rest.split_once("\\fR = "))
        else {
            continue;
        };
        let mut about = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('.')) {
            about += line;
        }
        keys.push((format!("{table}{key}"), about));
    }
    keys
}

#[test]
fn the_page_of_the_configuration_describes_every_key() {
    let found = keys(&text(ManualPage::Configuration));
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names, expected);
    for (name, about) in found {
        assert!(about.len() > 30, "{name}: {about:?}");
    }
}

#[test]
fn the_pages_of_files_have_every_line_of_them() {
    for (page, file) in [
        (ManualPage::Configuration, CONFIGURATION),
        (ManualPage::Policy, POLICY),
    ] {
        let page = text(page);
        for line in file.lines() {
            let comment = line
                .strip_prefix("# ")
                .or_else(|| line.strip_prefix('#'))
                .unwrap_or(line);
            let comment = comment.trim_end();
            // A key is bold in a list, and plain in an example.
            let bold = comment
                .split_once(' ')
                .map(|(key, rest)| format!("\\fB{key}\\fR {rest}"));
            let is_there = page.contains(comment) || bold.is_some_and(|bold| page.contains(&bold));
            assert!(is_there, "{comment}");
        }
    }
}
