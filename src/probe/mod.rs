//! Probes: one check of one server, over the network of the daemon's own namespace.

mod authority;
mod bounded;
mod connect;
mod dns;
mod grpc;
mod http;
mod reason;
mod tls;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tls::Connectors;
use tokio::time::timeout_at;

use crate::{
    health::{Failure, Outcome},
    model::{CheckType, HealthCheck, Protocol, ServiceKey, Transport},
};

/// Checks servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Prober {
    tls: Arc<Connectors>,
}

// === impl Prober ===

impl Prober {
    /// Checks a server of a service once. `address` is that of the server; the check may name another port.
    pub async fn probe(
        &self,
        check: &HealthCheck,
        service: ServiceKey,
        address: SocketAddr,
    ) -> Outcome {
        let address = SocketAddr::new(address.ip(), check.port.unwrap_or(address.port()));
        let begin = Instant::now();
        let result = self.within(check, service, address).await;
        Outcome {
            result,
            latency: begin.elapsed(),
        }
    }

    async fn within(
        &self,
        check: &HealthCheck,
        service: ServiceKey,
        address: SocketAddr,
    ) -> Result<(), Failure> {
        if address.port() == 0 {
            let reason = "the server has no port: set the port of the health check";
            return Err(Failure::Unchecked(reason.to_owned()));
        }
        let seconds = check.timeout_seconds;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds.into());
        if check.kind == CheckType::Dns && transport(check, service) == Transport::Udp {
            return dns::datagram(check, address, deadline).await;
        }
        let connected = timeout_at(deadline, connect::connect(check, address)).await;
        let stream = connected
            .map_err(|_| Failure::Silent(format!("no connection within {seconds} s")))??;
        let late = |_| Failure::Wrong(format!("no complete answer within {seconds} s"));
        let answer = async {
            match check.kind {
                CheckType::Tcp => Ok(()),
                CheckType::Http => http::request(check, address, stream).await,
                CheckType::Https => {
                    let stream = self.tls.handshake(check, address, stream).await?;
                    http::request(check, address, stream).await
                }
                CheckType::Grpc if check.tls == Some(true) => {
                    let stream = self.tls.handshake(check, address, stream).await?;
                    grpc::request(check, address, stream).await
                }
                CheckType::Grpc => grpc::request(check, address, stream).await,
                CheckType::Dns => dns::stream(check, stream).await,
                CheckType::External => {
                    let reason = "servers of this type are not asked";
                    Err(Failure::Unchecked(reason.to_owned()))
                }
            }
        };
        timeout_at(deadline, answer).await.map_err(late)?
    }
}

/// The protocol of a query.
fn transport(check: &HealthCheck, service: ServiceKey) -> Transport {
    check.transport.unwrap_or(match service {
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            ..
        } => Transport::Tcp,
        _ => Transport::Udp,
    })
}
