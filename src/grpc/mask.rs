//! Field masks (`google.protobuf.FieldMask`): which fields of a message an update changes.

use std::collections::BTreeSet;

use prost_types::FieldMask;

use crate::model::{Error, Field, Violation};

/// The fields that a request sets or resets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// Present fields are set.
    Present,
    /// All fields: present ones are set, absent ones are reset to their defaults.
    All,
    /// These fields: present ones are set, absent ones are reset to their defaults.
    Only(BTreeSet<String>),
}

// === impl Mask ===

impl Mask {
    /// Parses the mask of a request. Its paths must be in `known`. An empty mask counts as absent.
    pub(super) fn parse(mask: Option<FieldMask>, known: &[&str]) -> Result<Self, Error> {
        let FieldMask { paths } = mask.unwrap_or_default();
        if paths.is_empty() {
            return Ok(Self::Present);
        }
        let unknown: Vec<_> = paths
            .iter()
            .enumerate()
            .filter(|(_, path)| *path != "*" && !known.contains(&path.as_str()))
            .map(|(i, path)| {
                let allowed = known.join(", ");
                Violation::new(
                    format!("update_mask.paths[{i}]"),
                    format!("unknown field {path:?}; must be one of {allowed}, or * for all"),
                )
            })
            .collect();
        if !unknown.is_empty() {
            return Err(Error::from_violations(unknown));
        }
        if paths.iter().any(|path| path == "*") {
            return Ok(Self::All);
        }
        Ok(Self::Only(paths.into_iter().collect()))
    }

    /// Whether the mask contains a field.
    pub(super) fn names(&self, field: &str) -> bool {
        match self {
            Self::Present => false,
            Self::All => true,
            Self::Only(paths) => paths.contains(field),
        }
    }

    /// The change of a field with this value in the request.
    pub(super) fn field<T>(&self, name: &str, value: Option<T>) -> Field<T> {
        match (self, value) {
            (Self::Present, None) => Field::Keep,
            (Self::Present, Some(value)) => Field::Set(value),
            (_, value) if self.names(name) => value.map_or(Field::Clear, Field::Set),
            _ => Field::Keep,
        }
    }

    /// The change of a message field with this value in the request. A path to the message contains
    /// all of its fields, a path below it only the named one.
    pub(super) fn message<T: Default, D>(
        &self,
        name: &str,
        value: Option<T>,
        convert: impl FnOnce(T, &Self) -> D,
    ) -> Field<D> {
        let Self::Only(paths) = self else {
            return self.field(name, value.map(|value| convert(value, self)));
        };
        if paths.contains(name) {
            return value.map_or(Field::Clear, |value| Field::Set(convert(value, &Self::All)));
        }
        let below: BTreeSet<_> = paths
            .iter()
            .filter_map(|path| path.strip_prefix(name)?.strip_prefix('.'))
            .map(str::to_owned)
            .collect();
        if below.is_empty() {
            Field::Keep
        } else {
            Field::Set(convert(value.unwrap_or_default(), &Self::Only(below)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["weight", "tunnel", "tunnel.port"];

    fn mask(paths: &[&str]) -> Result<Mask, Error> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Mask::parse(Some(FieldMask { paths }), &KNOWN)
    }

    #[test]
    fn without_a_mask_present_fields_are_set() {
        for none in [Mask::parse(None, &KNOWN).unwrap(), mask(&[]).unwrap()] {
            assert_eq!(none.field("weight", Some(0)), Field::Set(0));
            assert_eq!(none.field::<i64>("weight", None), Field::Keep);
        }
    }

    #[test]
    fn an_absent_field_in_the_mask_is_cleared() {
        let only = mask(&["weight"]).unwrap();
        assert_eq!(only.field::<i64>("weight", None), Field::Clear);
        assert_eq!(only.field("weight", Some(0)), Field::Set(0));
        assert_eq!(only.field("tunnel", Some(1)), Field::Keep);
        assert_eq!(
            mask(&["*"]).unwrap().field::<i64>("weight", None),
            Field::Clear
        );
    }

    #[test]
    fn unknown_paths_are_rejected() {
        let error = mask(&["weight", "wieght", "tunnel.typ"]).unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["update_mask.paths[1]", "update_mask.paths[2]"]);
        assert!(error.detail.contains("\"wieght\""), "{error}");
        assert!(error.detail.contains("tunnel.port"), "{error}");
    }

    #[test]
    fn a_path_can_name_a_message_or_one_of_its_fields() {
        let port = |value: Option<Option<i64>>, mask: &Mask| {
            mask.message("tunnel", value, |port, mask| mask.field("port", port))
        };
        let all = mask(&["tunnel"]).unwrap();
        assert_eq!(port(None, &all), Field::Clear);
        assert_eq!(port(Some(None), &all), Field::Set(Field::Clear));
        let one = mask(&["tunnel.port"]).unwrap();
        assert_eq!(port(None, &one), Field::Set(Field::Clear));
        assert_eq!(port(Some(Some(7)), &one), Field::Set(Field::Set(7)));
        let other = mask(&["weight"]).unwrap();
        assert_eq!(port(Some(Some(7)), &other), Field::Keep);
        assert_eq!(port(Some(None), &Mask::Present), Field::Set(Field::Keep));
        assert_eq!(port(None, &Mask::Present), Field::Keep);
    }
}
