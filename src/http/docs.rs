//! `/openapi.json`, `/openapi.yaml` and `/docs`: the description of the API.

use std::sync::OnceLock;

use axum::{Router, http::header, routing::get};
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use crate::budget::Budget;

type Encode = fn(&OpenApi) -> String;

/// Memory that the document occupies while it is built. What it releases is given back to the system.
const BUILDING: usize = 8 << 20;

/// The paths of the document. It is built on first use, because it takes a megabyte of memory.
pub(super) fn router(openapi: fn() -> OpenApi, budget: &Budget) -> Router {
    static JSON: OnceLock<Bytes> = OnceLock::new();
    static YAML: OnceLock<Bytes> = OnceLock::new();
    let page = |media_type: &'static str, text: &'static OnceLock<Bytes>, encode: Encode| {
        let budget = budget.clone();
        let build = move || {
            let _building = budget.charge(BUILDING);
            encode(&openapi()).into()
        };
        let text = move || text.get_or_init(&build).clone();
        get(move || async move { ([(header::CONTENT_TYPE, media_type)], text()) })
    };
    let json: Encode = |openapi| openapi.to_pretty_json().unwrap_or_default();
    let yaml: Encode = |openapi| openapi.to_yaml().unwrap_or_default();
    let router = Router::new()
        .route("/openapi.json", page("application/json", &JSON, json))
        .route("/openapi.yaml", page("application/yaml", &YAML, yaml));
    #[cfg(feature = "docs-ui")]
    let router = router.merge(super::reference::router());
    router
}
