//! The table of ipvsadm's options. The parser, the help, the manual page and the shell completions
//! are generated from it.

use super::option::{Command, Meaning, Opt, Variant};

/// An option of ipvsadm.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Long name, without the dashes.
    pub long: &'static str,
    /// Short names, one character each, most usual first; empty if there is none.
    pub short: &'static str,
    /// What follows the option.
    pub argument: Argument,
    /// Sentences for the documentation: a summary, then syntax, range and default.
    pub help: &'static str,
    pub(super) meaning: Meaning,
}

/// What follows an option on the command line. The text is a placeholder for the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// One value.
    Required(&'static str),
    /// One value, unless the next word begins with `-`.
    Optional(&'static str),
    /// Words that popt does not assign to the option.
    Operands(&'static str),
}

/// All options: commands first, then the options that modify them.
pub static OPTIONS: [OptionSpec; 57] = [
    command(
        "A",
        "add-service",
        Command::AddService,
        "Add a virtual service.",
    ),
    command(
        "E",
        "edit-service",
        Command::EditService,
        "Edit a virtual service. Replaces its whole configuration: an option that is not given is \
         reset to its default.",
    ),
    command(
        "D",
        "delete-service",
        Command::DeleteService,
        "Delete a virtual service and its real servers.",
    ),
    command("C", "clear", Command::Clear, "Delete all virtual services."),
    command(
        "Ll",
        "list",
        Command::List,
        "List the table, one service, connections, timeouts or sync daemons. The default command.",
    ),
    command(
        "Z",
        "zero",
        Command::Zero,
        "Zero the counters of one virtual service or of all.",
    ),
    command(
        "a",
        "add-server",
        Command::AddServer,
        "Add a real server to a virtual service.",
    ),
    command(
        "e",
        "edit-server",
        Command::EditServer,
        "Edit a real server. Replaces its whole configuration: an option that is not given is reset \
         to its default.",
    ),
    command(
        "d",
        "delete-server",
        Command::DeleteServer,
        "Remove a real server from a virtual service.",
    ),
    command(
        "R",
        "restore",
        Command::Restore,
        "Execute commands from standard input, one per line.",
    ),
    command(
        "S",
        "save",
        Command::Save,
        "Print the table as commands that -R reads.",
    ),
    spec(
        "",
        "set",
        Argument::Operands("TCP TCPFIN UDP"),
        Meaning::Command(Command::Set),
        "Set the timeouts of TCP, TCP after FIN, and UDP connections. In seconds, 0 to 2678400; 0 \
         keeps the current value.",
    ),
    spec(
        "",
        "start-daemon",
        Argument::Required("STATE"),
        Meaning::Command(Command::StartDaemon),
        "Start a connection synchronisation daemon. STATE is master or backup.",
    ),
    spec(
        "",
        "stop-daemon",
        Argument::Required("STATE"),
        Meaning::Command(Command::StopDaemon),
        "Stop a connection synchronisation daemon. STATE is master or backup.",
    ),
    spec(
        "h",
        "help",
        Argument::None,
        Meaning::Help,
        "Print a short help.",
    ),
    spec(
        "v",
        "version",
        Argument::None,
        Meaning::Version,
        "Print the emulated ipvsadm version.",
    ),
    variant(
        "t",
        "tcp-service",
        Argument::Required("ADDRESS"),
        Opt::Service,
        Variant::Tcp,
        "TCP virtual service. HOST[:PORT], an IPv6 address in brackets. PORT is a number from 0 to \
         65535 or a service name. Default port 0: any port, which requires -p.",
    ),
    variant(
        "u",
        "udp-service",
        Argument::Required("ADDRESS"),
        Opt::Service,
        Variant::Udp,
        "UDP virtual service. Syntax as for -t.",
    ),
    variant(
        "",
        "sctp-service",
        Argument::Required("ADDRESS"),
        Opt::Service,
        Variant::Sctp,
        "SCTP virtual service. Syntax as for -t.",
    ),
    variant(
        "f",
        "fwmark-service",
        Argument::Required("MARK"),
        Opt::Service,
        Variant::Fwmark,
        "Virtual service for packets with this firewall mark. 1 to 4294967295.",
    ),
    spec(
        "6",
        "ipv6",
        Argument::None,
        Meaning::Ipv6,
        "The firewall mark matches IPv6 packets. Must follow -f. Default IPv4.",
    ),
    value(
        "s",
        "scheduler",
        "NAME",
        Opt::Scheduler,
        "Scheduler of the service. rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos, \
         or another that the kernel has; at most 15 characters. Default wlc.",
    ),
    variant(
        "p",
        "persistent",
        Argument::Optional("SECONDS"),
        Opt::Persistent,
        Variant::Only,
        "Persistent service: connections of one client go to the same real server. The timeout is 1 \
         to 2678400 seconds, 300 if not given. Default: not persistent.",
    ),
    value(
        "M",
        "netmask",
        "MASK",
        Opt::Netmask,
        "Granularity with which clients are grouped for persistence. IPv4: a dotted mask. IPv6: a \
         prefix length from 1 to 128, after the service. Default: each client address by itself.",
    ),
    value(
        "",
        "pe",
        "ENGINE",
        Opt::Engine,
        "Persistence engine of the service. Such as sip; at most 16 characters. Default none.",
    ),
    value(
        "b",
        "sched-flags",
        "FLAGS",
        Opt::SchedFlags,
        "Scheduler flags, separated by commas. sh-fallback, sh-port (sh), mh-fallback, mh-port (mh), \
         flag-1, flag-2, flag-3 (any). Default none.",
    ),
    flag(
        "o",
        "ops",
        Opt::Ops,
        "One-packet scheduling. UDP and fwmark services only.",
    ),
    value(
        "r",
        "real-server",
        "ADDRESS",
        Opt::Server,
        "Address of the real server. HOST[:PORT], an IPv6 address in brackets. Default port: that of the service, \
         which -g and -i always use.",
    ),
    variant(
        "g",
        "gatewaying",
        Argument::None,
        Opt::Forwarding,
        Variant::Direct,
        "Forward by direct routing. The default.",
    ),
    variant(
        "i",
        "ipip",
        Argument::None,
        Opt::Forwarding,
        Variant::Tunnel,
        "Forward by tunneling.",
    ),
    variant(
        "m",
        "masquerading",
        Argument::None,
        Opt::Forwarding,
        Variant::Masquerade,
        "Forward by masquerading (NAT).",
    ),
    value(
        "w",
        "weight",
        "WEIGHT",
        Opt::Weight,
        "Weight: capacity relative to the other servers. 0 to 2147483647; 0 receives no new \
         connections. \
         Default 1.",
    ),
    value(
        "x",
        "u-threshold",
        "CONNECTIONS",
        Opt::UpperThreshold,
        "Upper threshold: above it, the server receives no new connections. 0 to 2147483647. Default \
         0, no limit.",
    ),
    value(
        "y",
        "l-threshold",
        "CONNECTIONS",
        Opt::LowerThreshold,
        "Lower threshold: below it, the server receives new connections again. 0 to the upper \
         threshold. Default 0, three quarters of the upper threshold.",
    ),
    value(
        "",
        "tun-type",
        "TYPE",
        Opt::TunType,
        "Tunnel type. ipip, gue or gre. Default ipip.",
    ),
    value(
        "",
        "tun-port",
        "PORT",
        Opt::TunPort,
        "Destination port of a GUE tunnel. 1 to 65535. Required for gue.",
    ),
    flag(
        "",
        "tun-nocsum",
        Opt::TunNoCsum,
        "Disable tunnel checksums (GUE, GRE). The default.",
    ),
    flag(
        "",
        "tun-csum",
        Opt::TunCsum,
        "Enable tunnel checksums (GUE, GRE).",
    ),
    flag(
        "",
        "tun-remcsum",
        Opt::TunRemCsum,
        "Enable remote checksum offload (GUE).",
    ),
    flag(
        "n",
        "numeric",
        Opt::Numeric,
        "Print addresses and ports as numbers (-L, -S).",
    ),
    flag("c", "connection", Opt::Connection, "List connections (-L)."),
    flag(
        "",
        "timeout",
        Opt::Timeout,
        "List the connection timeouts (-L).",
    ),
    flag("", "daemon", Opt::Daemon, "List the sync daemons (-L)."),
    flag("", "stats", Opt::Stats, "List counters (-L)."),
    flag("", "rate", Opt::Rate, "List rates per second (-L)."),
    flag(
        "",
        "thresholds",
        Opt::Thresholds,
        "List connection thresholds (-L).",
    ),
    flag(
        "",
        "persistent-conn",
        Opt::PersistentConn,
        "List persistent connections (-L). With -c: persistence engine data.",
    ),
    flag("", "tun-info", Opt::TunInfo, "List tunnel parameters (-L)."),
    flag(
        "",
        "nosort",
        Opt::NoSort,
        "Keep the kernel's order of services and servers (-L).",
    ),
    spec(
        "",
        "sort",
        Argument::None,
        Meaning::Sort,
        "Sort services and servers (-L). By protocol, address and port. The default.",
    ),
    flag(
        "X",
        "exact",
        Opt::Exact,
        "Print large counters in full, without K, M, G or T (-L).",
    ),
    value(
        "",
        "mcast-interface",
        "INTERFACE",
        Opt::McastInterface,
        "Multicast interface of the sync daemon. At most 15 characters. Default eth0.",
    ),
    value(
        "",
        "syncid",
        "ID",
        Opt::SyncId,
        "Sync ID of the sync daemon. 0 to 255. Default 0.",
    ),
    value(
        "",
        "sync-maxlen",
        "BYTES",
        Opt::SyncMaxlen,
        "Maximum length of a sync message. 1 to 65507. Default: derived from the interface's MTU.",
    ),
    value(
        "",
        "mcast-group",
        "ADDRESS",
        Opt::McastGroup,
        "Multicast group of the sync daemon. IPv4 or IPv6. Default 224.0.0.81.",
    ),
    value(
        "",
        "mcast-port",
        "PORT",
        Opt::McastPort,
        "UDP port of the sync daemon. 1 to 65535. Default 8848.",
    ),
    value(
        "",
        "mcast-ttl",
        "TTL",
        Opt::McastTtl,
        "Multicast TTL of the sync daemon. 1 to 255. Default 1.",
    ),
];

const fn spec(
    short: &'static str,
    long: &'static str,
    argument: Argument,
    meaning: Meaning,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        long,
        short,
        argument,
        help,
        meaning,
    }
}

const fn command(
    short: &'static str,
    long: &'static str,
    command: Command,
    help: &'static str,
) -> OptionSpec {
    spec(short, long, Argument::None, Meaning::Command(command), help)
}

const fn variant(
    short: &'static str,
    long: &'static str,
    argument: Argument,
    opt: Opt,
    variant: Variant,
    help: &'static str,
) -> OptionSpec {
    spec(short, long, argument, Meaning::Opt(opt, variant), help)
}

const fn flag(short: &'static str, long: &'static str, opt: Opt, help: &'static str) -> OptionSpec {
    variant(short, long, Argument::None, opt, Variant::Only, help)
}

const fn value(
    short: &'static str,
    long: &'static str,
    placeholder: &'static str,
    opt: Opt,
    help: &'static str,
) -> OptionSpec {
    let argument = Argument::Required(placeholder);
    variant(short, long, argument, opt, Variant::Only, help)
}
