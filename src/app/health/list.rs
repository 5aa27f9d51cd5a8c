//! The health of the servers of services, in pages.

use std::ops::Bound;

use crate::{
    app::{
        App, RequestContext,
        paging::{KeyPage, Keyed, Token, binding},
    },
    model::{Error, HealthReport, KeptFilter, Reason, ServiceKey},
};

/// A request for a page of services that are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHealth {
    /// Only services that match.
    pub filter: KeptFilter,
    /// Most entries of the page; `None` or 0 for the default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// A report, and its encoded forms.
const COPIES: usize = 4;

// === impl App ===

impl App {
    /// A page of the services that are checked and that the principal may read, with the health of their servers.
    pub async fn list_health(
        &self,
        context: &RequestContext,
        list: &ListHealth,
    ) -> Result<KeyPage<HealthReport>, Error> {
        self.may_list(context)?;
        let size = self.options.page_size(list.page_size)?;
        self.check_filter(&list.filter)?;
        let binding = binding(&(&list.filter, &context.principal));
        let token = list.page_token.as_deref();
        let token: Option<Token<ServiceKey>> = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        self.find_checked(context, None).await?;
        let from = token.map_or(Bound::Unbounded, |token| Bound::Excluded(token.key));
        let kept = self.kept.all();
        let state = self.health.state();
        let mut rest = state
            .services
            .range((from, Bound::Unbounded))
            .filter(|(key, _)| list.filter.matches(&kept.of(**key)))
            .filter(|(key, _)| context.principal.sees(**key));
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let bytes: usize = page.iter().map(|(_, one)| one.bytes()).sum();
        let charge = self.budget_of(context).charge(COPIES * bytes)?;
        let more = rest.next().is_some();
        let entries = page.into_iter().map(|(key, one)| one.report(*key));
        Ok(KeyPage::new(entries.collect(), more, binding, charge))
    }

    /// The health of the servers of a service.
    pub async fn service_health(
        &self,
        context: &RequestContext,
        service: ServiceKey,
    ) -> Result<HealthReport, Error> {
        self.service(context, service, crate::model::Include::default())
            .await?;
        self.find_checked(context, Some(service)).await?;
        self.health
            .report(service)
            .ok_or_else(|| not_checked(service))
    }
}

/// The error for a service without a health check.
pub(super) fn not_checked(service: ServiceKey) -> Error {
    Error::new(
        Reason::HealthCheckNotFound,
        format!("{service} has no health check"),
    )
    .with_hint("set the field health_check of the service")
}

impl Keyed for HealthReport {
    type Key = ServiceKey;

    fn key(&self) -> ServiceKey {
        self.service
    }
}
