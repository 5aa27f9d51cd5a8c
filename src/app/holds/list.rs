//! Lists of drains and of ramps, by id.

use std::{collections::BTreeMap, ops::Bound};

use super::listed::Listed;
use crate::{
    app::{
        App, RequestContext,
        paging::{KeyPage, Token, binding},
    },
    model::{Drain, DrainState, Error, HoldId, KeptFilter, Ramp, RampState},
};

/// A request for a page of drains or of ramps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHolds<S> {
    /// Only those in this state; `None`: all.
    pub state: Option<S>,
    /// Only those with a member of a service that matches.
    pub filter: KeptFilter,
    /// Most entries of the page; `None` or 0 for the default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// An entry, its copy, and its encoded forms.
const COPIES: usize = 4;

// === impl App ===

impl App {
    /// A page of the drains that the principal may read.
    pub fn list_drains(
        &self,
        context: &RequestContext,
        list: &ListHolds<DrainState>,
    ) -> Result<KeyPage<Drain>, Error> {
        self.may_list(context)?;
        self.page_of(context, list, &self.hold_registry.all().drains)
    }

    /// A page of the ramps that the principal may read.
    pub fn list_ramps(
        &self,
        context: &RequestContext,
        list: &ListHolds<RampState>,
    ) -> Result<KeyPage<Ramp>, Error> {
        self.may_list(context)?;
        self.page_of(context, list, &self.hold_registry.all().ramps)
    }

    fn page_of<T: Listed>(
        &self,
        context: &RequestContext,
        list: &ListHolds<T::State>,
        all: &BTreeMap<HoldId, T>,
    ) -> Result<KeyPage<T>, Error> {
        let size = self.options.page_size(list.page_size)?;
        self.check_filter(&list.filter)?;
        let binding = binding(&(list.state, &list.filter, &context.principal));
        let token = list.page_token.as_deref();
        let token: Option<Token<HoldId>> = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        let from = token.map_or(Bound::Unbounded, |token| Bound::Excluded(token.key));
        let kept = self.kept.all();
        let mut rest = all
            .range((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .filter(|entry| list.state.is_none_or(|state| entry.state() == state))
            .filter(|entry| {
                let mut services = entry.services();
                list.filter.is_everything()
                    || services.any(|service| list.filter.matches(&kept.of(service)))
            })
            .filter(|entry| entry.is_seen_by(&context.principal));
        let page: Vec<&T> = rest.by_ref().take(size).collect();
        let bytes: usize = page.iter().map(|entry| entry.size()).sum();
        let charge = self.budget_of(context).charge(COPIES * bytes)?;
        let more = rest.next().is_some();
        let entries = page.into_iter().cloned().collect();
        Ok(KeyPage::new(entries, more, binding, charge))
    }
}

// === impl ListHolds ===

impl<S> Default for ListHolds<S> {
    fn default() -> Self {
        Self {
            state: None,
            filter: KeptFilter::default(),
            page_size: None,
            page_token: None,
        }
    }
}
