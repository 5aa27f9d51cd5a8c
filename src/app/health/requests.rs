//! Overrides of the health of servers.

use jiff::{SignedDuration, Timestamp};

use super::{list::not_checked, stored::Override, task::health_context};
use crate::{
    app::{App, RequestContext, attempt::event_of},
    audit::Event,
    identity::Verb,
    model::{Error, OverrideRequest, ServerHealthReport, ServerKey, ServiceKey},
};

// === impl App ===

impl App {
    /// Forces a server of a service that is checked up or down, or, without a request, ends that.
    pub async fn override_health(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        request: Option<OverrideRequest>,
    ) -> Result<ServerHealthReport, Error> {
        let done = self.overridden(context, service, server, request).await;
        let operation = match request {
            Some(_) => "override_health",
            None => "delete_health_override",
        };
        let event = Event {
            service: Some(service),
            server: Some(server),
            ..event_of(context, operation, &done)
        };
        if !context.dry_run || event.outcome.is_refusal() {
            self.audit_log().record(event);
        }
        done
    }

    async fn overridden(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        request: Option<OverrideRequest>,
    ) -> Result<ServerHealthReport, Error> {
        let verb = Verb::OverrideHealth;
        context
            .principal
            .may(verb, Some(service), context.dry_run)?;
        self.find_checked(context, Some(service)).await?;
        let report = self.health.report(service);
        let report = match report {
            Some(report) => report,
            None => {
                self.server(context, service, server).await?;
                return Err(not_checked(service));
            }
        };
        let missing = || Error::server_not_found(service, server);
        let mut servers = report.servers.iter();
        servers
            .find(|one| one.server == server)
            .ok_or_else(missing)?;
        self.health.store.available()?;
        let since = Timestamp::now();
        let forced = request.map(|request| Override {
            state: request.state,
            since,
            expires: request.expires_seconds.and_then(|seconds| {
                since
                    .checked_add(SignedDuration::from_secs(seconds.into()))
                    .ok()
            }),
        });
        if context.dry_run {
            let report = self.health.would_force((service, server), forced);
            return report.ok_or_else(missing);
        }
        let report = self
            .health
            .force((service, server), forced)
            .ok_or_else(missing)?;
        let (principal, state) = (&context.principal, report.state.as_str());
        tracing::info!(%principal, %service, %server, state, "the health of a server is overridden");
        let app = self.clone();
        let work = async move {
            let applied = app.apply_health(&health_context(), Some(service)).await;
            // The task tries again.
            applied.inspect_err(|_| app.health.decided.notify_one())
        };
        self.background_work().run(work).await?;
        Ok(report)
    }
}
