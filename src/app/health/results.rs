//! Results of health checks of the type `external`, which others report.

use std::sync::Arc;

use super::{list::not_checked, outcomes::Settled, task::health_context};
use crate::{
    app::{App, RequestContext, attempt::event_of},
    audit::Event,
    executor::Member,
    identity::Verb,
    model::{
        CheckType, Error, HealthCheck, HealthResult, Include, Reason, ServerHealthReport,
        ServerKey, ServiceKey,
    },
};

// === impl App ===

impl App {
    /// Takes a result of the health check of a server, whose type is `external`. It is in the audit trail if it
    /// takes the server out or brings it back, or is refused.
    pub async fn report_health(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        server: ServerKey,
        result: &HealthResult,
    ) -> Result<ServerHealthReport, Error> {
        let done = self.reported(context, (service, server), result).await;
        let is_news = match &done {
            Ok((_, transition)) => transition.as_ref().is_some_and(|one| !one.is_first),
            Err(_) => true,
        };
        let event = Event {
            service: Some(service),
            server: Some(server),
            ..event_of(context, "report_health", &done)
        };
        if is_news && (!context.dry_run || event.outcome.is_refusal()) {
            self.audit_log().record(event);
        }
        done.map(|(report, _)| report)
    }

    async fn reported(
        &self,
        context: &RequestContext,
        member: Member,
        result: &HealthResult,
    ) -> Result<Settled, Error> {
        let (service, server) = member;
        let verb = Verb::ReportHealth;
        context
            .principal
            .may(verb, Some(service), context.dry_run)?;
        let check = self.external_check(context, service).await?;
        self.health.forget_deleted();
        if self.health.report_of(member, &check).is_none() {
            self.find_checked(context, Some(service)).await?;
        }
        let missing = || Error::server_not_found(service, server);
        if context.dry_run {
            let report = self.health.report_of(member, &check).ok_or_else(missing)?;
            return Ok((report, None));
        }
        let noted = self.health.note_result(member, &check, result);
        let (report, transition) = noted.ok_or_else(missing)?;
        if let Some(transition) = &transition {
            self.report_transition(transition);
            self.health.decide();
            let app = self.clone();
            let work = async move {
                // What fails is tried again by the task, as for servers that the daemon checks.
                if let Err(error) = app.apply_health(&health_context(), Some(service)).await {
                    tracing::warn!(%error, "a result of a health check has no effect yet; it is tried again");
                    app.health.decided.notify_one();
                }
                Ok(())
            };
            self.background_work().run(work).await?;
        }
        Ok((report, transition))
    }

    /// The health check of a service, whose type is `external`.
    async fn external_check(
        &self,
        context: &RequestContext,
        service: ServiceKey,
    ) -> Result<Arc<HealthCheck>, Error> {
        let kept = self.kept.all().of(service);
        let check = kept.and_then(|kept| kept.stored.health_check.clone());
        let Some(check) = check else {
            self.service(context, service, Include::default()).await?;
            return Err(not_checked(service));
        };
        match check.kind {
            CheckType::External => Ok(check),
            kind => Err(Error::new(
                Reason::HealthCheckNotExternal,
                format!(
                    "the health check of {service} has the type {}: its servers are checked by the daemon",
                    kind.as_str()
                ),
            )
            .with_hint("set health_check.type to external, or use an override")),
        }
    }
}
