//! Query parameters. `query!` declares each parameter once, as a typed field: the parser and the
//! OpenAPI document both come from this declaration. A request with an unknown, repeated or invalid
//! parameter is rejected, with the name of each.

use std::collections::HashSet;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::Value;
use utoipa::{
    IntoParams,
    openapi::{
        RefOr, Required, Schema,
        path::{Parameter, ParameterIn, ParameterStyle},
    },
};

use super::problem::Problem;
use crate::model::{Error, Violation};

/// The query parameters of a read.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

/// Parameters for which space is made at first: at least those of a list of services.
const USUAL_PARAMETERS: usize = 12;

query! {
    /// No parameters.
    NoParams {}
}

/// The type of one query parameter.
pub(super) trait QueryValue: Sized {
    /// Whether the parameter is a comma-separated list. A list may also be given by repeating the
    /// parameter.
    const IS_LIST: bool = false;

    /// The schema in the OpenAPI document.
    fn schema() -> RefOr<Schema>;

    /// Parses the percent-decoded text. The error names the allowed values.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A struct of query parameters; implemented by `query!`.
pub(super) trait FromQuery: Sized {
    /// Takes the parameters out of `params`, which collects the errors.
    fn from_query(params: &mut Params) -> Self;

    /// The parameters in the OpenAPI document.
    fn describe() -> Vec<Parameter>;
}

/// The parameters of a query string that are not parsed yet.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Vec<Violation>,
}

/// Declares a struct of query parameters. The doc comment of a field is the parameter's description.
macro_rules! query {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $kind:ty $(= $example:expr)?,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(super) struct $name {
            $($(#[doc = $doc])+ pub(super) $field: Option<$kind>,)*
        }

        impl $crate::http::query::FromQuery for $name {
            fn from_query(
                #[allow(unused_variables, reason = "a struct without parameters")]
                params: &mut $crate::http::query::Params,
            ) -> Self {
                Self { $($field: params.take(stringify!($field)),)* }
            }

            fn describe() -> Vec<utoipa::openapi::path::Parameter> {
                vec![$({
                    #[allow(unused_mut, unused_assignments, reason = "an example is optional")]
                    let mut example = None;
                    $(example = Some(serde_json::json!($example));)?
                    $crate::http::query::parameter::<$kind>(
                        stringify!($field),
                        concat!($($doc, "\n"),+),
                        example,
                    )
                },)*]
            }
        }
    };
}
pub(super) use query;

/// The parameter of type `T` in the OpenAPI document.
pub(super) fn parameter<T: QueryValue>(name: &str, doc: &str, example: Option<Value>) -> Parameter {
    let lines: Vec<&str> = doc.lines().map(str::trim).collect();
    Parameter::builder()
        .name(plain(name))
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(lines.join("\n").trim()))
        .schema(Some(T::schema()))
        .style(T::IS_LIST.then_some(ParameterStyle::Form))
        .explode(T::IS_LIST.then_some(false))
        .example(example)
        .build()
}

/// The name of a field without the prefix of a raw identifier.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

// === impl Params ===

impl Params {
    /// Splits the query string of a request.
    pub(super) fn of(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self {
            pairs: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            known: Vec::with_capacity(USUAL_PARAMETERS),
            violations: Vec::new(),
        }
    }

    /// Takes and parses the parameter `name`; `None` if it is absent or invalid.
    pub(super) fn take<T: QueryValue>(&mut self, name: &'static str) -> Option<T> {
        let name = plain(name);
        self.known.push(name);
        let text = if T::IS_LIST {
            let all = self.pairs.extract_if(.., |(key, _)| key == name);
            let values: Vec<String> = all.map(|(_, text)| text).collect();
            (!values.is_empty()).then(|| values.join(","))?
        } else {
            let index = self.pairs.iter().position(|(key, _)| key == name)?;
            self.pairs.remove(index).1
        };
        T::parse(&text)
            .map_err(|message| self.violations.push(Violation::new(name, message)))
            .ok()
    }

    /// Rejects what has not been taken, and reports all errors.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (name, _) in &self.pairs {
            if !seen.insert(name) {
                continue;
            }
            let message = if self.known.contains(&name.as_str()) {
                "must not be repeated".to_owned()
            } else if self.known.is_empty() {
                "unknown parameter; this request has none".to_owned()
            } else {
                format!("unknown parameter; allowed: {}", self.known.join(", "))
            };
            self.violations.push(Violation::new(name, message));
        }
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Error::from_violations(self.violations))
        }
    }
}

// === impl Query ===

impl<T: FromQuery, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::of(parts);
        let value = T::from_query(&mut params);
        params.finish()?;
        Ok(Self(value))
    }
}

impl<T: FromQuery> IntoParams for Query<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        T::describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    query! {
        /// Parameters of the tests.
        Sample {
            /// A number.
            number: u16 = 7,
            /// A switch,
            /// on two lines.
            r#virtual: bool,
        }
    }

    fn parse(query: &str) -> Result<Sample, Error> {
        let request = http::Request::get(format!("/x?{query}")).body(()).unwrap();
        let mut params = Params::of(&request.into_parts().0);
        let sample = Sample::from_query(&mut params);
        params.finish().map(|()| sample)
    }

    #[test]
    fn parameters_are_typed_and_optional() {
        let sample = parse("virtual=true").unwrap();
        assert_eq!((sample.number, sample.r#virtual), (None, Some(true)));
        assert_eq!(parse("number=65535").unwrap().number, Some(65535));
    }

    #[test]
    fn unknown_repeated_and_invalid_parameters_are_reported_together_by_name() {
        let error = parse("number=1&virtual=x&c=1&number=2&%E2%82%AC=1").unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["virtual", "c", "number", "€"]);
        assert!(error.detail.contains("allowed: number, virtual"), "{error}");
    }

    #[test]
    fn the_document_has_the_same_parameters() {
        let described = serde_json::to_value(Sample::describe()).unwrap();
        assert_eq!(described[0]["name"], "number");
        assert_eq!(described[0]["example"], 7);
        assert_eq!(described[0]["schema"]["maximum"], 65535);
        assert_eq!(described[1]["name"], "virtual");
        assert_eq!(described[1]["description"], "A switch,\non two lines.");
        assert_eq!(described[1]["required"], false);
    }
}
