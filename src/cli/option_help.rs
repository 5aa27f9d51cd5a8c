//! Every command and option with its range and default, for the help, the manual page and the
//! completions.

/// An option of ipvsadm's as it is explained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explained {
    pub short: Option<char>,
    pub long: &'static str,
    /// Its value, if it takes one.
    pub value: &'static str,
    pub text: &'static str,
}

/// Commands.
pub(super) const COMMANDS: [Explained; 15] = [
    of(
        'A',
        "add-service",
        "",
        "Add a virtual service: -t, -u, --sctp-service or -f names it; with -s, -p, -M, -o, --pe, -b",
    ),
    of(
        'E',
        "edit-service",
        "",
        "Replace a virtual service's whole configuration: what is not given goes back to its default",
    ),
    of(
        'D',
        "delete-service",
        "",
        "Delete a virtual service with its real servers",
    ),
    of('C', "clear", "", "Delete all virtual services"),
    of(
        'a',
        "add-server",
        "",
        "Add the real server -r to a virtual service; with -g, -i or -m, -w, -x, -y, --tun-*",
    ),
    of(
        'e',
        "edit-server",
        "",
        "Replace a real server's whole configuration: what is not given goes back to its default",
    ),
    of(
        'd',
        "delete-server",
        "",
        "Remove the real server -r from a virtual service",
    ),
    of(
        'L',
        "list",
        "",
        "List the table (also -l, and without any argument), or one service, or -c, --timeout, --daemon",
    ),
    of(
        'Z',
        "zero",
        "",
        "Zero the counters of all services, or of one",
    ),
    of(
        'S',
        "save",
        "",
        "Print the table as command lines that -R reads; -n without names",
    ),
    of(
        'R',
        "restore",
        "",
        "Carry out command lines from standard input, one a line, in their order",
    ),
    long(
        "set",
        "TCP TCPFIN UDP",
        "Set the timeouts of connections, in seconds, 0 to 2678400; 0 keeps what there is",
    ),
    long(
        "start-daemon",
        "STATE",
        "Start the connection synchronization daemon, master or backup",
    ),
    long("stop-daemon", "STATE", "Stop it"),
    of(
        'h',
        "help",
        "",
        "Print a short help; ipvsctl help explains more",
    ),
];

/// Options that go with them.
pub(super) const OPTIONS: [Explained; 42] = [
    of(
        't',
        "tcp-service",
        "ADDRESS",
        "TCP service: HOST[:PORT], IPv6 as [ADDRESS]:PORT. Port by number, 0 to 65535, or name; default 0, any port, which needs -p",
    ),
    of('u', "udp-service", "ADDRESS", "UDP service, as -t"),
    long("sctp-service", "ADDRESS", "SCTP service, as -t"),
    of(
        'f',
        "fwmark-service",
        "MARK",
        "Service of the packets with this firewall mark, 1 to 4294967295",
    ),
    of(
        '6',
        "ipv6",
        "",
        "The mark is of IPv6 packets; stands after -f. Default IPv4",
    ),
    of(
        's',
        "scheduler",
        "NAME",
        "Scheduler: rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh, or what else the kernel has; up to 15 characters. Default wlc",
    ),
    of(
        'p',
        "persistent",
        "[SECONDS]",
        "Persistent service: a client stays with its server for so long, 1 to 2678400 seconds. Default 300 where no number is given; not persistent without -p",
    ),
    of(
        'M',
        "netmask",
        "MASK",
        "How much of a client's address counts for persistence: dotted quad for IPv4, 1 to 128 for IPv6, after the address. Default all of it",
    ),
    long(
        "pe",
        "ENGINE",
        "Persistence engine, such as sip; up to 16 characters. Default none",
    ),
    of(
        'b',
        "sched-flags",
        "FLAGS",
        "Flags of the scheduler, with commas: sh-fallback sh-port (sh), mh-fallback mh-port (mh), flag-1 flag-2 flag-3 (any). Default none",
    ),
    of(
        'o',
        "ops",
        "",
        "One-packet scheduling, of UDP and firewall marks. Default off",
    ),
    of(
        'r',
        "real-server",
        "ADDRESS",
        "Real server, HOST[:PORT]. Default port: the service's, which -g and -i always use",
    ),
    of(
        'g',
        "gatewaying",
        "",
        "Direct routing to the server. The default",
    ),
    of('i', "ipip", "", "Tunneling to the server"),
    of('m', "masquerading", "", "Masquerading (NAT) to the server"),
    of(
        'w',
        "weight",
        "WEIGHT",
        "Capacity relative to the others, 0 to 65535; 0 takes no new connections. Default 1",
    ),
    of(
        'x',
        "u-threshold",
        "CONNECTIONS",
        "Connections above which it gets no new ones, 0 to 2147483647. Default 0, no limit",
    ),
    of(
        'y',
        "l-threshold",
        "CONNECTIONS",
        "Connections below which it gets new ones again, 0 to 2147483647. Default 0, three quarters of -x",
    ),
    long("tun-type", "TYPE", "Tunnel: ipip, gue or gre. Default ipip"),
    long(
        "tun-port",
        "PORT",
        "Port of a gue tunnel, 1 to 65535; gue needs it",
    ),
    long(
        "tun-nocsum",
        "",
        "No checksums, of gue and gre. The default",
    ),
    long("tun-csum", "", "Checksums, of gue and gre"),
    long("tun-remcsum", "", "Remote checksum offload, of gue"),
    of(
        'n',
        "numeric",
        "",
        "No names for addresses and ports (-L, -S)",
    ),
    of('c', "connection", "", "List connections (-L)"),
    long("timeout", "", "List the timeouts (-L)"),
    long("daemon", "", "List the sync daemons (-L)"),
    long("stats", "", "List counters (-L)"),
    long("rate", "", "List rates a second (-L)"),
    long("thresholds", "", "List thresholds (-L)"),
    long(
        "persistent-conn",
        "",
        "List persistent connections; with -c data of persistence engines (-L)",
    ),
    long("tun-info", "", "List tunnels (-L)"),
    of(
        'X',
        "exact",
        "",
        "Print counters in full, not in thousands (-L)",
    ),
    long(
        "sort",
        "",
        "Sort ascending by protocol, address, port. The default",
    ),
    long("nosort", "", "Keep the kernel's order (-L)"),
    long(
        "mcast-interface",
        "INTERFACE",
        "Interface of a sync daemon, up to 15 characters. Default eth0",
    ),
    long("syncid", "ID", "Id of a sync daemon, 0 to 255. Default 0"),
    long(
        "sync-maxlen",
        "BYTES",
        "Longest message of a sync daemon, 1 to 65507. Default: what fits the interface",
    ),
    long(
        "mcast-group",
        "ADDRESS",
        "Multicast group of a sync daemon, IPv4 or IPv6. Default 224.0.0.81",
    ),
    long(
        "mcast-port",
        "PORT",
        "UDP port of a sync daemon, 1 to 65535. Default 8848",
    ),
    long(
        "mcast-ttl",
        "TTL",
        "Time to live of a sync daemon's messages, 1 to 255. Default 1",
    ),
    of(
        'v',
        "version",
        "",
        "Print the version of ipvsadm whose language this is",
    ),
];

