//! Pages of drains and of ramps, by id.

use std::{collections::BTreeMap, hash::Hash, ops::Bound};

use super::{
    ramp::{Ramp, RampState},
    records::{Drain, DrainMember, DrainState},
};
use crate::{
    app::{
        App, RequestContext,
        paging::{Token, binding},
    },
    budget::Charge,
    identity::Principal,
    model::{Error, HoldId, KeptFilter, ServiceKey},
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

/// A page of drains or of ramps.
#[derive(Debug)]
pub struct HoldPage<T> {
    /// The entries, by id.
    pub entries: Vec<T>,
    /// Whether others follow.
    more: bool,
    /// See [`Token`].
    binding: u32,
    /// For the entries, and for what is encoded of them.
    _charge: Charge,
}

/// A drain or a ramp in a list.
pub trait Listed: Clone {
    /// How far it is.
    type State: Copy + Hash + PartialEq;

    /// Id.
    fn id(&self) -> HoldId;

    /// How far it is.
    fn state(&self) -> Self::State;

    /// The services of its members.
    fn services(&self) -> impl Iterator<Item = ServiceKey>;

    /// Whether the principal may read it.
    fn is_seen_by(&self, principal: &Principal) -> bool {
        self.services().all(|service| principal.sees(service))
    }

    /// The memory that it occupies, about.
    fn size(&self) -> usize;
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
    ) -> Result<HoldPage<Drain>, Error> {
        self.may_list(context)?;
        self.page_of(context, list, &self.hold_registry.all().drains)
    }

    /// A page of the ramps that the principal may read.
    pub fn list_ramps(
        &self,
        context: &RequestContext,
        list: &ListHolds<RampState>,
    ) -> Result<HoldPage<Ramp>, Error> {
        self.may_list(context)?;
        self.page_of(context, list, &self.hold_registry.all().ramps)
    }

    fn page_of<T: Listed>(
        &self,
        context: &RequestContext,
        list: &ListHolds<T::State>,
        all: &BTreeMap<HoldId, T>,
    ) -> Result<HoldPage<T>, Error> {
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
        Ok(HoldPage {
            more: rest.next().is_some(),
            entries: page.into_iter().cloned().collect(),
            binding,
            _charge: charge,
        })
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

// === impl HoldPage ===

impl<T: Listed> HoldPage<T> {
    /// Token of the next page; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        let last = self.entries.last().filter(|_| self.more)?;
        let token = Token {
            value: 0,
            key: last.id(),
        };
        Some(token.print(self.binding))
    }

    /// The page with its first `len` entries, at least one. The next page starts after them.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        let len = len.max(1);
        if len < self.entries.len() {
            self.entries.truncate(len);
            self.more = true;
        }
        self
    }
}

// === impl Drain, Ramp ===

impl Listed for Drain {
    type State = DrainState;

    fn id(&self) -> HoldId {
        self.id
    }

    fn state(&self) -> DrainState {
        self.state
    }

    fn services(&self) -> impl Iterator<Item = ServiceKey> {
        self.member_services()
    }

    fn size(&self) -> usize {
        let services = self.services.as_deref().unwrap_or_default();
        let blockers = self
            .blockers
            .iter()
            .map(|text| size_of_val(text) + text.len());
        size_of::<Self>()
            + size_of::<DrainMember>() * self.members.len()
            + size_of_val(services)
            + blockers.sum::<usize>()
    }
}

impl Listed for Ramp {
    type State = RampState;

    fn id(&self) -> HoldId {
        self.id
    }

    fn state(&self) -> RampState {
        self.state
    }

    fn services(&self) -> impl Iterator<Item = ServiceKey> {
        std::iter::once(self.service)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
