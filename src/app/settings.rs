//! The kernel's settings, `/proc/sys/net/ipv4/vs/*`.

use std::{collections::BTreeMap, time::Duration};

use super::{App, RequestContext, Written};
use crate::model::{Error, Field, Include, Reason, SETTINGS, SettingSpec, SettingValue, Settings};

const FOLDER: &str = "sys/net/ipv4/vs/";

impl App {
    /// The kernel's settings that it has, by name.
    pub async fn settings(&self, context: &RequestContext) -> Result<Settings, Error> {
        let paths = SETTINGS.iter().map(|spec| path(spec.name)).collect();
        let texts = self
            .executor
            .read_files(paths, Duration::ZERO, context.deadline)
            .await?;
        let settings: Settings = SETTINGS
            .iter()
            .zip(texts)
            .filter_map(|(spec, text)| Some((spec.name.to_owned(), spec.parse(&text?))))
            .collect();
        if settings.is_empty() {
            // No IPVS at all: the executor says it best.
            self.info_of_kernel(context).await?;
            return Err(Error::new(
                Reason::KernelUnavailable,
                "the IPVS settings cannot be read from /proc/sys/net/ipv4/vs",
            )
            .with_hint("they exist in network namespaces of the initial user namespace only"));
        }
        Ok(settings)
    }

    /// Sets settings; all are checked before the first is written, and where the kernel refuses
    /// one, those before it get back what they had. Returns all of them after.
    pub async fn update_settings(
        &self,
        context: &RequestContext,
        wishes: BTreeMap<String, Field<SettingValue>>,
    ) -> Result<Written<Settings>, Error> {
        let wishes = SettingSpec::check(&wishes)?;
        let before = self.settings(context).await?;
        let mut files = Vec::new();
        for (spec, text) in wishes {
            match before.get(spec.name) {
                None => {
                    return Err(Error::new(
                        Reason::UnsupportedByKernel,
                        format!("this kernel has no setting {}", spec.name),
                    )
                    .with_violation(spec.name, "this kernel does not have it"));
                }
                Some(old) if *old == spec.parse(&text) => {}
                Some(_) => files.push((path(spec.name), text)),
            }
        }
        let changed = !files.is_empty();
        if !changed {
            return Ok(Written {
                value: before,
                created: false,
                changed,
            });
        }
        self.executor.write_files(files, context.deadline).await?;
        Ok(Written {
            value: self.settings(context).await?,
            created: false,
            changed,
        })
    }

    /// Whether the kernel estimates, where `include` wants what depends on it.
    pub(super) async fn estimation(
        &self,
        context: &RequestContext,
        include: Include,
    ) -> Result<Option<bool>, Error> {
        if !include.stats && !include.rates {
            return Ok(None);
        }
        let texts = self
            .executor
            .read_files(
                vec![path("run_estimation")],
                context.max_age,
                context.deadline,
            )
            .await?;
        Ok(Some(estimates(texts.first().and_then(Option::as_deref))))
    }
}

/// Whether `run_estimation` says so; kernels without the setting always estimate.
pub(super) fn estimates(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim() != "0")
}

pub(super) fn path(name: &str) -> String {
    format!("{FOLDER}{name}")
}
