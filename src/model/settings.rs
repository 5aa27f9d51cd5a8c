//! The kernel's IPVS settings, `/proc/sys/net/ipv4/vs/*` (manual: NOTES and FILES), typed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Field, Violation};

/// One setting: its name, what it takes, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct SettingSpec {
    /// Name of the file in `/proc/sys/net/ipv4/vs`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: SettingKind,
    /// What it does.
    pub doc: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// On or off.
    Bool,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// Two whole numbers, each 0 or more.
    Pair,
    /// Text of at most 256 visible characters (a list of CPUs).
    Text,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "expected true, false, a whole number, two whole numbers or text"
)]
pub enum SettingValue {
    /// On or off.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Two whole numbers.
    Pair([i64; 2]),
    /// Text.
    Text(String),
}

/// Settings by name: those that this kernel has.
pub type Settings = BTreeMap<String, SettingValue>;

const INT: i64 = i32::MAX as i64;

macro_rules! settings {
    ($($name:literal $kind:expr, $doc:literal;)*) => {
        /// Every setting that ipvsd knows. A kernel has those of its version and modules.
        pub const SETTINGS: &[SettingSpec] =
            &[$(SettingSpec { name: $name, kind: $kind, doc: $doc }),*];
    };
}

settings! {
    "am_droprate" SettingKind::Integer(1, INT), "Packets of which one is dropped while `drop_packet` is 3. Default 10.";
    "amemthresh" SettingKind::Integer(0, INT), "Free memory in pages below which the automatic defences act. Default 1024.";
    "backup_only" SettingKind::Bool, "Whether a backup server takes no part in forwarding, to avoid loops. Default false.";
    "cache_bypass" SettingKind::Bool, "Whether packets for a cache cluster without a server go to their own destination. Default false.";
    "conn_lfactor" SettingKind::Integer(-8, 8), "Load of the connection table above which it grows, as a power of 2. Newest kernels only. Default -4.";
    "conn_max" SettingKind::Integer(0, INT), "Most connections. Newest kernels only.";
    "conn_reuse_mode" SettingKind::Integer(0, INT), "What happens when a client's port is used again: bit 1 reschedules, bit 2 for sync. Default 1.";
    "conntrack" SettingKind::Bool, "Whether connection tracking keeps entries of IPVS connections. Default false.";
    "debug_level" SettingKind::Integer(0, INT), "How much the kernel logs; kernels built with it only, one value for all namespaces. Default 0.";
    "drop_entry" SettingKind::Integer(0, 3), "Defence that drops random entries of the connection table: 0 off, 1 automatic (the kernel makes it 2 while memory is short), 3 always. Default 0.";
    "drop_packet" SettingKind::Integer(0, 3), "Defence that drops packets at a rate: 0 off, 1 automatic (2 while memory is short), 3 always. Default 0.";
    "est_cpulist" SettingKind::Text, "CPUs that estimate rates; Linux 6.2 and later.";
    "est_nice" SettingKind::Integer(-20, 19), "Priority of the threads that estimate rates; Linux 6.2 and later. Default 0.";
    "expire_nodest_conn" SettingKind::Bool, "Whether connections end when their server is deleted. Default false.";
    "expire_quiescent_template" SettingKind::Bool, "Whether persistence ends when its server gets weight 0. Default false.";
    "ignore_tunneled" SettingKind::Bool, "Whether ipip packets are left alone. Default false.";
    "lblc_expiration" SettingKind::Integer(0, INT), "Seconds that lblc remembers a destination; once its module is loaded. Default 86400.";
    "lblcr_expiration" SettingKind::Integer(0, INT), "Seconds that lblcr remembers a destination; once its module is loaded. Default 86400.";
    "nat_icmp_send" SettingKind::Bool, "Whether an ICMP error is sent for a masqueraded packet that fits no connection. Default false.";
    "pmtu_disc" SettingKind::Bool, "Whether path MTU discovery is done for tunnels. Default true.";
    "run_estimation" SettingKind::Bool, "Whether rates are estimated. Off freezes the counters too. Default true.";
    "schedule_icmp" SettingKind::Bool, "Whether ICMP is scheduled. Default false.";
    "secure_tcp" SettingKind::Integer(0, 3), "Defence by a stricter TCP state table: 0 off, 1 automatic (2 while memory is short), 3 always. Default 0.";
    "sloppy_sctp" SettingKind::Bool, "Whether any SCTP packet may begin a connection. Default false.";
    "sloppy_tcp" SettingKind::Bool, "Whether any TCP packet may begin a connection. Default false.";
    "snat_reroute" SettingKind::Bool, "Whether masqueraded packets are routed again. Default true.";
    "svc_lfactor" SettingKind::Integer(-8, 8), "Load of the service table above which it grows, as a power of 2. Newest kernels only. Default -3.";
    "sync_persist_mode" SettingKind::Integer(0, INT), "Whether persistence templates alone are synchronised. Default 0.";
    "sync_ports" SettingKind::Integer(1, 64), "Ports and threads of synchronisation, a power of 2; read when a daemon starts. Default 1.";
    "sync_qlen_max" SettingKind::Integer(0, i64::MAX), "Longest queue of messages to synchronise.";
    "sync_refresh_period" SettingKind::Integer(0, INT), "Seconds between messages of one connection; 0 off. Default 0.";
    "sync_retries" SettingKind::Integer(0, 3), "How often a message is repeated. Default 0.";
    "sync_sock_size" SettingKind::Integer(0, INT), "Socket buffer of synchronisation in bytes; 0 for the kernel's. Default 0.";
    "sync_threshold" SettingKind::Pair, "Packets of a connection before it is synchronised, and how often after; the first is below the second, or the second is 0. Default [3, 50].";
    "sync_version" SettingKind::Integer(0, 1), "Version of the protocol of synchronisation. Default 1.";
}

