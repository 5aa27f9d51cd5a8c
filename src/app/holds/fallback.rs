//! What is said about fallback servers that get connections, or get none any more.

use super::task::TIMEOUT;
use crate::{
    app::{App, RequestContext, RequestId, attempt::event},
    audit::Event,
    executor::Step,
    identity::Principal,
    model::{Op, Server, ServerKey, ServiceKey},
};

// === impl App ===

impl App {
    /// Logs and records what operations have changed of fallback servers. `servers`: those of the service, as they
    /// were read after.
    pub(super) fn report_fallbacks(&self, steps: &[Step], servers: &[Server]) {
        let is_fallback = |key: ServerKey| {
            let mut servers = servers.iter();
            servers.any(|server| server.key == key && server.is_fallback())
        };
        for step in steps {
            match step.op {
                Op::CreateServer(service, server, _) => self.report(service, server, true),
                Op::SetServer(service, server, config) if is_fallback(server) => {
                    self.report(service, server, config.weight > 0);
                }
                Op::DeleteServer(service, server) => {
                    tracing::info!(%service, %server, "a fallback server was deleted again");
                }
                _ => {}
            }
        }
    }

    fn report(&self, service: ServiceKey, server: ServerKey, serves: bool) {
        let operation = match serves {
            true => {
                tracing::warn!(%service, %server, "a fallback server gets connections");
                "health_fallback"
            }
            false => {
                tracing::info!(%service, %server, "a fallback server gets no new connections any more");
                "health_fallback_end"
            }
        };
        let context = RequestContext {
            principal: Principal::health(),
            ..RequestContext::new(RequestId::new("health"), TIMEOUT)
        };
        self.audit_log().record(Event {
            service: Some(service),
            server: Some(server),
            start: None,
            ..event(&context, operation.into())
        });
    }
}
