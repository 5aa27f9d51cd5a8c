//! Probes: one check of one server, over the network of the daemon's own namespace.

mod connect;
mod http;
mod tls;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tls::Connectors;
use tokio::time::timeout;

use crate::{
    health::{Failure, Outcome},
    model::{CheckType, HealthCheck},
};

/// Checks servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Prober {
    tls: Arc<Connectors>,
}

// === impl Prober ===

impl Prober {
    /// Checks a server once. `address` is that of the server; the check may name another port.
    pub async fn probe(&self, check: &HealthCheck, address: SocketAddr) -> Outcome {
        let address = SocketAddr::new(address.ip(), check.port.unwrap_or(address.port()));
        let begin = Instant::now();
        let limit = Duration::from_secs(check.timeout_seconds.into());
        let result = self.within(check, address, limit).await;
        Outcome {
            result,
            latency: begin.elapsed(),
        }
    }

    async fn within(
        &self,
        check: &HealthCheck,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<(), Failure> {
        if address.port() == 0 {
            let reason = "the server has no port: set the port of the health check";
            return Err(Failure::Unchecked(reason.to_owned()));
        }
        let deadline = tokio::time::Instant::now() + limit;
        let seconds = check.timeout_seconds;
        let connected = timeout(limit, connect::connect(check, address)).await;
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
            }
        };
        tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(late)?
    }
}