// === impl SettingSpec ===

impl SettingSpec {
    /// The setting of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|spec| spec.name == name)
    }

    /// What a file says, typed; as text where it is not what this setting is known to hold.
    pub fn parse(&self, text: &str) -> SettingValue {
        let text = text.trim();
        let typed = match self.kind {
            SettingKind::Bool => match text {
                "0" => Some(SettingValue::Bool(false)),
                "1" => Some(SettingValue::Bool(true)),
                _ => text.parse().ok().map(SettingValue::Integer),
            },
            SettingKind::Integer(..) => text.parse().ok().map(SettingValue::Integer),
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

    /// A value as the file takes it, or what is wrong with it.
    pub fn print(&self, value: &SettingValue) -> Result<String, Violation> {
        let bad = |allowed: String| Err(Violation::new(self.name, allowed));
        match (self.kind, value) {
            (SettingKind::Bool, SettingValue::Bool(on)) => Ok(u8::from(*on).to_string()),
            (SettingKind::Bool, _) => bad("takes true or false".to_owned()),
            (SettingKind::Integer(min, max), SettingValue::Integer(number)) => {
                if (min..=max).contains(number) {
                    Ok(number.to_string())
                } else {
                    bad(format!("{number} is out of range: {min} to {max}"))
                }
            }
            (SettingKind::Integer(min, max), _) => {
                bad(format!("takes a whole number, {min} to {max}"))
            }
            (SettingKind::Pair, SettingValue::Pair([first, second])) => {
                let allowed = 0..=INT;
                if !allowed.contains(first) || !allowed.contains(second) {
                    bad(format!(
                        "[{first}, {second}] is out of range: 0 to {INT} each"
                    ))
                } else if *second != 0 && first >= second {
                    bad(format!(
                        "[{first}, {second}]: the first must be below the second, or the second 0"
                    ))
                } else {
                    Ok(format!("{first} {second}"))
                }
            }
            (SettingKind::Pair, _) => bad("takes two whole numbers, as in [3, 50]".to_owned()),
            (SettingKind::Text, SettingValue::Text(text)) => {
                if text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic()) {
                    // With a line feed: a write of no bytes at all would not reach the kernel.
                    Ok(format!("{text}\n"))
                } else {
                    bad("takes at most 256 visible characters".to_owned())
                }
            }
            (SettingKind::Text, _) => bad("takes text".to_owned()),
        }
    }

    /// All of a client's wishes as `(setting, text for its file)`, checked before the first is
    /// carried out.
    pub fn check(
        wishes: &BTreeMap<String, Field<SettingValue>>,
    ) -> Result<Vec<(&'static Self, String)>, Error> {
        let mut checked = Vec::new();
        let mut violations = Vec::new();
        for (name, wish) in wishes {
            match (Self::find(name), wish) {
                (None, _) => violations.push(Violation::new(name, "there is no such setting")),
                (Some(_), Field::Keep) => {}
                (Some(spec), Field::Clear) => violations.push(Violation::new(
                    spec.name,
                    "has no default to go back to: give it a value",
                )),
                (Some(spec), Field::Set(value)) => match spec.print(value) {
                    Ok(text) => checked.push((spec, text)),
                    Err(bad) => violations.push(bad),
                },
            }
        }
        if violations.is_empty() {
            Ok(checked)
        } else {
            Err(Error::from_violations(violations))
        }
    }
}
