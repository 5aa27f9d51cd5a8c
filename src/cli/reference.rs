//! Documentation that the help and the manual page share.

/// Example command lines, with what they do.
pub(super) const EXAMPLES: [(&str, &str); 24] = [
    (
        "ipvsctl -A -t 192.0.2.1:80 -s rr",
        "add a virtual service with round robin",
    ),
    (
        "ipvsctl -a -t 192.0.2.1:80 -r 192.168.10.1 -m",
        "add a real server with masquerading",
    ),
    (
        "ipvsctl --endpoint https://lb1:4788 -Ln --stats",
        "list the counters of a remote director",
    ),
    (
        "ipvsctl -Ln --rate --watch=5",
        "list the rates every 5 seconds",
    ),
    ("ipvsctl --all top", "watch the rates, drain servers"),
    (
        "ipvsctl probe --ready",
        "check that the director can change its kernel",
    ),
    ("ipvsctl whoami", "show as whom the director recognises you"),
    (
        "ipvsctl can-i update_weight tcp-192.0.2.1-80",
        "ask whether you may change a weight",
    ),
    (
        "ipvsctl token create --name web --role viewer",
        "make a token and its entry for the policy",
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
        "ipvsctl diff -f web.yaml --owner web",
        "show what an apply would change",
    ),
    (
        "ipvsctl apply -f web.yaml --owner web",
        "make services what a file declares",
    ),
    (
        "ipvsctl batch -f changes.yaml",
        "execute operations together",
    ),
    (
        "ipvsctl export >all.yaml",
        "write the running services as such a file",
    ),
    (
        "ipvsctl convert keepalived.conf >web.yaml",
        "write keepalived's services as such a file",
    ),
    (
        "ipvsctl connections --count-by state",
        "count connections by state",
    ),
    (
        "ipvsctl drain 192.168.10.1 --deadline 300",
        "take a server out of service",
    ),
    (
        "ipvsctl undrain 192.168.10.1",
        "give it new connections again",
    ),
    (
        "ipvsctl watch --initial",
        "print the table, and changes as they happen",
    ),
    (
        "ipvsctl settings expire_nodest_conn=true",
        "change a kernel setting",
    ),
    (
        "alias ipvsadm='ipvsctl --director lb1'",
        "run ipvsadm commands on a remote director",
    ),
];

/// Environment variables.
pub(super) const ENVIRONMENT: [(&str, &str); 9] = [
    (
        "IPVSCTL_ENDPOINT",
        "Endpoint of the daemon if neither --endpoint nor --director is given.",
    ),
    (
        "IPVSCTL_CONFIG",
        "Configuration file, instead of the default locations.",
    ),
    ("IPVSCTL_CA", "As --ca, which takes precedence."),
    ("IPVSCTL_CERT", "As --cert, which takes precedence."),
    (
        "IPVSCTL_KEY",
        "File of the key of the certificate in IPVSCTL_CERT.",
    ),
    (
        "IPVSCTL_TOKEN",
        "The bearer token, unless --token-file is given. The token of a director in the configuration \
         file takes precedence. It is sent to a port of this machine only if the port is named.",
    ),
    (
        "IPVSCTL_TOKEN_FILE",
        "File of the token, readable by its owner alone. Not together with IPVSCTL_TOKEN.",
    ),
    (
        "IPVSCTL_FINGERPRINT",
        "As --fingerprint, which takes precedence.",
    ),
    (
        "NO_COLOR",
        "If set, messages, plans and top are not colored unless --color always is given.",
    ),
];

/// An example of the configuration file.
pub(super) const CONFIGURATION: &str = "\
default = \"lb1\"

[directors.lb1]
endpoint = \"https://lb1.example.com:4788\"
ca = \"/etc/ipvsctl/ca.pem\"       # trusted in addition to the system's certificates
cert = \"/etc/ipvsctl/me.pem\"     # certificate of this client
key = \"/etc/ipvsctl/me.key\"      # its key; default: in the file of cert
timeout = 10                       # seconds

[directors.lb2]
endpoint = \"https://192.0.2.2:4788\"
# The SHA-256 of the director's certificate, instead of a CA:
fingerprint = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"
token_file = \"/etc/ipvsctl/token\" # or token = \"ipvsd_...\"
";

/// Exit codes. 0, 1, 2 and 255 are those of ipvsadm.
pub(super) const EXIT_STATUS: [(&str, &str); 9] = [
    (
        "0",
        "Success. With --watch, the exit code is the highest of all listings.",
    ),
    (
        "1",
        "A listing failed, a command of restore or of -R with --keep-going failed, can-i says no, apply, batch, \
         diff or health failed for any reason, or convert --strict found something that it does not convert.",
    ),
    (
        "2",
        "Invalid command line or configuration, daemon not reachable or not trusted, credential refused or \
         not sufficient, IPVS not available, response not understood, or output lost. A change was not made, or not completely: the message says so. \
         Of diff, and of apply and batch with --dry-run: something would change.",
    ),
    (
        "3",
        "The outcome of a change is unknown: it was sent, but the reply was lost. The message has the \
         command that shows whether the change was made.",
    ),
    ("4", "Of drain: there were connections at its deadline."),
    (
        "5",
        "Of drain and ramp: it was ended before (cancelled, superseded).",
    ),
    (
        "6",
        "Of drain and ramp: --wait-timeout is over, and it goes on.",
    ),
    (
        "130",
        "Of drain and ramp: interrupted by ^C while it waited (143: by SIGTERM). The drain or ramp goes on. Of top: \
         143, ended by SIGTERM.",
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
