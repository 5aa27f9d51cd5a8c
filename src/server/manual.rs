//! The manual pages ipvsd(8), ipvsd.toml(5) and ipvsd-policy.toml(5).

use std::io::{self, Write};

use clap::{Command, CommandFactory};

use super::{
    args::{Arguments, ManualPage},
    reference::{ENVIRONMENT, EXIT_STATUS, FILES, SECURITY, SIGNALS},
};
use crate::manual::Page;

const ADMINISTRATION: &str = "System Administration";
const FORMATS: &str = "File Formats";

/// The configuration file that is shipped.
const CONFIGURATION: &str = include_str!("../../deploy/ipvsd.toml");
/// The policy file that is shipped.
const POLICY: &str = include_str!("../../deploy/policy.toml");

/// Writes a manual page in roff.
pub fn write_manual(page: ManualPage, out: &mut dyn Write) -> io::Result<()> {
    let page = match page {
        ManualPage::Ipvsd => daemon(),
        ManualPage::Configuration => configuration(),
        ManualPage::Policy => policy(),
    };
    page.write(out)
}

fn daemon() -> Page {
    let command = Arguments::command();
    let mut built = command.clone();
    built.build();
    let summary = "serve Linux IPVS over HTTP and gRPC";
    let mut page = Page::new("ipvsd", "8", ADMINISTRATION, summary);
    page.section("SYNOPSIS");
    page.synopsis("ipvsd", "[OPTION]...");
    for subcommand in built.get_subcommands_mut() {
        synopses(&mut page, subcommand);
    }
    page.section("DESCRIPTION");
    let about = command.get_long_about().map(ToString::to_string);
    for text in about.unwrap_or_default().split("\n\n") {
        page.paragraph(text);
    }
    page.section("OPTIONS");
    page.entry(
        "-h, --help",
        "Print a summary of the options, or all of their texts with --help.",
    );
    page.arguments(&command);
    page.entry("-V, --version", "Print the version.");
    page.section("SUBCOMMANDS");
    page.subcommands(&command);
    page.section("SIGNALS");
    for (name, effect) in SIGNALS {
        page.entry(name, &format!("{effect}."));
    }
    for (title, entries) in [
        ("EXIT STATUS", &EXIT_STATUS[..]),
        ("ENVIRONMENT", &ENVIRONMENT[..]),
    ] {
        page.section(title);
        for (term, text) in entries {
            page.entry(term, text);
        }
    }
    page.section("FILES");
    for (path, text) in FILES {
        page.file(path, text);
    }
    page.section("SECURITY");
    for text in SECURITY {
        page.paragraph(text);
    }
    page.see_also(&[
        ("ipvsctl", "8"),
        ("ipvsd.toml", "5"),
        ("ipvsd-policy.toml", "5"),
        ("ipvsadm", "8"),
        ("systemd.socket", "5"),
    ]);
    page
}

/// Adds the command lines of a subcommand, or of those below it.
fn synopses(page: &mut Page, subcommand: &mut Command) {
    if subcommand.get_name() == "help" {
        return;
    }
    if subcommand.has_subcommands() {
        subcommand
            .get_subcommands_mut()
            .for_each(|inner| synopses(page, inner));
        return;
    }
    let usage = subcommand.render_usage().to_string();
    let words = usage.split_once("ipvsd ").map_or("", |(_, words)| words);
    page.synopsis("ipvsd", words);
}

fn configuration() -> Page {
    let summary = "configuration of the daemon ipvsd";
    let mut page = Page::new("ipvsd.toml", "5", FORMATS, summary);
    page.section("DESCRIPTION");
    page.paragraph(
        "The file that ipvsd --config or the variable IPVSD_CONFIG names; for the service of systemd, \
         /etc/ipvsd/ipvsd.toml. It is a TOML file. Documents that are named docs/... belong to the sources of ipvsd.",
    );
    page.commented_toml(CONFIGURATION, "KEYS");
    page.see_also(&[("ipvsd", "8"), ("ipvsd-policy.toml", "5"), ("ipvsctl", "8")]);
    page
}

fn policy() -> Page {
    let summary = "credentials that the daemon ipvsd accepts, and what they permit";
    let mut page = Page::new("ipvsd-policy.toml", "5", FORMATS, summary);
    page.section("DESCRIPTION");
    page.commented_toml(POLICY, "ENTRIES");
    page.see_also(&[("ipvsd", "8"), ("ipvsd.toml", "5"), ("ipvsctl", "8")]);
    page
}

#[cfg(test)]
mod tests;
