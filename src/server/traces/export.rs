//! The export of spans by OTLP.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nix::sys::utsname::uname;
use opentelemetry::{InstrumentationScope, Key, KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;

pub use super::endpoint::TracesError;
use super::{
    client::{Client, channel},
    config::{SampleRatio, TraceProtocol, TracingConfig, attribute},
    endpoint::Endpoint,
    queue::{BoundedProcessor, CountedExporter, Counters},
};
use crate::{
    metrics::{Kind, Metrics, Sampled, Value},
    trace::Tracer,
    version::VERSION,
};

/// The export of spans. By default none are exported.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Export>);

#[derive(Clone, Debug)]
struct Export {
    provider: SdkTracerProvider,
    counters: Arc<Counters>,
}

/// Time that the spans which wait may take to be exported at the end of the daemon.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// `service.name`, if nothing names the service.
const SERVICE_NAME: &str = "ipvsd";

/// The beginning of the name that the SDK gives a service without one.
const UNKNOWN_SERVICE: &str = "unknown_service";

impl TracingConfig {
    /// Checks the files that the configuration names, and the standard variables. Blocks.
    pub fn check_files(&self) -> Result<(), TracesError> {
        match self.export {
            true => Endpoint::of(self).map(drop),
            false => Ok(()),
        }
    }
}

// === impl Traces ===

impl Traces {
    /// Starts the export, if it is configured. Connects when there is something to export. Blocks. Requires a running
    /// tokio runtime.
    pub fn start(config: &TracingConfig) -> Result<Self, TracesError> {
        if !config.export {
            return Ok(Self(None));
        }
        let endpoint = Endpoint::of(config)?;
        let (url, protocol) = (endpoint.url.clone(), endpoint.protocol);
        let counters = Arc::new(Counters::default());
        let exporter = CountedExporter::new(exporter(endpoint)?, counters.clone());
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.max_queue_spans)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let processor = BoundedProcessor::new(processor, config.max_queue_spans, counters.clone());
        let mut builder = SdkTracerProvider::builder()
            .with_resource(resource(config))
            .with_span_processor(processor);
        // Otherwise the SDK reads OTEL_TRACES_SAMPLER.
        if config.sample_ratio != SampleRatio::ALL {
            let ratio = Sampler::TraceIdRatioBased(config.sample_ratio.as_f64());
            builder = builder.with_sampler(Sampler::ParentBased(Box::new(ratio)));
        }
        let provider = builder.build();
        tracing::info!(endpoint = url, ?protocol, "exporting traces");
        Ok(Self(Some(Export { provider, counters })))
    }

    /// What begins the traces of requests.
    pub fn tracer(&self) -> Tracer {
        let Some(Export { provider, .. }) = &self.0 else {
            return Tracer::default();
        };
        let scope = InstrumentationScope::builder("ipvsd")
            .with_version(VERSION)
            .build();
        Tracer::new(provider.tracer_with_scope(scope))
    }

    /// Adds the metrics of the export.
    pub fn add_metrics(&self, metrics: &Metrics) {
        let Some(Export { counters, .. }) = &self.0 else {
            return;
        };
        let results = counters.clone();
        metrics.add(Sampled {
            name: "ipvsd_trace_spans",
            help: "Spans of traces by result: exported, dropped because the queue was full, or failed because the collector did not take them.",
            kind: Kind::Counter,
            unit: None,
            read: Box::new(move || {
                let results = results.results().into_iter();
                let samples = results.map(|(result, count)| {
                    (vec![("result", result.to_owned())], Value::Integer(count))
                });
                samples.collect()
            }),
        });
        let waiting = counters.clone();
        metrics.add(Sampled::one(
            "ipvsd_trace_queue_spans",
            "Spans of traces that wait to be exported.",
            Kind::Gauge,
            move || Value::Integer(u64::try_from(waiting.waiting()).unwrap_or(u64::MAX)),
        ));
    }

    /// Exports what waits, for at most [`FLUSH_TIMEOUT`], and ends. Spans that end later are lost. Blocks. Must be
    /// called while the runtime runs.
    pub fn finish(&self) {
        if let Some(Export { provider, counters }) = &self.0 {
            // What is lost is counted, and logged below.
            drop(provider.shutdown_with_timeout(FLUSH_TIMEOUT));
            counters.log_rest();
        }
    }
}

/// The SDK's exporter. It adds the headers of `OTEL_EXPORTER_OTLP_HEADERS`.
fn exporter(endpoint: Endpoint) -> Result<SpanExporter, TracesError> {
    let sdk = |error: &dyn std::error::Error| TracesError::Sdk(error.to_string());
    let exporter = match endpoint.protocol {
        TraceProtocol::Grpc => {
            let channel = channel(&endpoint).map_err(|error| sdk(&error))?;
            SpanExporter::builder()
                .with_tonic()
                .with_channel(channel)
                .with_metadata(MetadataMap::from_headers(endpoint.headers))
                .with_timeout(endpoint.timeout)
                .build()
        }
        TraceProtocol::Http => {
            let text =
                |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = endpoint.headers.iter();
            let headers: HashMap<_, _> = headers
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect();
            let builder = SpanExporter::builder()
                .with_http()
                .with_endpoint(endpoint.url)
                .with_protocol(Protocol::HttpBinary)
                .with_headers(headers)
                .with_timeout(endpoint.timeout);
            let (timeout, runtime) = (endpoint.timeout, Handle::current());
            match endpoint.tls {
                None => builder.with_http_client(Client::plain(timeout, runtime)),
                Some(tls) => builder.with_http_client(Client::encrypted(tls, timeout, runtime)),
            }
            .build()
        }
    };
    exporter.map_err(|error| sdk(&error))
}

/// What describes the daemon: what is configured, above what the SDK finds in `OTEL_SERVICE_NAME` and
/// `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(config: &TracingConfig) -> Resource {
    let found = Resource::builder().build();
    let is_missing = |name: &'static str| {
        let value = found.get(&Key::from_static_str(name));
        value.is_none_or(|value| value.as_str().starts_with(UNKNOWN_SERVICE))
    };
    let host = uname().ok();
    let host = host.and_then(|system| system.nodename().to_str().map(str::to_owned));
    let own = [
        ("service.name", Some(SERVICE_NAME.to_owned())),
        ("service.version", Some(VERSION.to_owned())),
        ("host.name", host),
    ];
    let own = own.into_iter().filter(|(name, _)| is_missing(name));
    let own = own.filter_map(|(name, value)| Some(KeyValue::new(name, value?)));
    let configured = config.resource_attributes.iter();
    let configured = configured.filter_map(|text| {
        let (name, value) = attribute(text)?;
        Some(KeyValue::new(name.to_owned(), value.to_owned()))
    });
    let name = config.service_name.clone();
    let name = name.map(|name| KeyValue::new("service.name", name));
    Resource::builder()
        .with_attributes(own)
        .with_attributes(configured)
        .with_attributes(name)
        .build()
}
