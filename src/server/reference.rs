//! What the help and the manual page ipvsd(8) say beside the options.

/// Signals and their effects. docs/ipvsd.md has more about each.
pub(super) const SIGNALS: [(&str, &str); 4] = [
    (
        "TERM, INT",
        "Drain for limits.shutdown_grace, then end; the second one ends at once",
    ),
    ("QUIT", "End at once"),
    (
        "HUP",
        "Open the audit file anew; read the configuration again, apply what needs no restart",
    ),
    ("USR1, USR2, PIPE", "Ignored"),
];

/// The signals as they are below the options of `--help`.
pub(super) fn signals() -> String {
    let lines = SIGNALS.map(|(name, effect)| format!("\n  {name:<18}{effect}"));
    format!("Signals:{}", lines.concat())
}

/// Exit statuses.
pub(super) const EXIT_STATUS: [(&str, &str); 3] = [
    (
        "0",
        "Ended by SIGTERM, SIGINT or SIGQUIT, or the subcommand succeeded.",
    ),
    (
        "1",
        "The start failed, such as at an address that is in use, or the subcommand failed. Standard error has the reason.",
    ),
    (
        "2",
        "Invalid command line or configuration. Standard error has all errors.",
    ),
];

/// Environment variables, without those of keys.
pub(super) const ENVIRONMENT: [(&str, &str); 7] = [
    (
        "IPVSD_CONFIG",
        "The configuration file, as --config, which takes precedence.",
    ),
    (
        "IPVSD_KEY, IPVSD_TABLE_KEY",
        "The value of a key of the configuration file, which it overrides: IPVSD_LISTEN, IPVSD_LIMITS_MAX_BODY_BYTES. \
         Items of a list are separated by commas. An empty variable counts as unset. An unknown one is an error.",
    ),
    (
        "RUST_LOG",
        "The events to log, as log.filter, which it overrides.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets that systemd has opened (systemd.socket(5)). They are served instead of the default addresses, and \
         beside those of listen.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "Set by systemd, to which the daemon reports that it is ready, reloads its configuration, makes progress and \
         ends (sd_notify(3)).",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd if standard error is the journal. The log then has its priorities and fields, unless log.format \
         is set.",
    ),
    (
        "OTEL_EXPORTER_OTLP_*, OTEL_TRACES_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES",
        "Traces, where [tracing] of the configuration file says nothing else.",
    ),
];

/// Files.
pub(super) const FILES: [(&str, &str); 6] = [
    (
        "/etc/ipvsd/ipvsd.toml",
        "The configuration of the service of systemd: ipvsd.toml(5).",
    ),
    (
        "/etc/ipvsd/policy.toml",
        "Credentials and what they permit, if the key policy names the file: ipvsd-policy.toml(5).",
    ),
    (
        "/run/ipvsd/ipvsd.sock",
        "The unix socket, for root and the members of the group ipvsd.",
    ),
    (
        "/var/lib/ipvsd",
        "What the kernel cannot hold: declared tables, drains, labels, idempotency keys. One daemon uses it at a time.",
    ),
    (
        "/var/log/ipvsd",
        "The place for the audit trail, if audit.file names a file in it.",
    ),
    (
        "/proc/net/ip_vs, /proc/sys/net/ipv4/vs",
        "The table and the settings of the kernel.",
    ),
];

/// The paragraphs of the section SECURITY.
pub(super) const SECURITY: [&str; 3] = [
    "Every request needs a credential: a bearer token, a TLS client certificate, a JSON Web Token, or the user and the \
     groups of the process at the other end of a unix socket. Without a policy, root, the user of the daemon and the \
     members of the group ipvsd may do everything, on unix sockets; nobody else may do anything.",
    "ipvsd needs the capability CAP_NET_ADMIN in the initial user namespace, and CAP_SYS_ADMIN for --netns. It needs no \
     other privilege: the service of systemd runs as the user ipvsd.",
    "Stopping, restarting or removing the daemon does not change the table of the kernel: traffic goes on.",
];
