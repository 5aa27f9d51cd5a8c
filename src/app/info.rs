//! What the daemon and its kernel are.

use serde::Serialize;

use super::{Answer, App, RequestContext};
use crate::{
    executor::{EstimationQuery, InfoQuery, SettingsQuery, System, SystemQuery},
    model::{Error, Info, SCHEDULERS, Settings},
    version,
};

/// The daemon and its kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InfoReport {
    /// Version of ipvsd.
    pub version: String,
    /// The commit from which it was built, with `-dirty` at the end if the sources differed from it; or `unknown`.
    pub commit: String,
    /// Time of the commit (RFC 3339), or `unknown`.
    pub build_date: String,
    /// Managed network namespace; absent for the daemon's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The kernel.
    pub kernel: KernelReport,
    /// The schedulers of all known kernel versions. The kernel loads the module of a scheduler when
    /// it is first used, if it has the module.
    pub schedulers: Vec<SchedulerReport>,
    /// Loaded persistence engines.
    pub persistence_engines: Vec<String>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// `netlink`, or `fake` for the in-memory simulator.
    pub kind: String,
    /// Release.
    pub release: String,
    /// Version of IPVS.
    pub ipvs_version: String,
    /// Buckets of the connection table; 0 if the kernel resizes the table and has no connections
    /// yet.
    pub connection_table_size: u32,
    /// Whether the kernel refreshes counters and rates (settings `run_estimation` and `est_cpulist`).
    pub estimation: bool,
    /// Optional features: `conntrack`, `debug`, `estimation_threads`, `resizable_tables`.
    pub features: Vec<String>,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchedulerReport {
    /// The kernel's name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Whether its module is loaded.
    pub loaded: bool,
}

/// Optional features, each with the setting that exists only with it.
const FEATURES: [(&str, &str); 4] = [
    ("conntrack", "conntrack"),
    ("debug", "debug_level"),
    ("estimation_threads", "est_nice"),
    ("resizable_tables", "conn_lfactor"),
];

impl App {
    /// The daemon and its kernel (the header line of ipvsadm -L, and more).
    pub async fn info(&self, context: &RequestContext) -> Result<Answer<InfoReport>, Error> {
        let info = Answer::from(self.read(context, InfoQuery).await?);
        let system = self.read(context, SystemQuery).await?.value;
        let settings = self.read(context, SettingsQuery).await?.value;
        let estimation = self.read(context, EstimationQuery).await?.value;
        let loaded: Vec<&str> = system
            .modules
            .iter()
            .filter_map(|module| module.strip_prefix("ip_vs_"))
            .collect();
        let schedulers = SCHEDULERS.iter().filter(|(name, _)| *name != "none");
        let report = InfoReport {
            version: version::VERSION.to_owned(),
            commit: version::COMMIT.to_owned(),
            build_date: version::DATE.to_owned(),
            namespace: self.options.namespace.clone(),
            kernel: self.kernel_report(info.value, &system, &settings, estimation),
            schedulers: schedulers
                .map(|(name, description)| SchedulerReport {
                    name: (*name).to_owned(),
                    description: (*description).to_owned(),
                    loaded: loaded.contains(name),
                })
                .collect(),
            persistence_engines: loaded
                .iter()
                .filter_map(|module| Some(module.strip_prefix("pe_")?.to_owned()))
                .collect(),
        };
        Ok(info.map(|_| report))
    }

    fn kernel_report(
        &self,
        info: Info,
        system: &System,
        settings: &Settings,
        estimation: bool,
    ) -> KernelReport {
        let features = FEATURES
            .iter()
            .filter(|(_, setting)| settings.contains_key(*setting))
            .map(|(feature, _)| (*feature).to_owned());
        KernelReport {
            kind: self.options.kernel.clone(),
            release: system.release.clone(),
            ipvs_version: ipvs_version(info),
            connection_table_size: info.connection_table_size,
            estimation,
            features: features.collect(),
        }
    }
}

/// The version of IPVS as text, such as `1.2.1`.
pub(super) fn ipvs_version(info: Info) -> String {
    let (major, minor, patch) = info.version;
    format!("{major}.{minor}.{patch}")
}
