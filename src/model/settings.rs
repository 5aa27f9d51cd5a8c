//! The IPVS sysctls, `/proc/sys/net/ipv4/vs/*` (manual: NOTES and FILES), with types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Field, Violation, check::accept, integer};

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct SettingSpec {
    /// Name of the file in `/proc/sys/net/ipv4/vs`.
    pub name: &'static str,
    /// Type and range of its values.
    pub kind: SettingKind,
    /// Description.
    pub doc: &'static str,
}

/// Type and range of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// On or off.
    Bool,
    /// An integer from the first to the second number.
    Integer(i64, i64),
    /// A power of 2 from 1 to the number.
    PowerOfTwo(i64),
    /// Two non-negative integers.
    Pair,
    /// At most 256 visible ASCII characters, such as a list of CPUs.
    Text,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected true, false, an integer, two integers or text"
)]
pub enum SettingValue {
    /// On or off.
    Bool(bool),
    /// An integer.
    Integer(#[serde(deserialize_with = "integer::one")] i64),
    /// Two integers.
    Pair(#[serde(deserialize_with = "integer::pair")] [i64; 2]),
    /// Text.
    Text(String),
}

/// The settings of a kernel by name.
pub type Settings = BTreeMap<String, SettingValue>;

const INT: i64 = i32::MAX as i64;

macro_rules! settings {
    ($($name:literal $kind:expr, $doc:literal;)*) => {
        /// All settings known to ipvsd. A kernel has a subset, depending on its version and modules.
        pub const SETTINGS: &[SettingSpec] =
            &[$(SettingSpec { name: $name, kind: $kind, doc: $doc }),*];
    };
}

settings! {
    "am_droprate" SettingKind::Integer(1, INT), "Drop rate while `drop_packet` is 3: one packet in this number is dropped. Default 10.";
    "amemthresh" SettingKind::Integer(0, INT), "Free memory in pages below which the automatic defence strategies are active. Default 1024.";
    "backup_only" SettingKind::Bool, "Disables forwarding on a backup director, to avoid loops. Default false.";
    "cache_bypass" SettingKind::Bool, "Forwards packets to their original destination if a cache cluster has no server. Default false.";
    "conn_lfactor" SettingKind::Integer(-8, 8), "Load factor of the connection table above which it is resized, as a power of 2. Recent kernels only. Default -4.";
    "conn_max" SettingKind::Integer(0, INT), "Maximum number of connections. 0 stops all new connections. Recent kernels only.";
    "conn_reuse_mode" SettingKind::Integer(0, INT), "Handling of connections that reuse a client port: bit 1 reschedules them, bit 2 applies with sync daemons. Default 1.";
    "conntrack" SettingKind::Bool, "Keeps connection tracking entries for IPVS connections. Default false.";
    "debug_level" SettingKind::Integer(0, INT), "Debug log level, shared by all network namespaces. Only in kernels built with CONFIG_IP_VS_DEBUG. Default 0.";
    "drop_entry" SettingKind::Integer(0, 3), "Drops random connection table entries under memory pressure: 0 off, 1 automatic (the kernel sets 2 while memory is low), 3 always. Default 0.";
    "drop_packet" SettingKind::Integer(0, 3), "Drops packets at a rate under memory pressure: 0 off, 1 automatic (the kernel sets 2 while memory is low), 3 always. Default 0.";
    "est_cpulist" SettingKind::Text, "CPUs of the threads that update counters and rates, such as `0-3,8`. Empty: none, which stops the updates like `run_estimation` false. Linux 6.2 and later.";
    "est_nice" SettingKind::Integer(-20, 19), "Nice value of the threads that estimate rates. Linux 6.2 and later. Default 0.";
    "expire_nodest_conn" SettingKind::Bool, "Expires connections when their real server is deleted. Default false.";
    "expire_quiescent_template" SettingKind::Bool, "Expires persistence templates when their real server gets weight 0. Default false.";
    "ignore_tunneled" SettingKind::Bool, "Ignores ipip packets. Default false.";
    "lblc_expiration" SettingKind::Integer(0, INT), "Seconds after which an unused entry of the lblc scheduler expires. Only if its module is loaded. Default 86400.";
    "lblcr_expiration" SettingKind::Integer(0, INT), "Seconds after which an unused entry of the lblcr scheduler expires. Only if its module is loaded. Default 86400.";
    "nat_icmp_send" SettingKind::Bool, "Sends ICMP errors for masqueraded packets without a connection. Default false.";
    "pmtu_disc" SettingKind::Bool, "Path MTU discovery for tunnels. Default true.";
    "run_estimation" SettingKind::Bool, "Updates counters and estimates rates. If false, both are frozen. After a pause, the kernel counts what was missed as one interval: rates are too high for about 20 s. Default true.";
    "schedule_icmp" SettingKind::Bool, "Schedules ICMP packets. Default false.";
    "secure_tcp" SettingKind::Integer(0, 3), "Uses a stricter TCP state table under memory pressure: 0 off, 1 automatic (the kernel sets 2 while memory is low), 3 always. Default 0.";
    "sloppy_sctp" SettingKind::Bool, "Creates connections for any SCTP packet. Default false.";
    "sloppy_tcp" SettingKind::Bool, "Creates connections for any TCP packet. Default false.";
    "snat_reroute" SettingKind::Bool, "Recalculates the route of masqueraded response packets. Default true.";
    "svc_lfactor" SettingKind::Integer(-8, 8), "Load factor of the service table above which it is resized, as a power of 2. Recent kernels only. Default -3.";
    "sync_persist_mode" SettingKind::Integer(0, INT), "1 synchronises persistence templates only. Default 0.";
    "sync_ports" SettingKind::PowerOfTwo(64), "Number of ports and threads for synchronisation, a power of 2. Applies when a daemon starts. Default 1.";
    "sync_qlen_max" SettingKind::Integer(0, i64::MAX), "Maximum length of the queue of sync messages.";
    "sync_refresh_period" SettingKind::Integer(0, INT), "Seconds between sync messages of one connection; 0 off. Default 0.";
    "sync_retries" SettingKind::Integer(0, 3), "Number of retransmissions of a sync message. Default 0.";
    "sync_sock_size" SettingKind::Integer(0, INT), "Socket buffer size of synchronisation in bytes; 0 for the kernel's default. Default 0.";
    "sync_threshold" SettingKind::Pair, "Number of packets of a connection before its first sync message, and number between sync messages. The first is less than the second, or the second is 0. Default [3, 50].";
    "sync_version" SettingKind::Integer(0, 1), "Version of the sync protocol. Default 1.";
}

// === impl SettingValue ===

impl SettingValue {
    /// The text of the setting's file.
    pub fn file_text(&self) -> String {
        match self {
            Self::Bool(on) => u8::from(*on).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Pair([first, second]) => format!("{first} {second}"),
            // With a line feed, because a write of 0 bytes would not reach the kernel.
            Self::Text(text) => format!("{text}\n"),
        }
    }
}

// === impl SettingSpec ===

impl SettingSpec {
    /// The setting of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|spec| spec.name == name)
    }

    /// The value of the setting's file. Text if the value does not have the expected type.
    pub fn parse(&self, text: &str) -> SettingValue {
        let text = text.trim();
        let typed = match self.kind {
            SettingKind::Bool => match text {
                "0" => Some(SettingValue::Bool(false)),
                "1" => Some(SettingValue::Bool(true)),
                _ => text.parse().ok().map(SettingValue::Integer),
            },
            SettingKind::Integer(..) | SettingKind::PowerOfTwo(_) => {
                text.parse().ok().map(SettingValue::Integer)
            }
            SettingKind::Pair => {
                let mut numbers = text.split_whitespace().map(str::parse);
                match (numbers.next(), numbers.next()) {
                    (Some(Ok(first)), Some(Ok(second))) => {
                        Some(SettingValue::Pair([first, second]))
                    }
                    _ => None,
                }
            }
            SettingKind::Text => None,
        };
        typed.unwrap_or_else(|| SettingValue::Text(text.to_owned()))
    }

    /// The text that sets the file to `value`.
    pub fn print(&self, value: &SettingValue) -> Result<String, Violation> {
        let bad = |allowed: String| Err(Violation::new(self.name, allowed));
        match (self.kind, value) {
            (SettingKind::Bool, SettingValue::Bool(_)) => Ok(value.file_text()),
            (SettingKind::Bool, _) => bad("must be true or false".to_owned()),
            (SettingKind::Integer(min, max), SettingValue::Integer(number)) => {
                if (min..=max).contains(number) {
                    Ok(value.file_text())
                } else {
                    bad(format!("{number} is out of range: {min} to {max}"))
                }
            }
            (SettingKind::Integer(min, max), _) => {
                bad(format!("must be an integer, {min} to {max}"))
            }
            (SettingKind::PowerOfTwo(max), SettingValue::Integer(number))
                if (1..=max).contains(number) && number.count_ones() == 1 =>
            {
                Ok(value.file_text())
            }
            (SettingKind::PowerOfTwo(max), _) => {
                bad(format!("must be a power of 2 from 1 to {max}"))
            }
            (SettingKind::Pair, SettingValue::Pair([first, second])) => {
                let allowed = 0..=INT;
                if !allowed.contains(first) || !allowed.contains(second) {
                    bad(format!(
                        "[{first}, {second}] is out of range: 0 to {INT} each"
                    ))
                } else if *second != 0 && first >= second {
                    bad(format!(
                        "[{first}, {second}]: the first must be less than the second, or the second 0"
                    ))
                } else {
                    Ok(value.file_text())
                }
            }
            (SettingKind::Pair, _) => bad("must be two integers, such as [3, 50]".to_owned()),
            (SettingKind::Text, SettingValue::Text(text)) => {
                if text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic()) {
                    Ok(value.file_text())
                } else {
                    bad("must be at most 256 visible ASCII characters".to_owned())
                }
            }
            (SettingKind::Text, _) => bad("must be text".to_owned()),
        }
    }

    /// Validates all settings of a request before the first is written. Returns each setting with
    /// the text for its file.
    pub fn check(
        request: &BTreeMap<String, Field<SettingValue>>,
    ) -> Result<Vec<(&'static Self, String)>, Error> {
        let mut checked = Vec::new();
        let mut violations = Vec::new();
        for (name, field) in request {
            match (Self::find(name), field) {
                (None, _) => violations.push(Violation::new(name, "no such setting")),
                (Some(_), Field::Keep) => {}
                (Some(spec), Field::Clear) => violations.push(Violation::new(
                    spec.name,
                    "cannot be null: settings have no default; set a value",
                )),
                (Some(spec), Field::Set(value)) => match spec.print(value) {
                    Ok(text) => checked.push((spec, text)),
                    Err(violation) => violations.push(violation),
                },
            }
        }
        accept(checked, violations)
    }
}
