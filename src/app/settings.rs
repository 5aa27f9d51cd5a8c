//! The kernel's settings (`/proc/sys/net/ipv4/vs`).

use std::collections::BTreeMap;

use super::{Answer, App, RequestContext, Written};
use crate::{
    executor::{EstimationQuery, Plan, SettingsQuery, Step, Transaction},
    identity::Verb,
    model::{Error, Field, Include, Op, Reason, SettingSpec, SettingValue, Settings},
};

impl App {
    /// The settings that this kernel has, by name.
    pub async fn settings(&self, context: &RequestContext) -> Result<Answer<Settings>, Error> {
        Ok(self.read(context, SettingsQuery).await?.into())
    }

    /// Sets settings. All values are checked before the first is written; if the kernel rejects one,
    /// those before it are restored. Returns all settings after the change.
    pub async fn update_settings(
        &self,
        context: &RequestContext,
        values: BTreeMap<String, Field<SettingValue>>,
    ) -> Result<Written<Settings>, Error> {
        let values = SettingSpec::check(&values)?;
        let names: Vec<_> = values.iter().map(|(spec, _)| spec.name).collect();
        let about = format!("settings {}", names.join(" "));
        let plan = move |current: &Settings| {
            let mut steps = Vec::new();
            for (spec, text) in values {
                let Some(old) = current.get(spec.name) else {
                    return Err(Error::new(
                        Reason::UnsupportedByKernel,
                        format!("this kernel has no setting {}", spec.name),
                    )
                    .with_violation(spec.name, "is not a setting of this kernel"));
                };
                if *old != spec.parse(&text) {
                    let name = spec.name;
                    let undo = Op::SetSetting {
                        name,
                        text: old.file_text(),
                    };
                    steps.push(Step::new(Op::SetSetting { name, text }, undo));
                }
            }
            // One stage each: the first failure ends the plan.
            Ok(Plan::staged(steps.into_iter().map(|step| vec![step])))
        };
        let transaction = Transaction::new(SettingsQuery, plan, SettingsQuery)
            .about(about)
            .named("update_settings");
        let executed = self.write(context, Verb::SetSetting, transaction).await?;
        let changed = executed
            .steps
            .iter()
            .any(|step| has_effect(step, &executed.value));
        let written = Written::from(executed);
        Ok(Written { changed, ..written })
    }

    /// Whether the kernel refreshes counters and rates, if `include` asks for either.
    pub(super) async fn estimation(
        &self,
        context: &RequestContext,
        include: Include,
    ) -> Result<Option<bool>, Error> {
        if !include.stats && !include.rates {
            return Ok(None);
        }
        Ok(Some(self.read(context, EstimationQuery).await?.value))
    }
}

/// Whether a setting has another value than before. The kernel may store a value as another one: 2 for
/// `drop_entry` as 1, `0,1` for `est_cpulist` as `0-1`.
fn has_effect(step: &Step, after: &Settings) -> bool {
    let Some(Op::SetSetting { name, text }) = &step.undo else {
        return true;
    };
    let before = SettingSpec::find(name).map(|spec| spec.parse(text));
    after.get(*name) != before.as_ref()
}
