//! The families of the director.

use std::{fmt, time::SystemTime};

use prometheus_client::registry::{Registry, Unit};

use super::{
    Format, Kind, Labels, Sampled, Value,
    families::{DIRECTOR, NODE_TOTALS},
    registry::encode,
};
use crate::model::{
    Info, InterfaceState, SettingValue, Settings, Stats, SyncDaemon, SyncState, Timeouts,
};

/// What is known of the director at a scrape, beside its table.
#[derive(Clone, Debug, Default)]
pub struct Director {
    /// Version and size of the connection table.
    pub info: Option<Info>,
    /// Counters of everything.
    pub totals: Option<Stats>,
    /// Since when the totals are counted.
    pub created: Option<SystemTime>,
    /// Whether the kernel refreshes counters and rates.
    pub estimation: Option<bool>,
    /// Timeouts of connections.
    pub timeouts: Option<Timeouts>,
    /// The settings of the kernel; empty if they cannot be read.
    pub settings: Settings,
    /// The sync daemons that run.
    pub sync_daemons: Option<Vec<SyncDaemon>>,
    /// Number of services.
    pub services: usize,
    /// Number of servers. A server of several services counts for each.
    pub servers: usize,
    /// Services whose servers are not shown.
    pub truncated: usize,
    /// Whether the totals of node_exporter are shown, too.
    pub node_exporter_names: bool,
}

/// The families of a director as text; without one, the kernel does not respond.
///
/// # Errors
/// Never fails: a text takes anything.
pub fn director_text(director: Option<&Director>, format: Format) -> Result<Vec<u8>, fmt::Error> {
    let mut registry = Registry::default();
    let mut add = |family: Sampled| registry.register_collector(Box::new(family));
    let up = Value::Integer(director.is_some().into());
    add(Sampled::one(
        "ipvs_up",
        "Whether the kernel responds, so that the other metrics of IPVS are present.",
        Kind::Gauge,
        move || up,
    ));
    if let Some(director) = director {
        director.families().into_iter().for_each(add);
    }
    let mut out = encode(&registry, format)?.into_bytes();
    if let Some(Director {
        totals: Some(totals),
        created,
        node_exporter_names,
        ..
    }) = director
    {
        let levels = [
            (true, &DIRECTOR, *created),
            (*node_exporter_names, &NODE_TOTALS, None),
        ];
        for (_, families, created) in levels.into_iter().filter(|(is_shown, ..)| *is_shown) {
            for (family, value) in families.iter().zip(totals.values()) {
                family.header(format, &mut out);
                family.sample(format, &mut out, &[], value, created.into());
            }
        }
    }
    Ok(out)
}

// === impl Director ===

impl Director {
    fn families(&self) -> Vec<Sampled> {
        let gauge = |name, help, value: u64| {
            Sampled::one(name, help, Kind::Gauge, move || Value::Integer(value))
        };
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut families = vec![
            gauge("ipvs_services", "Virtual services.", number(self.services)),
            gauge(
                "ipvs_servers",
                "Real servers. A server of several services counts for each.",
                number(self.servers),
            ),
            gauge(
                "ipvsd_metrics_truncated_services",
                "Services whose servers are not shown, because metrics.max_servers is exceeded.",
                number(self.truncated),
            ),
        ];
        if let Some(info) = self.info {
            let (major, minor, patch) = info.version;
            families.push(samples(
                "ipvs",
                "Version of IPVS.",
                Kind::Info,
                vec![(
                    vec![("version", format!("{major}.{minor}.{patch}"))],
                    Value::Integer(1),
                )],
            ));
            families.push(gauge(
                "ipvs_connection_table_size",
                "Buckets of the connection table; 0 if the kernel resizes it and has no connections yet.",
                info.connection_table_size.into(),
            ));
        }
        if let Some(estimation) = self.estimation {
            families.push(gauge(
                "ipvs_estimation_enabled",
                "Whether the kernel refreshes counters. If it does not, they are frozen.",
                estimation.into(),
            ));
        }
        families.extend(self.timeouts.map(timeouts));
        families.push(samples(
            "ipvs_setting",
            "Settings of the kernel (/proc/sys/net/ipv4/vs) that are numbers; false is 0, true is 1.",
            Kind::Gauge,
            self.settings
                .iter()
                .filter_map(|(name, value)| setting(name, value))
                .collect(),
        ));
        if let Some(daemons) = &self.sync_daemons {
            families.extend(sync_daemons(daemons));
        }
        families
    }
}

fn timeouts(timeouts: Timeouts) -> Sampled {
    let samples_of = timeouts.by_name().into_iter().map(|(name, seconds)| {
        let name = name.trim_end_matches("_seconds").to_owned();
        (vec![("timeout", name)], Value::Integer(seconds.into()))
    });
    Sampled {
        unit: Some(Unit::Seconds),
        ..samples(
            "ipvs_timeout",
            "Timeouts of idle connections.",
            Kind::Gauge,
            samples_of.collect(),
        )
    }
}

fn setting(name: &str, value: &SettingValue) -> Option<(Labels, Value)> {
    let value = match value {
        SettingValue::Bool(on) => Value::Integer((*on).into()),
        SettingValue::Integer(number) => {
            u64::try_from(*number).map_or(Value::Real(*number as f64), Value::Integer)
        }
        SettingValue::Pair(_) | SettingValue::Text(_) => return None,
    };
    Some((vec![("setting", name.to_owned())], value))
}

/// Which sync daemons run, and their properties.
fn sync_daemons(daemons: &[SyncDaemon]) -> [Sampled; 2] {
    let up = [SyncState::Master, SyncState::Backup].map(|state| {
        let runs = daemons.iter().any(|daemon| {
            let is_lost = matches!(
                daemon.interface_state,
                InterfaceState::Missing | InterfaceState::Replaced
            );
            daemon.state == state && !is_lost
        });
        (
            vec![("state", state.to_string())],
            Value::Integer(runs.into()),
        )
    });
    let infos = daemons.iter().map(|daemon| {
        let labels = vec![
            ("state", daemon.state.to_string()),
            ("interface", daemon.interface.to_string()),
            ("sync_id", daemon.sync_id.to_string()),
            ("multicast_group", daemon.multicast_group.to_string()),
            ("multicast_port", daemon.multicast_port.to_string()),
        ];
        (labels, Value::Integer(1))
    });
    [
        samples(
            "ipvs_sync_daemon_up",
            "Whether the sync daemon runs, on the interface that has its name.",
            Kind::Gauge,
            up.to_vec(),
        ),
        samples(
            "ipvs_sync_daemon",
            "Properties of the sync daemon.",
            Kind::Info,
            infos.collect(),
        ),
    ]
}

fn samples(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Labels, Value)>,
) -> Sampled {
    Sampled {
        name,
        help,
        kind,
        unit: None,
        read: Box::new(move || samples.clone()),
    }
}
