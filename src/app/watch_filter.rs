//! What a watcher sees of the table and of its changes.

use std::sync::Arc;

use super::list_request::Filter;
use crate::{
    identity::{Principal, Role},
    model::{KeptFields, Name, ServiceKey},
    watch::{Author, Change, Event, Origin, Present, Resource, Revision},
};

/// Kinds of objects that a watcher sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchResources {
    /// Services.
    pub services: bool,
    /// Servers.
    pub servers: bool,
}

/// A change of an object, as a watcher sees it.
#[derive(Clone, Debug)]
pub struct WatchChange {
    /// What has become of the object.
    pub kind: ChangeKind,
    /// The object before; `None` if it was added.
    pub before: Option<Resource>,
    /// The object after; `None` if it was deleted.
    pub after: Option<Resource>,
    /// The event; `None` for a part of the state.
    pub event: Option<Arc<Event>>,
    /// Whether the watcher has seen all of the event with it.
    is_last: bool,
    /// Whether the watcher may know the author of the event.
    shows_author: bool,
}

/// What has become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created, or begins to match.
    Added,
    /// Its configuration was changed.
    Modified,
    /// It was deleted, or ceases to match.
    Deleted,
}

/// What a watcher sees.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) principal: Arc<Principal>,
    pub(super) filter: Filter,
    pub(super) resources: WatchResources,
}

// === impl WatchResources ===

impl WatchResources {
    /// The names in the API.
    pub const NAMES: [&str; 2] = ["service", "server"];

    /// The kinds with these names. The error says which are allowed.
    pub fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut resources = Self {
            services: false,
            servers: false,
        };
        for name in names {
            match name {
                "service" => resources.services = true,
                "server" => resources.servers = true,
                other => return Err(format!("{other:?} is not one of service, server")),
            }
        }
        Ok(resources)
    }
}

impl Default for WatchResources {
    fn default() -> Self {
        Self {
            services: true,
            servers: true,
        }
    }
}

// === impl ChangeKind ===

impl ChangeKind {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
        }
    }
}

// === impl WatchChange ===

impl WatchChange {
    fn new(before: Option<Resource>, after: Option<Resource>) -> Option<Self> {
        let kind = match (&before, &after) {
            (None, None) => return None,
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), Some(_)) => ChangeKind::Modified,
            (Some(_), None) => ChangeKind::Deleted,
        };
        Some(Self {
            kind,
            before,
            after,
            event: None,
            is_last: false,
            shows_author: false,
        })
    }

    /// The object, after the change or before.
    pub fn resource(&self) -> Option<&Resource> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// The revision after it, if the watcher has seen all of the event with it: it can resume from there.
    pub fn revision(&self) -> Option<Revision> {
        let event = self.event.as_ref().filter(|_| self.is_last);
        event.map(|event| event.revision)
    }

    /// Who has made the change, if the watcher may know it.
    pub fn author(&self) -> Option<&Author> {
        match &self.event.as_ref()?.origin {
            Origin::Api(author) if self.shows_author => author.as_ref(),
            _ => None,
        }
    }
}

// === impl View ===

impl View {
    /// An object of the state; `None` if it is not shown.
    pub(super) fn of_present(&self, present: Present) -> Option<WatchChange> {
        let Present {
            resource,
            scheduler,
            kept,
        } = present;
        let is_shown =
            self.shows(resource.service(), scheduler, &kept) && self.shows_kind(&resource);
        is_shown
            .then(|| WatchChange::new(None, Some(resource)))
            .flatten()
    }

    /// The number of changes that an event can consist of.
    pub(super) fn parts(&self, event: &Event) -> usize {
        match &event.change {
            // Without a change of what filters look at, there are none.
            Change::Service { servers, .. } => 1 + servers.len(),
            Change::Server { .. } => 1,
        }
    }

    /// A change that an event consists of; `None` if it is not shown. A service appears before its
    /// servers, and disappears after them.
    pub(super) fn part(&self, event: &Arc<Event>, index: usize) -> Option<WatchChange> {
        let key = event.service;
        let change = match &event.change {
            Change::Server {
                key: server,
                before,
                after,
                scheduler,
            } => {
                if !self.shows(key, *scheduler, &event.kept) {
                    return None;
                }
                let resource = |config| Resource::Server(key, *server, config);
                self.change(before.map(resource), after.map(resource))
            }
            Change::Service {
                before,
                after,
                servers,
            } => {
                let is_shown = |scheduler, kept| self.shows(key, scheduler, kept);
                let shown_before =
                    before.filter(|config| is_shown(config.scheduler, &event.kept_before));
                let shown_after = after.filter(|config| is_shown(config.scheduler, &event.kept));
                let appears = shown_before.is_none() && shown_after.is_some();
                // The position among the servers, or none for the service.
                let server = match appears {
                    true => index.checked_sub(1),
                    false => Some(index).filter(|index| *index < servers.len()),
                };
                let Some(server) = server else {
                    let before = shown_before
                        .map(|config| Resource::Service(key, config, event.kept_before.clone()));
                    let after = shown_after
                        .map(|config| Resource::Service(key, config, event.kept.clone()));
                    return self.finish(event, index, self.change(before, after));
                };
                let (server, config) = servers.get(server)?;
                let resource = Resource::Server(key, *server, *config);
                match (shown_before.is_some(), shown_after.is_some()) {
                    (false, true) => self.change(None, Some(resource)),
                    (true, false) => self.change(Some(resource), None),
                    _ => None,
                }
            }
        };
        self.finish(event, index, change)
    }

    fn finish(
        &self,
        event: &Arc<Event>,
        index: usize,
        change: Option<WatchChange>,
    ) -> Option<WatchChange> {
        let change = change?;
        Some(WatchChange {
            is_last: index + 1 == self.parts(event),
            shows_author: self.shows_author(event),
            event: Some(event.clone()),
            ..change
        })
    }

    fn change(&self, before: Option<Resource>, after: Option<Resource>) -> Option<WatchChange> {
        let change = WatchChange::new(before, after)?;
        change
            .resource()
            .is_some_and(|resource| self.shows_kind(resource))
            .then_some(change)
    }

    fn shows(&self, service: ServiceKey, scheduler: Name, kept: &KeptFields) -> bool {
        self.filter.matches_service(service, scheduler, kept) && self.principal.sees(service)
    }

    fn shows_kind(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Service(..) => self.resources.services,
            Resource::Server(..) => self.resources.servers,
        }
    }

    /// An administrator sees who has made a change, and everybody sees what they have made.
    fn shows_author(&self, event: &Event) -> bool {
        let Origin::Api(Some(author)) = &event.origin else {
            return false;
        };
        let (own, principal) = (&self.principal, &author.principal);
        own.role() == Some(Role::Admin)
            || (own.name == principal.name && own.kind == principal.kind)
    }
}