/// ipvsctl's own options.
pub(super) const OWN: [Explained; 7] = [
    long(
        "endpoint",
        "URL",
        "The director: http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH. Default port 4787. Default: IPVSCTL_ENDPOINT, the configuration's default, unix:///run/ipvsd/ipvsd.sock, http://127.0.0.1:4787",
    ),
    long(
        "director",
        "NAME",
        "The director by its name in the configuration",
    ),
    long(
        "all",
        "",
        "Ask every director of the configuration at once, with their names before the answers; only commands that read",
    ),
    long(
        "timeout",
        "SECONDS",
        "How long a request may take, above 0, before the command only: after it the word is ipvsadm's. Default 30",
    ),
    long(
        "output",
        "FORMAT",
        "Form of an answer: table, json (the API's own) or yaml. Default table",
    ),
    long(
        "color",
        "WHEN",
        "Colour messages: auto, always or never. Default auto",
    ),
    long(
        "keep-going",
        "",
        "With -R: go on after a faulty line; name the line of every failure; exit 1 if there was one",
    ),
];

/// Command lines to begin with.
pub(super) const EXAMPLES: [(&str, &str); 8] = [
    (
        "ipvsctl -A -t 192.0.2.1:80 -s rr",
        "a virtual service, round robin",
    ),
    (
        "ipvsctl -a -t 192.0.2.1:80 -r 192.168.10.1 -m",
        "a real server for it, masqueraded",
    ),
    (
        "ipvsctl --endpoint https://lb1 -Ln --stats",
        "the table of another machine, with counters",
    ),
    ("ipvsctl -Ln --output json", "the same for programs"),
    (
        "ipvsctl save >rules; ipvsctl restore <rules",
        "out and in again, checked first",
    ),
    (
        "ipvsctl connections --count-by state",
        "how many connections there are",
    ),
    (
        "ipvsctl settings expire_nodest_conn=true",
        "a setting of the kernel",
    ),
    (
        "alias ipvsadm='ipvsctl --endpoint https://lb1'",
        "old habits, new machine",
    ),
];

const fn of(short: char, long: &'static str, value: &'static str, text: &'static str) -> Explained {
    Explained {
        short: Some(short),
        long,
        value,
        text,
    }
}

const fn long(long: &'static str, value: &'static str, text: &'static str) -> Explained {
    Explained {
        short: None,
        long,
        value,
        text,
    }
}

// === impl Explained ===

impl Explained {
    /// `-t, --tcp-service ADDRESS`
    pub(super) fn synopsis(&self) -> String {
        let short = self
            .short
            .map(|short| format!("-{short}, "))
            .unwrap_or_default();
        let space = if self.value.is_empty() { "" } else { " " };
        format!("{short}--{}{space}{}", self.long, self.value)
    }
}
