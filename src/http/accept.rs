//! What a request accepts, in order of preference (RFC 9110, section 12.4.2).

use http::{HeaderMap, HeaderName};

/// An element of a header such as `Accept`.
pub(super) struct Accepted<'h> {
    /// The media type or coding, in lower case.
    pub(super) name: String,
    parameters: &'h str,
}

// === impl Accepted ===

impl<'h> Accepted<'h> {
    /// The elements of all headers of a name. What is no text is ignored.
    pub(super) fn all(headers: &'h HeaderMap, header: HeaderName) -> impl Iterator<Item = Self> {
        let values = headers.get_all(header).into_iter();
        let texts = values.map(|value| value.to_str().unwrap_or_default());
        texts.flat_map(|text| text.split(',')).map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            Self {
                name: name.trim().to_ascii_lowercase(),
                parameters,
            }
        })
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&'h str> {
        let parameters = self.parameters.split(';');
        let mut parameters = parameters.filter_map(|text| text.trim().split_once('='));
        let (_, value) = parameters.find(|(other, _)| *other == name)?;
        Some(value)
    }

    /// How much it is preferred, from 0 (not acceptable) to 1, which is the default. 0 if it is no number.
    pub(super) fn weight(&self) -> f32 {
        let weight = self.parameter("q");
        weight.map_or(1.0, |text| text.parse().unwrap_or(0.0))
    }
}
