//! Building blocks of the schemas.

use utoipa::openapi::{
    Array, KnownFormat, Object, OneOf, Ref, RefOr, Schema, SchemaFormat, Type,
    schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType},
};

/// One property of an object.
pub(super) struct Property {
    name: &'static str,
    schema: RefOr<Schema>,
    required: bool,
}

/// The shape of a property's value.
pub(super) enum Shape {
    /// One JSON type, or several.
    Plain(Box<Object>),
    /// A schema of its own.
    Reference(&'static str),
    /// A list.
    List(Box<Array>),
}

// === values ===

pub(super) fn text() -> ObjectBuilder {
    Object::builder().schema_type(SchemaType::Type(Type::String))
}

pub(super) fn boolean() -> ObjectBuilder {
    Object::builder().schema_type(SchemaType::Type(Type::Boolean))
}

pub(super) fn integer(min: i64, max: i64) -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(min))
        // JSON Schema's numbers are no 64-bit integers: the largest is none at all.
        .maximum((max < i64::MAX).then_some(max))
        .format((max > i32::MAX.into()).then_some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
}

/// A number that the kernel keeps in 32 bits.
pub(super) fn count() -> ObjectBuilder {
    integer(0, u32::MAX.into())
}

/// A number that the kernel keeps in 64 bits.
pub(super) fn total() -> ObjectBuilder {
    integer(0, i64::MAX)
}

/// A time (RFC 3339).
pub(super) fn time() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// One of these words.
pub(super) fn choice<T: AsRef<str>>(words: &[T]) -> ObjectBuilder {
    text().enum_values(Some(words.iter().map(|word| word.as_ref().to_owned())))
}

pub(super) fn reference(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// A list of items with a schema of their own.
pub(super) fn list_of(name: &str) -> ArrayBuilder {
    Array::builder().items(reference(name))
}

// === properties ===

/// A property of requests and responses. It is optional; null in a request stands for the default.
pub(super) fn settable(name: &'static str, shape: impl Into<Shape>, doc: &str) -> Property {
    let schema = match shape.into() {
        Shape::Plain(object) => nullable(*object, doc).into(),
        Shape::List(mut list) => {
            list.schema_type = SchemaType::from_iter([Type::Array, Type::Null]);
            list.description = Some(doc.to_owned());
            Schema::from(*list).into()
        }
        Shape::Reference(name) => Schema::from(
            OneOf::builder()
                .item(Object::builder().schema_type(SchemaType::Type(Type::Null)))
                .item(reference(name))
                .description(Some(doc))
                .build(),
        )
        .into(),
    };
    Property {
        name,
        schema,
        required: false,
    }
}

/// A property of requests and responses that can be absent but not null.
pub(super) fn optional(name: &'static str, shape: impl Into<Shape>, doc: &str) -> Property {
    property(name, shape, doc, None, false)
}

/// A property of responses; requests may contain it, and it is ignored there.
pub(super) fn output(name: &'static str, shape: impl Into<Shape>, doc: &str) -> Property {
    property(name, shape, doc, Some(true), false)
}

/// A property of every response of this kind.
pub(super) fn always(name: &'static str, shape: impl Into<Shape>, doc: &str) -> Property {
    property(name, shape, doc, None, true)
}

fn property(
    name: &'static str,
    shape: impl Into<Shape>,
    doc: &str,
    read_only: Option<bool>,
    required: bool,
) -> Property {
    let doc = doc.to_owned();
    let schema = match shape.into() {
        Shape::Plain(mut object) => {
            object.description = Some(doc);
            object.read_only = read_only;
            Schema::from(*object).into()
        }
        Shape::List(mut list) => {
            list.description = Some(doc);
            Schema::from(*list).into()
        }
        Shape::Reference(name) => {
            let mut reference = reference(name);
            reference.description = doc;
            reference.read_only = read_only;
            reference.into()
        }
    };
    Property {
        name,
        schema,
        required,
    }
}

fn nullable(mut object: Object, doc: &str) -> Schema {
    object.description = Some(doc.to_owned());
    object.schema_type = match object.schema_type {
        SchemaType::Type(kind) => SchemaType::from_iter([kind, Type::Null]),
        SchemaType::Array(mut kinds) => {
            kinds.push(Type::Null);
            SchemaType::Array(kinds)
        }
        SchemaType::AnyValue => SchemaType::AnyValue,
    };
    object.into()
}

// === objects ===

/// An object of requests and responses. Requests with other properties are rejected.
pub(super) fn resource(doc: &str, properties: Vec<Property>) -> RefOr<Schema> {
    object(doc, properties)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .build()
        .into()
}

/// An object of responses. Later versions may add properties.
pub(super) fn response(doc: &str, properties: Vec<Property>) -> RefOr<Schema> {
    object(doc, properties).build().into()
}

fn object(doc: &str, properties: Vec<Property>) -> ObjectBuilder {
    let object = Object::builder()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some(doc));
    properties.into_iter().fold(object, |object, property| {
        let Property {
            name,
            schema,
            required,
        } = property;
        let object = object.property(name, schema);
        if required {
            object.required(name)
        } else {
            object
        }
    })
}

/// A value that is one of these schemas.
pub(super) fn one_of(doc: &str, names: &[&str]) -> RefOr<Schema> {
    let one_of = OneOf::builder().description(Some(doc));
    let one_of = names
        .iter()
        .fold(one_of, |one_of, name| one_of.item(reference(name)));
    Schema::from(one_of.build()).into()
}

// === impl Shape ===

impl From<ObjectBuilder> for Shape {
    fn from(object: ObjectBuilder) -> Self {
        Self::Plain(Box::new(object.build()))
    }
}

impl From<ArrayBuilder> for Shape {
    fn from(list: ArrayBuilder) -> Self {
        Self::List(Box::new(list.build()))
    }
}

/// The name of a schema.
impl From<&'static str> for Shape {
    fn from(name: &'static str) -> Self {
        Self::Reference(name)
    }
}
