//! Enums of the OpenAPI document. The drafts hold these fields as text, so that validation reports
//! all invalid values at once; the views also report values that only other programs can set.
#![allow(
    missing_docs,
    reason = "the names are the documentation; only the OpenAPI generator uses these types"
)]

/// Transport protocol.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Forwarding method of a real server.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ForwardingInput))]
#[serde(rename_all = "lowercase")]

pub enum Forwarding {
    Masquerade,
    Tunnel,
    Direct,
}

/// Encapsulation.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

/// Checksum of a tunnel.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    None,
    Checksum,
    Remote,
}

/// Scheduler flag.
#[derive(serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerFlag {
    ShFallback,
    ShPort,
    MhFallback,
    MhPort,
    #[serde(rename = "flag-1")]
    Flag1,
    #[serde(rename = "flag-2")]
    Flag2,
    #[serde(rename = "flag-3")]
    Flag3,
}
