//! What a watcher sees of the table and of its changes.

use std::sync::Arc;

use super::list_request::Filter;
use crate::{
    identity::{Principal, Role},
    model::{Error, KeptFields, LabelSelector, Name, ServiceConfig, ServiceKey},
    watch::{
        About, Author, Change, Event, Member, Origin, Present, Record, Resource, Revision, What,
    },
};

/// Kinds of objects that a watcher sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchResources([bool; NAMES.len()]);

/// The names of the kinds in the API.
const NAMES: [&str; 6] = ["service", "server", "drain", "ramp", "table", "health"];

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
    pub const NAMES: [&str; NAMES.len()] = NAMES;

    /// The kinds with these names. The error says which are allowed.
    pub fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut resources = Self([false; NAMES.len()]);
        for name in names {
            let known = NAMES.iter().zip(&mut resources.0);
            let mut named = known.filter(|(known, _)| **known == name);
            match named.next() {
                Some((_, has)) => *has = true,
                None => return Err(format!("{name:?} is not one of {}", NAMES.join(", "))),
            }
        }
        Ok(resources)
    }

    /// Whether objects of the kind with this name are among them.
    pub fn has(self, name: &str) -> bool {
        NAMES
            .iter()
            .zip(self.0)
            .any(|(known, has)| has && *known == name)
    }
}

impl Default for WatchResources {
    fn default() -> Self {
        Self([true, true, false, false, false, false])
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
    /// Fails if a filter is about what objects of these kinds do not have.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Filter {
            protocol,
            address,
            port,
            fwmark,
            scheduler,
            kept,
        } = &self.filter;
        let of_services = [
            ("protocol", protocol.is_some()),
            ("address", address.is_some()),
            ("port", port.is_some()),
            ("fwmark", fwmark.is_some()),
            ("label", kept.labels != LabelSelector::default()),
        ];
        let used = of_services.into_iter().filter(|(_, is_used)| *is_used);
        let mut refused: Vec<_> = match self.resources.has("table") {
            true => used.map(|(field, _)| (field, "table")).collect(),
            false => Vec::new(),
        };
        let mut kinds = ["drain", "ramp", "table", "health"].into_iter();
        if let (Some(kind), true) = (
            kinds.find(|kind| self.resources.has(kind)),
            scheduler.is_some(),
        ) {
            refused.push(("scheduler", kind));
        }
        match refused.first() {
            None => Ok(()),
            Some((field, kind)) => {
                let message =
                    format!("does not select the resource {kind}; watch it without this filter");
                Err(Error::invalid(*field, message))
            }
        }
    }

    /// An object of the state; `None` if it is not shown.
    pub(super) fn of_present(&self, present: Present) -> Option<WatchChange> {
        let (resource, is_shown) = match present {
            Present::Listed {
                entry: (service, _),
                resource,
                scheduler,
                kept,
            } => (resource, self.shows(service, scheduler, &kept)),
            Present::Recorded(_, record) => {
                let is_shown = self.shows_record(&record);
                (record.resource, is_shown)
            }
        };
        is_shown
            .then(|| self.change(None, Some(resource)))
            .flatten()
    }

    /// The number of changes that an event can consist of.
    pub(super) fn parts(&self, event: &Event) -> usize {
        match &event.what {
            // Without a change of what filters look at, there are none.
            What::Listed {
                change: Change::Service { servers, .. },
                ..
            } => 1 + servers.len(),
            What::Listed { .. } | What::Recorded { .. } => 1,
        }
    }

    /// A change that an event consists of; `None` if it is not shown. A service appears before its
    /// servers, and disappears after them.
    pub(super) fn part(&self, event: &Arc<Event>, index: usize) -> Option<WatchChange> {
        let change = match &event.what {
            What::Recorded { before, after, .. } => {
                let shown = |record: &Option<Record>| {
                    let record = record.as_ref().filter(|record| self.shows_record(record));
                    record.map(|record| record.resource.clone())
                };
                let (before, after) = (shown(before), shown(after));
                // Only what filters look at has changed.
                if before == after {
                    return None;
                }
                self.change(before, after)
            }
            What::Listed {
                service,
                change,
                kept_before,
                kept,
            } => match change {
                Change::Server {
                    key: server,
                    before,
                    after,
                    scheduler,
                } => {
                    if !self.shows(*service, *scheduler, kept) {
                        return None;
                    }
                    let resource = |config| Resource::Server(*service, *server, config);
                    self.change(before.map(resource), after.map(resource))
                }
                Change::Service {
                    before,
                    after,
                    servers,
                } => {
                    let shown = |config: &Option<ServiceConfig>, kept: &KeptFields| {
                        let config = config.filter(|it| self.shows(*service, it.scheduler, kept));
                        config.map(|config| Resource::Service(*service, config, kept.clone()))
                    };
                    let (before, after) = (shown(before, kept_before), shown(after, kept));
                    self.part_of_service(*service, servers, (before, after), index)
                }
            },
        };
        self.finish(event, index, change)
    }

    /// The service, if it is shown, or one of the servers that appear or disappear with it.
    fn part_of_service(
        &self,
        service: ServiceKey,
        servers: &[Member],
        (before, after): (Option<Resource>, Option<Resource>),
        index: usize,
    ) -> Option<WatchChange> {
        let appears = before.is_none() && after.is_some();
        // The position among the servers, or none for the service.
        let server = match appears {
            true => index.checked_sub(1),
            false => Some(index).filter(|index| *index < servers.len()),
        };
        let Some(server) = server else {
            return self.change(before, after);
        };
        let (server, config) = servers.get(server)?;
        let resource = Resource::Server(service, *server, *config);
        match (before.is_some(), after.is_some()) {
            (false, true) => self.change(None, Some(resource)),
            (true, false) => self.change(Some(resource), None),
            _ => None,
        }
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
            .is_some_and(|resource| self.resources.has(resource.kind()))
            .then_some(change)
    }

    fn shows(&self, service: ServiceKey, scheduler: Name, kept: &KeptFields) -> bool {
        self.filter.matches_service(service, scheduler, kept) && self.principal.sees(service)
    }

    /// Drains and ramps are those of services that match; what is about a service that the principal does not
    /// see is not shown, as in lists.
    fn shows_record(&self, record: &Record) -> bool {
        let mut about = record.about.iter();
        match &record.resource {
            Resource::Table(table) => {
                let wanted = self.filter.kept.owner.as_ref();
                let owner = Some(table.owner.as_str());
                wanted.is_none_or(|wanted| *wanted == table.owner)
                    && about.all(|(service, _)| self.principal.sees_of(*service, owner))
            }
            _ => {
                let matches = |(service, kept): &About| {
                    self.filter.kept.matches(kept) && self.filter.matches_key(*service)
                };
                (self.filter == Filter::default() || record.about.iter().any(matches))
                    && about.all(|(service, _)| self.principal.sees(*service))
            }
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
