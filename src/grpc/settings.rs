//! The kernel's settings of IPVS.

use std::collections::{BTreeMap, HashMap};

use prost_types::FieldMask;

use super::Api;
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
    let pb::GetSettingsRequest {} = request;
    let settings = api.app.settings(&context).await?;
    Ok(pb::GetSettingsResponse {
        settings: message(settings),
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
    } = request;
    let wishes = wishes(settings, update_mask);
    let written = api.app.update_settings(&context, wishes).await?;
    Ok(pb::UpdateSettingsResponse {
        settings: message(written.value),
        changed: written.changed,
    })
}

/// The mask names settings here. The model knows which there are, and refuses the others.
fn wishes(
    mut settings: HashMap<String, pb::SettingValue>,
    mask: Option<FieldMask>,
) -> BTreeMap<String, Field<SettingValue>> {
    let FieldMask { paths } = mask.unwrap_or_default();
    if paths.is_empty() || paths.iter().any(|path| path == "*") {
        return settings
            .into_iter()
            .map(|(name, value)| (name, wish(Some(value))))
            .collect();
    }
    paths
        .into_iter()
        .map(|name| {
            let value = settings.remove(&name);
            (name, wish(value))
        })
        .collect()
}

fn wish(value: Option<pb::SettingValue>) -> Field<SettingValue> {
    let kind = value.and_then(|value| {
        let pb::SettingValue { kind } = value;
        kind
    });
    kind.map_or(Field::Clear, |kind| {
        Field::Set(match kind {
            Kind::Boolean(on) => SettingValue::Bool(on),
            Kind::Integer(number) => SettingValue::Integer(number),
            Kind::Pair(pb::SettingPair { first, second }) => SettingValue::Pair([first, second]),
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
            SettingValue::Pair([first, second]) => Kind::Pair(pb::SettingPair { first, second }),
            SettingValue::Text(text) => Kind::Text(text),
        };
        Self { kind: Some(kind) }
    }
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
    fn values_go_there_and_back() {
        let all = wishes(some(), None);
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
        assert_eq!(wishes(some(), mask(&["*"])), all);
    }

    #[test]
    fn a_mask_chooses_and_what_it_names_without_a_value_is_cleared() {
        let chosen = wishes(some(), mask(&["conntrack", "drop_packet"]));
        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen["conntrack"], Field::Set(SettingValue::Bool(true)));
        assert_eq!(chosen["drop_packet"], Field::Clear);
    }
}
