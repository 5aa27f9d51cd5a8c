//! `/v1/settings`: the kernel's settings, `/proc/sys/net/ipv4/vs`.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{extract::State, response::Response};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Array, Object, OneOf, RefOr, Schema, Type,
        schema::{AdditionalProperties, AnyOf, SchemaType},
    },
};

use super::{
    Api,
    conditional::{Reading, Unconditional},
    context::Caller,
    extract::Patch,
    problem::Problem,
    query::NoQuery,
    reply::{self, Outcome},
    schema,
};
use crate::model::{Field, SETTINGS, SettingKind, SettingSpec, SettingValue};

/// Settings as the kernel has them.
pub(super) struct SettingsOut;

/// Settings as a client wants them.
pub(super) struct SettingsInput;

/// Settings after a write.
pub(super) struct WrittenSettings;

/// Get the settings
///
/// The settings that this kernel has, by name (the manual's NOTES; `/proc/sys/net/ipv4/vs`).
#[utoipa::path(
    get, path = "/v1/settings", operation_id = "getSettings", tag = "settings",
    params(schema::ReadHeaders),
    responses((status = 200, description = "The settings.", body = SettingsOut))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: NoQuery,
    reading: Reading,
) -> Result<Response, Problem> {
    let settings = api.app.settings(&reading.context).await?;
    Ok(reply::resource(&reading, Duration::ZERO, None, &settings)?)
}

/// Change settings
///
/// Sets the settings that are named, keeps the others. All are checked before the first is written.
#[utoipa::path(
    patch, path = "/v1/settings", operation_id = "updateSettings", tag = "settings",
    request_body(
        description = "What is to change.",
        content(
            (SettingsInput = "application/merge-patch+json", example = json!({"expire_nodest_conn": true})),
            (SettingsInput = "application/json", example = json!({"sync_threshold": [3, 50]})),
        ),
    ),
    responses(
        (status = 200, description = "They are so now.", body = WrittenSettings),
        schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    _: NoQuery,
    _: Unconditional,
    Patch(wishes): Patch<BTreeMap<String, Field<SettingValue>>>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let written = api.app.update_settings(&context, wishes).await?;
    let outcome = Outcome {
        location: None,
        created: false,
        changed: written.changed,
    };
    Ok(reply::written(outcome, None, &written.value)?)
}

// === the schemas, which the model's own table gives ===

fn integer(doc: &str, range: Option<(i64, i64)>) -> Object {
    let (min, max) = range.unzip();
    Object::builder()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(min)
        .maximum(max)
        .description((!doc.is_empty()).then_some(doc))
        .build()
}

fn of_type(kind: Type, doc: &str) -> Object {
    Object::builder()
        .schema_type(SchemaType::Type(kind))
        .description((!doc.is_empty()).then_some(doc))
        .build()
}

/// What a client may send.
fn input(spec: &SettingSpec) -> Schema {
    match spec.kind {
        SettingKind::Bool => of_type(Type::Boolean, spec.doc).into(),
        SettingKind::Integer(min, max) => integer(spec.doc, Some((min, max))).into(),
        SettingKind::Pair => Array::builder()
            .items(integer("", Some((0, i64::from(i32::MAX)))))
            .min_items(Some(2))
            .max_items(Some(2))
            .description(Some(spec.doc))
            .build()
            .into(),
        SettingKind::Text => Object::builder()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some("^[!-~]*$"))
            .max_length(Some(256))
            .description(Some(spec.doc))
            .build()
            .into(),
    }
}

/// What an answer may hold: another program may have set what a client may not.
fn output(spec: &SettingSpec) -> Schema {
    match spec.kind {
        SettingKind::Bool => AnyOf::builder()
            .item(of_type(Type::Boolean, ""))
            .item(integer("", None))
            .description(Some(spec.doc))
            .build()
            .into(),
        SettingKind::Integer(..) => integer(spec.doc, None).into(),
        SettingKind::Pair => OneOf::builder()
            .item(Array::builder().items(integer("", None)).build())
            .item(of_type(Type::String, ""))
            .description(Some(spec.doc))
            .build()
            .into(),
        SettingKind::Text => of_type(Type::String, spec.doc).into(),
    }
}

fn object(property: fn(&SettingSpec) -> Schema) -> utoipa::openapi::ObjectBuilder {
    SETTINGS.iter().fold(Object::builder(), |object, spec| {
        object.property(spec.name, property(spec))
    })
}

impl PartialSchema for SettingsOut {
    fn schema() -> RefOr<Schema> {
        object(output)
            .description(Some(
                "Settings of the kernel by name; those that its version and modules have.",
            ))
            .build()
            .into()
    }
}

impl ToSchema for SettingsOut {
    fn name() -> Cow<'static, str> {
        "Settings".into()
    }
}

impl PartialSchema for WrittenSettings {
    fn schema() -> RefOr<Schema> {
        object(output)
            .property(
                "changed",
                of_type(Type::Boolean, "Whether the kernel was changed at all."),
            )
            .required("changed")
            .description(Some("Settings of the kernel after a write."))
            .build()
            .into()
    }
}

impl ToSchema for WrittenSettings {}

impl PartialSchema for SettingsInput {
    fn schema() -> RefOr<Schema> {
        object(input)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .description(Some("Settings to change, by name."))
            .build()
            .into()
    }
}

impl ToSchema for SettingsInput {}
