//! Methods of the IPVS settings of the kernel.

use std::collections::{BTreeMap, HashMap};

use prost_types::FieldMask;

use super::{api::Api, convert::age};
use crate::{
    app::RequestContext,
    model::{Error, Field, SettingValue, Settings},
    proto::v1::{self as pb, setting_value::Kind},
};

pub(super) async fn get(
    api: Api,
    request: pb::GetSettingsRequest,
    context: RequestContext,
) -> Result<pb::GetSettingsResponse, Error> {
    let pb::GetSettingsRequest { max_age: _ } = request;
    let answer = api.app.settings(&context).await?;
    let age = age(&answer);
    Ok(pb::GetSettingsResponse {
        settings: message(answer.value),
        age,
    })
}

pub(super) async fn update(
    api: Api,
    request: pb::UpdateSettingsRequest,
    context: RequestContext,
) -> Result<pb::UpdateSettingsResponse, Error> {
    let pb::UpdateSettingsRequest {
        settings,
        update_mask,
        dry_run: _,
    } = request;
    let changes = changes(settings, update_mask);
    let written = api.app.update_settings(&context, changes).await?;
    Ok(pb::UpdateSettingsResponse {
        settings: message(written.value),
        changed: written.changed,
    })
}

/// The changes that a request makes. Its mask names settings, which the model validates.
fn changes(
    mut settings: HashMap<String, pb::SettingValue>,
    mask: Option<FieldMask>,
) -> BTreeMap<String, Field<SettingValue>> {
    let FieldMask { paths } = mask.unwrap_or_default();
    if paths.is_empty() || paths.iter().any(|path| path == "*") {
        return settings
            .into_iter()
            .map(|(name, value)| (name, change(Some(value))))
            .collect();
    }
    paths
        .into_iter()
        .map(|name| {
            let value = settings.remove(&name);
            (name, change(value))
        })
        .collect()
}

fn change(value: Option<pb::SettingValue>) -> Field<SettingValue> {
    let kind = value.and_then(|value| {
        let pb::SettingValue { kind } = value;
        kind
    });
    kind.map_or(Field::Clear, |kind| {
        Field::Set(match kind {
            Kind::Boolean(on) => SettingValue::Bool(on),
            Kind::Integer(number) => SettingValue::Integer(number),
            Kind::Pair(pb::SettingPair { first, second }) => {
                SettingValue::Pair([first.into(), second.into()])
            }
            Kind::Text(text) => SettingValue::Text(text),
        })
    })
}

fn message(settings: Settings) -> HashMap<String, pb::SettingValue> {
    settings
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect()
}

impl From<SettingValue> for pb::SettingValue {
    fn from(value: SettingValue) -> Self {
        let kind = match value {
            SettingValue::Bool(on) => Kind::Boolean(on),
            SettingValue::Integer(number) => Kind::Integer(number),
            SettingValue::Pair([first, second]) => Kind::Pair(pb::SettingPair {
                first: int(first),
                second: int(second),
            }),
            SettingValue::Text(text) => Kind::Text(text),
        };
        Self { kind: Some(kind) }
    }
}

/// A number of a pair, which the kernel stores as an int.
fn int(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> HashMap<String, pb::SettingValue> {
        message(Settings::from([
            ("conntrack".to_owned(), SettingValue::Bool(true)),
            ("drop_entry".to_owned(), SettingValue::Integer(0)),
            ("sync_threshold".to_owned(), SettingValue::Pair([3, 50])),
            (
                "est_cpulist".to_owned(),
                SettingValue::Text("0-3".to_owned()),
            ),
        ]))
    }

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Some(FieldMask { paths })
    }

    #[test]
    fn values_are_converted_both_ways() {
        let all = changes(some(), None);
        assert_eq!(all["conntrack"], Field::Set(SettingValue::Bool(true)));
        assert_eq!(all["drop_entry"], Field::Set(SettingValue::Integer(0)));
        assert_eq!(
            all["sync_threshold"],
            Field::Set(SettingValue::Pair([3, 50]))
        );
        assert_eq!(
            all["est_cpulist"],
            Field::Set(SettingValue::Text("0-3".to_owned()))
        );
        assert_eq!(changes(some(), mask(&["*"])), all);
    }

    #[test]
    fn a_masked_setting_without_a_value_is_cleared() {
        let chosen = changes(some(), mask(&["conntrack", "drop_packet"]));
        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen["conntrack"], Field::Set(SettingValue::Bool(true)));
        assert_eq!(chosen["drop_packet"], Field::Clear);
    }
}
