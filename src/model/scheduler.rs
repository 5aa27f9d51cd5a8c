//! Schedulers and their flags.

use serde::{Deserialize, Serialize, Serializer};

use super::{Name, Violation};

/// The schedulers of mainline kernels and their descriptions (manual: -s). Other names are also
/// passed to the kernel, which may have further modules. `none` is the kernel's name for a service
/// without a scheduler, which accepts no new connections.
pub const SCHEDULERS: [(&str, &str); 15] = [
    ("rr", "round robin"),
    ("wrr", "weighted round robin"),
    ("lc", "least connection"),
    ("wlc", "weighted least connection"),
    ("lblc", "locality-based least connection"),
    ("lblcr", "locality-based least connection with replication"),
    ("dh", "destination hashing"),
    ("sh", "source hashing"),
    ("sed", "shortest expected delay"),
    ("nq", "never queue"),
    ("fo", "weighted failover"),
    ("ovf", "weighted overflow"),
    ("mh", "Maglev hashing"),
    ("twos", "power of two random choices"),
    ("none", "no scheduler"),
];

/// Flags of a virtual service's scheduler (`IP_VS_SVC_F_SCHED1` to `3`; manual: --sched-flags). The
/// scheduler defines the meaning of the three bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchedulerFlags(u32);

// === impl SchedulerFlags ===

impl SchedulerFlags {
    /// The bits of the scheduler flags in the service flags (`IP_VS_SVC_F_SCHED_MASK`).
    pub const MASK: u32 = 0x38;

    const NAMES: [(&str, Option<&str>, u32); 7] = [
        ("sh-fallback", Some("sh"), 0x08),
        ("sh-port", Some("sh"), 0x10),
        ("mh-fallback", Some("mh"), 0x08),
        ("mh-port", Some("mh"), 0x10),
        ("flag-1", None, 0x08),
        ("flag-2", None, 0x10),
        ("flag-3", None, 0x20),
    ];

    /// The scheduler flags among the service flags.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & Self::MASK)
    }

    /// The flags as bits of the service flags.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags named in a request for `scheduler`. Each violation names the index of an item.
    pub fn parse(names: &[String], scheduler: &str) -> Result<Self, Vec<Violation>> {
        let mut bits = 0;
        let mut violations = Vec::new();
        for (i, name) in names.iter().enumerate() {
            match Self::NAMES.iter().find(|(known, ..)| known == name) {
                Some((_, Some(owner), _)) if *owner != scheduler => {
                    violations.push(Violation::new(
                        format!("scheduler_flags[{i}]"),
                        format!("{name} requires scheduler={owner}, not {scheduler}"),
                    ))
                }
                Some((_, _, bit)) => bits |= bit,
                None => violations.push(Violation::new(
                    format!("scheduler_flags[{i}]"),
                    format!(
                        "{name:?} is not a scheduler flag: sh-fallback, sh-port, mh-fallback, \
                         mh-port, flag-1, flag-2 or flag-3"
                    ),
                )),
            }
        }
        if violations.is_empty() {
            Ok(Self(bits))
        } else {
            Err(violations)
        }
    }

    /// The names of the flags for `scheduler`, in the order of the bits.
    pub fn names(self, scheduler: Name) -> impl Iterator<Item = &'static str> {
        [0x08, 0x10, 0x20]
            .into_iter()
            .filter(move |bit| self.0 & bit != 0)
            .filter_map(move |bit| {
                let named = |wanted: Option<&str>| {
                    Self::NAMES
                        .iter()
                        .find(|(_, owner, known)| *known == bit && *owner == wanted)
                };
                named(Some(scheduler.as_str()))
                    .or_else(|| named(None))
                    .map(|(name, ..)| *name)
            })
    }
}

/// Flags with the scheduler that defines their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedFlags(pub SchedulerFlags, pub Name);

impl Serialize for NamedFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.names(self.1))
    }
}
