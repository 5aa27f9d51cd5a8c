//! The decision whether a principal may do something. It is made in `app/write.rs` and `app/read.rs`,
//! and nowhere else.

use super::{
    principal::{Grant, Principal},
    role::Role,
    verb::{Extent, Verb},
};
use crate::model::{Error, Op, Query, Reason, ServiceKey};

/// Services outside of the scope that an error lists at most.
const MAX_LISTED: usize = 100;

// === impl Principal ===

impl Principal {
    /// Decides about a verb, on a service if it is about one. A verb on services without one asks about
    /// all of them. A dry run requires what a read requires.
    pub fn may(&self, verb: Verb, service: Option<ServiceKey>, dry_run: bool) -> Result<(), Error> {
        let grant = self.grant_of(verb, dry_run)?;
        self.scope_has(grant, verb, service, dry_run)
    }

    /// Decides about a query.
    pub fn may_query(&self, query: &Query) -> Result<(), Error> {
        self.may(Verb::of_query(query), query.service(), false)
    }

    /// Decides about a list of services, which shows those that the principal
    /// [`sees`](Self::sees).
    pub fn may_list(&self) -> Result<(), Error> {
        self.grant_of(Verb::ReadServices, false).map(drop)
    }

    /// Decides about the operations of a change, each with the one that reverts it: all of them or
    /// none.
    pub fn may_execute<'a>(
        &self,
        operations: impl Iterator<Item = (&'a Op, Option<&'a Op>)>,
        dry_run: bool,
    ) -> Result<(), Error> {
        let verb =
            |(op, before): (&Op, Option<&Op>)| (Verb::of_operation(op, before), op.service());
        self.may_all(operations.map(verb), dry_run)
    }

    /// Decides about verbs, each on a service if it is about one: all of them or none.
    pub fn may_all(
        &self,
        verbs: impl Iterator<Item = (Verb, Option<ServiceKey>)>,
        dry_run: bool,
    ) -> Result<(), Error> {
        let mut outside = Vec::new();
        for (verb, service) in verbs {
            let grant = self.grant_of(verb, dry_run)?;
            match (self.scope_has(grant, verb, service, dry_run), service) {
                (Ok(()), _) => {}
                (Err(error), None) => return Err(error),
                (Err(_), Some(service)) => {
                    if outside.len() < MAX_LISTED && !outside.contains(&service) {
                        outside.push(service);
                    }
                }
            }
        }
        match outside.is_empty() {
            true => Ok(()),
            false => Err(self.outside(&outside)),
        }
    }

    /// Decides about a declared table, with all services that it has or had: all of it or nothing. Each comes
    /// with whether the table takes it over, so that it is not the owner's yet. A dry run shows what a read
    /// shows.
    pub fn may_apply(
        &self,
        owner: &str,
        services: impl Iterator<Item = (ServiceKey, bool)>,
        dry_run: bool,
    ) -> Result<(), Error> {
        let grant = self.grant_of(Verb::ApplyTable, dry_run)?;
        let applies = !dry_run || grant.scope_reads;
        if !applies || grant.scope.is_everything() {
            return Ok(());
        }
        if !grant.scope.names(owner) {
            let detail = format!("the scope of {} does not contain the owner", self.name);
            return Err(Error::new(Reason::PermissionDenied, detail)
                .with_violation("owner", format!("{owner:?} is not within the scope"))
                .with_hint("GET /v1/whoami shows the scope; nothing was changed"));
        }
        let outside = services.filter_map(|(key, is_taken_over)| {
            let of = (!is_taken_over).then_some(owner);
            (!grant.scope.contains_of(key, of)).then_some(key)
        });
        let outside: Vec<_> = outside.take(MAX_LISTED).collect();
        match outside.is_empty() {
            true => Ok(()),
            false => Err(self.outside(&outside)),
        }
    }

    /// Whether lists show a service to the principal.
    pub fn sees(&self, service: ServiceKey) -> bool {
        self.sees_of(service, None)
    }

    /// Whether reads of the table of an owner show a service to the principal.
    pub fn sees_of(&self, service: ServiceKey, owner: Option<&str>) -> bool {
        let grant = self.grant.as_ref();
        grant.is_some_and(|grant| !grant.scope_reads || grant.scope.contains_of(service, owner))
    }

    /// Whether lists show all services to the principal.
    pub fn sees_everything(&self) -> bool {
        let grant = self.grant.as_ref();
        grant.is_some_and(|grant| !grant.scope_reads || grant.scope.is_everything())
    }

    /// Whether the principal may do everything, so that nothing else needs to be decided.
    pub fn may_everything(&self) -> bool {
        let grant = self.grant.as_ref();
        grant.is_some_and(|grant| grant.role == Role::Admin && grant.scope.is_everything())
    }

    /// The grant, if its role has the verb.
    fn grant_of(&self, verb: Verb, dry_run: bool) -> Result<&Grant, Error> {
        let grant = self.grant.as_ref().ok_or_else(unauthenticated)?;
        let needed = match dry_run {
            true => Role::Viewer,
            false => verb.role(),
        };
        if grant.role >= needed {
            return Ok(grant);
        }
        let detail = format!(
            "{verb} requires the role {needed}; {} has the role {}",
            self.name, grant.role
        );
        Err(Error::new(Reason::PermissionDenied, detail)
            .with_hint("ask an administrator of the director for the role; nothing was changed"))
    }

    /// Refuses a verb that the scope of the grant excludes.
    fn scope_has(
        &self,
        grant: &Grant,
        verb: Verb,
        service: Option<ServiceKey>,
        dry_run: bool,
    ) -> Result<(), Error> {
        let is_write = verb.is_write() && !dry_run;
        let applies = is_write || grant.scope_reads;
        if !applies || grant.scope.is_everything() {
            return Ok(());
        }
        match (verb.extent(), service) {
            (Extent::Nothing, _) => Ok(()),
            (Extent::Service, Some(service)) if grant.scope.contains(service) => Ok(()),
            (Extent::Service, Some(service)) => Err(self.outside(&[service])),
            (Extent::Service | Extent::Director, _) => {
                let detail = format!(
                    "{verb} concerns the whole director; {} has a scope",
                    self.name
                );
                Err(Error::new(Reason::PermissionDenied, detail)
                    .with_hint("name a service within the scope; GET /v1/whoami shows it"))
            }
        }
    }

    /// The refusal of what concerns services outside of the scope.
    fn outside(&self, services: &[ServiceKey]) -> Error {
        let detail = format!("the scope of {} does not contain the service", self.name);
        let error = Error::new(Reason::PermissionDenied, detail)
            .with_hint("GET /v1/whoami shows the scope; nothing was changed");
        // Those that the principal may not read are not confirmed.
        let listed = services.iter().filter(|service| self.sees(**service));
        listed.fold(error, |error, service| {
            error.with_violation("service", service.to_string())
        })
    }
}

/// The error for a request without a valid credential.
pub fn unauthenticated() -> Error {
    Error::new(
        Reason::Unauthenticated,
        "the request has no credential, and this requires one",
    )
    .with_hint(
        "send Authorization: Bearer TOKEN, use a client certificate, or connect to the unix socket \
         as a member of its group",
    )
}

#[cfg(test)]
mod tests;
