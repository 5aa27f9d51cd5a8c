//! Allowed values for the OpenAPI document, where the code itself takes text so that one place says
//! what is wrong with it and what another program put into the kernel can still be shown.
#![allow(
    missing_docs,
    reason = "the names are the documentation; only the OpenAPI generator sees them"
)]

/// Transport protocol.
#[derive(utoipa::ToSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// How packets reach a real server.
#[derive(utoipa::ToSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[schema(as = ForwardingInput)]
pub enum Forwarding {
    Masquerade,
    Tunnel,
    Direct,
}

/// Encapsulation.
#[derive(utoipa::ToSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

/// Checksums of a tunnel.
#[derive(utoipa::ToSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    None,
    Checksum,
    Remote,
}

/// Flag of a scheduler.
#[derive(utoipa::ToSchema, serde::Serialize)]
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
