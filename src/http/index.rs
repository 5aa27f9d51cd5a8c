//! `/` and `/v1`: which paths there are.

use std::sync::OnceLock;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::{OpenApi, PathItem};

use super::{
    accept::Accepted,
    problem::Problem,
    query::{NoParams, Query},
    reply, schema,
    state::Api,
};
use crate::model::Error;

/// A path.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    path: String,
    methods: Vec<&'static str>,
    description: String,
}

/// The response.
#[derive(Debug, Serialize)]
struct Index<'a> {
    paths: &'a [&'a Entry],
}

/// Paths that are no operations.
const DOCUMENTS: &[(&str, &str)] = &[
    #[cfg(feature = "dashboard")]
    ("/ui", "Dashboard, for browsers"),
    #[cfg(feature = "docs-ui")]
    ("/docs", "Reference of the HTTP API, for browsers"),
    (
        "/openapi.json",
        "Description of the HTTP API (OpenAPI), as JSON",
    ),
    (
        "/openapi.yaml",
        "Description of the HTTP API (OpenAPI), as YAML",
    ),
];

/// Paths that are not listed: the files of pages.
const PAGES: &[&str] = &[
    #[cfg(feature = "dashboard")]
    "/ui/",
    #[cfg(feature = "dashboard")]
    "/ui/{file}",
    #[cfg(feature = "docs-ui")]
    "/docs/{*rest}",
];

/// List paths
///
/// Lists the paths outside of `/v1`. A browser, which prefers HTML (`Accept`), is sent to the dashboard instead.
#[utoipa::path(
    get, path = "/", operation_id = "listPaths", tag = "about",
    responses(
        (status = 200, description = "The paths.", body = schema::Index),
        (
            status = 303, description = "The request prefers HTML: the dashboard.",
            headers(("Location" = String, description = "`ui/`, relative to the path."))
        )
    )
)]
pub(super) async fn root(
    State(api): State<Api>,
    _: Query<NoParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = match cfg!(feature = "dashboard") && prefers_html(&headers) {
        true => (
            StatusCode::SEE_OTHER,
            // Relative, for proxies that add a prefix.
            [
                (header::LOCATION, "ui/"),
                (header::CACHE_CONTROL, "no-cache"),
            ],
        )
            .into_response(),
        false => list(&api, |path| path != "/" && !path.starts_with("/v1/"))?,
    };
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    Ok(response)
}

/// Whether the client asks for HTML, and not for JSON at least as much.
fn prefers_html(headers: &HeaderMap) -> bool {
    let weight = |wanted: &str| {
        let mut accepted = Accepted::all(headers, header::ACCEPT);
        let found = accepted.find(|item| item.name == wanted);
        found.map_or(0.0, |item| item.weight())
    };
    weight("text/html") > weight("application/json")
}

/// List paths of v1
///
/// Lists the paths below `/v1`, with the methods of each.
#[utoipa::path(
    get, path = "/v1", operation_id = "listApiPaths", tag = "about",
    responses((status = 200, description = "The paths.", body = schema::Index))
)]
pub(super) async fn v1(State(api): State<Api>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(list(&api, |path| path.starts_with("/v1/"))?)
}

fn list(api: &Api, is_listed: impl Fn(&str) -> bool) -> Result<Response, Error> {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    let entries = ENTRIES.get_or_init(|| entries(&(api.describe)()));
    let listed = entries.iter().filter(|entry| is_listed(&entry.path));
    let paths: Vec<_> = listed.collect();
    reply::plain(&Index { paths: &paths })
}

fn entries(document: &OpenApi) -> Vec<Entry> {
    let operations = document.paths.paths.iter();
    let operations = operations.map(|(path, item)| Entry::new(path, item));
    let documents = DOCUMENTS.iter().map(|(path, description)| Entry {
        path: (*path).to_owned(),
        methods: vec!["GET"],
        description: (*description).to_owned(),
    });
    operations.chain(documents).collect()
}

/// All routes: those of the operations, with the method of each, and those of pages.
pub(super) fn routes(
    operations: impl Iterator<Item = (&'static str, String)>,
) -> impl Iterator<Item = (&'static str, String)> {
    let documents = DOCUMENTS.iter().map(|(path, _)| *path);
    let pages = PAGES.iter().copied();
    let listed = operations.chain(documents.map(|path| ("GET", path.to_owned())));
    let with_head = listed.flat_map(|(method, path)| {
        let head = (method == "GET").then(|| ("HEAD", path.clone()));
        head.into_iter().chain([(method, path)])
    });
    with_head.chain(pages.map(|path| ("GET", path.to_owned())))
}

// === impl Entry ===

impl Entry {
    /// The description is that of the first operation.
    fn new(path: &str, item: &PathItem) -> Self {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        let present = operations
            .into_iter()
            .filter_map(|(method, operation)| Some((method, operation.as_ref()?)));
        let (methods, summaries): (Vec<_>, Vec<_>) = present
            .map(|(method, operation)| (method, operation.summary.clone()))
            .unzip();
        Self {
            path: path.to_owned(),
            methods,
            description: summaries.into_iter().flatten().next().unwrap_or_default(),
        }
    }
}
