//! The manual page ipvsctl(8), generated from the same tables as the help.

use std::io::{self, Write};

use super::{
    args,
    options::GLOBAL_OPTIONS,
    reference::{CONFIGURATION, ENVIRONMENT, EXAMPLES, EXIT_STATUS},
};
use crate::{
    ipvsadm::{OPTIONS, service_synopsis, synopses},
    manual::Page,
};

/// Writes the manual page in roff.
pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page::new(
        "ipvsctl",
        "8",
        "System Administration",
        "administer IPVS on remote directors",
    );
    page.section("SYNOPSIS");
    for synopsis in synopses().chain(["SUBCOMMAND ...".to_owned()]) {
        page.synopsis("ipvsctl", &synopsis);
    }
    page.paragraph(&format!("SERVICE: {}", service_synopsis()));
    page.section("DESCRIPTION");
    page.paragraph(
        "ipvsctl accepts the command lines of ipvsadm(8), with the same output, messages and exit \
         codes, and executes them through the daemon ipvsd, which may run on another machine. On this \
         machine, root and the members of the group ipvsd need no option: ipvsctl uses the socket \
         /run/ipvsd/ipvsd.sock if it exists, and http://127.0.0.1:4787 otherwise. Other users and other \
         machines need a token or a client certificate, and --endpoint or --director. Host and port names are resolved on the machine on which ipvsctl runs. \
         Invoked as ipvsadm, ipvsadm-save or ipvsadm-restore (through a link), it behaves as that \
         program. Differences from ipvsadm are listed in ipvsadm-compatibility.md.",
    );
    for (title, is_command) in [("COMMANDS", true), ("OPTIONS", false)] {
        page.section(title);
        for spec in OPTIONS.iter().filter(|s| s.is_command() == is_command) {
            page.entry(&spec.all_spellings(), spec.help);
        }
    }
    page.section("SUBCOMMANDS");
    page.subcommands(&args::grammar());
    page.section("GLOBAL OPTIONS");
    for option in &GLOBAL_OPTIONS {
        page.entry(&option.usage(), option.help);
    }
    for (title, entries) in [
        ("EXAMPLES", &EXAMPLES[..]),
        ("ENVIRONMENT", &ENVIRONMENT[..]),
    ] {
        page.section(title);
        for (term, text) in entries {
            page.entry(term, text);
        }
    }
    page.section("FILES");
    page.file(
        "~/.config/ipvsctl/config.toml, /etc/ipvsctl.toml",
        "Directors with their names. The first file that exists is used. A file with a token must be readable \
         by its owner alone. The command line and the environment take precedence; a director's token precedes the environment. Example:",
    );
    page.indent();
    page.literal(CONFIGURATION);
    page.outdent();
    page.section("EXIT STATUS");
    for (code, text) in EXIT_STATUS {
        page.entry(code, text);
    }
    page.see_also(&[("ipvsadm", "8"), ("ipvsd", "8")]);
    page.write(out)
}
