//! `/metrics`: the metrics of the daemon and of IPVS, for Prometheus.

use std::{fmt, sync::Arc};

use axum::{extract::State, response::Response};
use http::{HeaderMap, HeaderValue, header};

use super::{
    accept::Accepted,
    body::{self, Pieces},
    context::Caller,
    encode::Chunk,
    problem::Problem,
    query::{NoParams, Query},
    state::{Api, MetricsOptions},
};
use crate::{
    app::Scrape,
    metrics::{Exposition, Format, director_text},
    model::{Error, Reason},
};

/// The text, which is encoded while it is sent.
struct MetricsText {
    director: Vec<u8>,
    exposition: Exposition,
    /// `None` if the kernel does not respond.
    scrape: Option<Arc<Scrape>>,
    daemon: String,
    end: &'static str,
    has_begun: bool,
}

/// Get metrics
///
/// Returns the metrics of IPVS and of the daemon, in the text format of Prometheus or in OpenMetrics 1.0, as the
/// request accepts.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "counters",
    responses((
        status = 200, description = "The metrics.",
        content(
            (String = "text/plain", example = "# HELP ipvs_up Whether the kernel responds.\n# TYPE ipvs_up gauge\nipvs_up 1\n"),
            (String = "application/openmetrics-text"),
        )
    ))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: Query<NoParams>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, Problem> {
    let format = accepted(&headers);
    let context = caller.context();
    let MetricsOptions { max_age, scrape } = api.options.metrics;
    let scrape = api.app.scrape(&context, scrape, max_age).await?;
    let director = scrape.as_ref().map(|scrape| &scrape.director);
    let internal = |error: fmt::Error| Error::new(Reason::Internal, error.to_string());
    let text = MetricsText {
        director: director_text(director, format).map_err(internal)?,
        exposition: Exposition::new(format),
        scrape,
        daemon: api.app.metrics().encode(format).map_err(internal)?,
        end: format.end(),
        has_begun: false,
    };
    let mut response = Response::new(body::body(text).await?);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

// === impl MetricsText ===

impl Pieces for MetricsText {
    fn next(&mut self, chunk: &mut Chunk) -> serde_json::Result<bool> {
        if !std::mem::replace(&mut self.has_begun, true) {
            chunk.extend(&self.director);
            return Ok(true);
        }
        if let Some(scrape) = &self.scrape
            && self
                .exposition
                .next(scrape.table(), &scrape.prepared, chunk.bytes())
        {
            return Ok(true);
        }
        chunk.extend(self.daemon.as_bytes());
        chunk.extend(self.end.as_bytes());
        Ok(false)
    }
}

/// The format that the client prefers: OpenMetrics 1.0, if it names that and does not prefer plain text.
fn accepted(headers: &HeaderMap) -> Format {
    let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
    for item in Accepted::all(headers, header::ACCEPT) {
        let version = item.parameter("version").map(|text| text.trim_matches('"'));
        match item.name.as_str() {
            "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                open_metrics = open_metrics.max(item.weight());
            }
            "text/plain" => text = text.max(item.weight()),
            _ => {}
        }
    }
    match open_metrics > 0.0 && open_metrics >= text {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_format() {
        let chosen = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            accepted(&HeaderMap::from_iter([(header::ACCEPT, value)]))
        };
        for text in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text;version=\"1.0.0\"",
            // What Prometheus 2.42 sends.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain, application/openmetrics-text",
        ] {
            assert_eq!(chosen(text), Format::OpenMetrics, "{text}");
        }
        for text in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.5, text/plain",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(chosen(text), Format::Prometheus, "{text}");
        }
        assert_eq!(accepted(&HeaderMap::new()), Format::Prometheus);
    }
}
