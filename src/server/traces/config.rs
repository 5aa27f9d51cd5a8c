//! The settings of `[tracing]`, and the values that they take.

use std::{fmt, path::PathBuf};

use http::{Uri, uri::Scheme};

/// The export of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracingConfig {
    /// Whether spans are exported. Requires the Cargo feature `otel`. Default false.
    pub export: bool,
    /// URL of the collector. Default: none, which is that of `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or else the port of the protocol on this machine.
    pub endpoint: Option<String>,
    /// Default: none, which is that of `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` or `OTEL_EXPORTER_OTLP_PROTOCOL`, or else
    /// [`TraceProtocol::Grpc`].
    pub protocol: Option<TraceProtocol>,
    /// File with the headers of requests to the collector. Default: none.
    pub headers_file: Option<PathBuf>,
    /// File with the certificates of the authorities that the collector's may be signed by. Default: none, which is
    /// those of the system.
    pub ca: Option<PathBuf>,
    /// The part of the traces that is recorded, of those that begin here. Default: all, unless
    /// `OTEL_TRACES_SAMPLER` says otherwise.
    pub sample_ratio: SampleRatio,
    /// `service.name`. Default: none, which is that of `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`, or else
    /// `ipvsd`.
    pub service_name: Option<String>,
    /// Further attributes of the resource, each `name=value`. Default: none.
    pub resource_attributes: Vec<String>,
    /// Spans that wait to be exported; further ones are lost. Default 2048: about 4 MiB.
    pub max_queue_spans: usize,
}

/// The protocol by which spans are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, as protobuf.
    Http,
}

/// A number from 0 to 1, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRatio(u32);

/// One, in millionths.
const ONE: u32 = 1_000_000;

/// Length of the name of a service, and of an attribute of the resource, in bytes.
const MAX_TEXT: usize = 256;

/// What the URL of a collector is.
pub(in crate::server) const ENDPOINT_FORM: &str = "a URL http://HOST:PORT or https://HOST:PORT, without user, password and query; with a path only for \
     http/protobuf";

/// Whether the text is the URL of a collector.
pub(in crate::server) fn is_endpoint(text: &str, protocol: Option<TraceProtocol>) -> bool {
    let Ok(url) = text.parse::<Uri>() else {
        return false;
    };
    let is_known = [Scheme::HTTP, Scheme::HTTPS]
        .iter()
        .any(|s| url.scheme() == Some(s));
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let has_host = url
        .host()
        .is_some_and(|host| !host.is_empty() && !host.contains(".."));
    // A port that is no number, or too large, would be the default one of the scheme.
    let port = authority.rsplit(']').next().unwrap_or_default();
    let has_port = match port.rsplit_once(':') {
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => true,
    };
    let may_have_path = protocol != Some(TraceProtocol::Grpc) || url.path() == "/";
    is_known
        && has_host
        && has_port
        && !authority.contains('@')
        && url.query().is_none()
        && may_have_path
}

/// Whether requests to the URL are sent over a network without encryption.
pub(in crate::server) fn is_exposed(endpoint: &str) -> bool {
    let Ok(url) = endpoint.parse::<Uri>() else {
        return false;
    };
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = address.parse().ok();
    let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    url.scheme() == Some(&Scheme::HTTP) && !is_local
}

/// Whether the text is `name=value`, or, without `=`, a name.
pub(in crate::server) fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The name and the value of an attribute.
pub(in crate::server) fn attribute(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (is_text(text) && !name.is_empty()).then_some((name, value))
}

// === impl TracingConfig ===

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            export: false,
            endpoint: None,
            protocol: None,
            headers_file: None,
            ca: None,
            sample_ratio: SampleRatio::ALL,
            service_name: None,
            resource_attributes: Vec::new(),
            max_queue_spans: 2048,
        }
    }
}

// === impl SampleRatio ===

impl SampleRatio {
    /// All traces.
    pub const ALL: Self = Self(ONE);

    /// The ratio that a decimal number is: `0.25`, `1`. More than six decimals are rounded.
    pub fn parse(text: &str) -> Option<Self> {
        let ratio: f64 = text.parse().ok()?;
        if !(0.0..=1.0).contains(&ratio) {
            return None;
        }
        // At most a million.
        Some(Self((ratio * f64::from(ONE)).round() as u32))
    }

    /// The ratio as a number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

impl fmt::Display for SampleRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With a point: it is a number with decimals in TOML.
        write!(f, "{:?}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_numbers_from_0_to_1() {
        for (text, shown) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("0.25", "0.25"),
            ("0.0000014", "1e-6"),
        ] {
            let ratio = SampleRatio::parse(text);
            assert_eq!(ratio.map(|ratio| ratio.to_string()).as_deref(), Some(shown));
            assert_eq!(SampleRatio::parse(shown), ratio, "{shown}");
        }
        for text in ["", "-0.1", "1.1", "50%", "NaN", "inf"] {
            assert_eq!(SampleRatio::parse(text), None, "{text}");
        }
    }

    #[test]
    fn endpoints_are_urls() {
        let (grpc, http) = (Some(TraceProtocol::Grpc), Some(TraceProtocol::Http));
        for (text, of_grpc, of_http) in [
            ("http://127.0.0.1:4317", true, true),
            ("https://otel.example.com", true, true),
            ("https://[2001:db8::1]:4317/", true, true),
            ("https://otel.example.com/v1/traces", false, true),
            ("otel.example.com:4317", false, false),
            ("grpc://otel.example.com:4317", false, false),
            ("https://user:secret@otel.example.com", false, false),
            ("https://otel.example.com/?key=secret", false, false),
            ("https://", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_endpoint(text, grpc), of_grpc, "{text}");
            assert_eq!(is_endpoint(text, http), of_http, "{text}");
        }
    }

    #[test]
    fn plain_http_is_exposed_unless_it_stays_on_this_machine() {
        for (text, exposed) in [
            ("http://otel.example.com:4317", true),
            ("http://192.0.2.1:4317", true),
            ("https://192.0.2.1:4317", false),
            ("http://127.0.0.1:4317", false),
            ("http://[::1]:4317", false),
            ("http://localhost", false),
        ] {
            assert_eq!(is_exposed(text), exposed, "{text}");
        }
    }
}
