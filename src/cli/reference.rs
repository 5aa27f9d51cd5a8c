//! Documentation that the help and the manual page share.

/// Example command lines, with what they do.
pub(super) const EXAMPLES: [(&str, &str); 10] = [
    (
        "ipvsctl -A -t 192.0.2.1:80 -s rr",
        "add a virtual service with round robin",
    ),
    (
        "ipvsctl -a -t 192.0.2.1:80 -r 192.168.10.1 -m",
        "add a real server with masquerading",
    ),
    (
        "ipvsctl --endpoint https://lb1 -Ln --stats",
        "list the counters of a remote director",
    ),
    ("ipvsctl -Ln --output json", "list the table as JSON"),
    (
        "ipvsctl save >rules; ipvsctl restore <rules",
        "save and restore the table",
    ),
    (
        "ipvsctl save --full >state.json",
        "save timeouts, daemons and settings too",
    ),
    (
        "ipvsctl restore --dry-run state.json",
        "show what a restore would change",
    ),
    (
        "ipvsctl connections --count-by state",
        "count connections by state",
    ),
    (
        "ipvsctl settings expire_nodest_conn=true",
        "change a kernel setting",
    ),
    (
        "alias ipvsadm='ipvsctl --endpoint https://lb1'",
        "run ipvsadm commands on a remote director",
    ),
];

/// Environment variables.
pub(super) const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "IPVSCTL_ENDPOINT",
        "Endpoint of the daemon if neither --endpoint nor --director is given.",
    ),
    (
        "IPVSCTL_CONFIG",
        "Configuration file, instead of the default locations.",
    ),
    (
        "NO_COLOR",
        "If set, messages are not colored unless --color always is given.",
    ),
];

/// An example of the configuration file.
pub(super) const CONFIGURATION: &str = "\
default = \"lb1\"

[directors.lb1]
endpoint = \"https://lb1.example.com\"
ca = \"/etc/ipvsctl/ca.pem\"   # trusted in addition to the system's certificates
timeout = 10                   # seconds
";

/// Exit codes. 0, 1, 2 and 255 are those of ipvsadm.
pub(super) const EXIT_STATUS: [(&str, &str); 5] = [
    ("0", "Success."),
    (
        "1",
        "A listing failed, or a command of restore or of -R with --keep-going failed.",
    ),
    (
        "2",
        "Invalid command line or configuration, daemon not reachable, IPVS not available, response not \
         understood, or output lost. A change was not made, or not completely: the message says so.",
    ),
    (
        "3",
        "The outcome of a change is unknown: it was sent, but the reply was lost. The message has the \
         command that shows whether the change was made.",
    ),
    (
        "255",
        "Rejected by the kernel, or unknown option. -R ends with the code of its last line.",
    ),
];

/// The first sentence of a help text, without the period.
pub(super) fn summary(help: &'static str) -> &'static str {
    help.split_once(". ")
        .map_or(help, |(first, _)| first)
        .trim_end_matches('.')
}
