//! Requests for lists.

use std::net::IpAddr;

use super::Order;
use crate::model::{Include, KeptFields, KeptFilter, Name, Protocol, ServiceEntry, ServiceKey};

/// A request for a page of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListServices {
    /// Which services.
    pub filter: Filter,
    /// What each service includes.
    pub include: Include,
    /// The order; default by id.
    pub order: Order,
    /// Most services on the page; `None` or 0 for the configured default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// A request for a page of the servers of a service.
#[derive(Clone, Debug, Default)]
pub struct ListServers {
    /// What each server includes.
    pub include: Include,
    /// The order; default the kernel's.
    pub order: Order,
    /// Most servers on the page; `None` or 0 for the configured default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// Selects services. All fields that are present must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Virtual address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
    /// Firewall mark.
    pub fwmark: Option<u32>,
    /// Scheduler.
    pub scheduler: Option<String>,
    /// What is kept about it.
    pub kept: KeptFilter,
}

// === impl Filter ===

impl Filter {
    pub(super) fn matches(&self, entry: &ServiceEntry) -> bool {
        let service = &entry.service;
        self.matches_service(service.key, service.config.scheduler, &service.kept)
    }

    /// Whether a service with this key and scheduler matches, about which this is kept.
    pub(super) fn matches_service(
        &self,
        key: ServiceKey,
        scheduler: Name,
        kept: &KeptFields,
    ) -> bool {
        let wanted = self.scheduler.as_deref();
        if wanted.is_some_and(|wanted| wanted != scheduler.as_str()) {
            return false;
        }
        self.kept.matches(kept) && self.matches_key(key)
    }

    /// Whether a service with this key matches, apart from its scheduler and from what is kept about it.
    pub(super) fn matches_key(&self, key: ServiceKey) -> bool {
        match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                self.fwmark.is_none()
                    && self.protocol.is_none_or(|wanted| wanted == protocol)
                    && self.address.is_none_or(|wanted| wanted == address)
                    && self.port.is_none_or(|wanted| wanted == port)
            }
            ServiceKey::Fwmark { mark, .. } => {
                self.protocol.is_none()
                    && self.address.is_none()
                    && self.port.is_none()
                    && self.fwmark.is_none_or(|wanted| wanted == mark)
            }
        }
    }
}
