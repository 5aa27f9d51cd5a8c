//! What looks at the table and the time make of what is known.

use std::{
    collections::{HashSet, btree_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    checked_server::CheckedServer,
    checked_service::CheckedService,
    registry::{HealthRegistry, State, Transition},
};
use crate::{
    executor::{MAX_HELD, Member},
    model::{HealthCheck, Op, Server, ServiceKey},
};

/// How the check of a service has changed.
#[derive(Clone, Copy, Debug)]
struct Change {
    is_any: bool,
    is_rescheduled: bool,
    /// Whether what is known is of another origin.
    begins_anew: bool,
}

/// Servers that are checked at most: as many as can be held, about 40 MB.
const MAX_CHECKED: usize = MAX_HELD;

// === impl State ===

impl State {
    pub(super) fn see_service(
        &mut self,
        key: ServiceKey,
        (check, look): (&Arc<HealthCheck>, u64),
        servers: &[Server],
        registry: &HealthRegistry,
    ) {
        let mut service = self
            .services
            .remove(&key)
            .unwrap_or_else(|| CheckedService::new(check.clone()));
        service.look = look;
        let before = std::mem::replace(&mut service.check, check.clone());
        let servers = service.see(servers);
        let present: HashSet<_> = servers.iter().map(|server| server.key).collect();
        let gone = service.servers.keys().filter(|key| !present.contains(key));
        for server in gone.copied().collect::<Vec<_>>() {
            if let Some(checked) = service.servers.remove(&server) {
                self.remove_server((key, server), checked, registry);
            }
        }
        let change = Change {
            is_any: before != *check,
            is_rescheduled: before.interval_seconds != check.interval_seconds,
            begins_anew: before.kind.is_probed() != check.kind.is_probed(),
        };
        for server in servers {
            self.see_server(key, &mut service, server, change, registry);
        }
        // Those that have gone while the daemon did not run.
        let is_gone = |(of, server): &Member| *of == key && !present.contains(server);
        self.drop_stored(is_gone, registry);
        self.services.insert(key, service);
    }

    fn see_server(
        &mut self,
        key: ServiceKey,
        service: &mut CheckedService,
        server: &Server,
        change: Change,
        registry: &HealthRegistry,
    ) {
        let (member, now, check) = ((key, server.key), Timestamp::now(), &service.check);
        let mut is_new = false;
        let checked = match service.servers.entry(server.key) {
            Entry::Occupied(checked) => checked.into_mut(),
            Entry::Vacant(_) if self.count >= MAX_CHECKED => {
                if !std::mem::replace(&mut self.is_full, true) {
                    let most = MAX_CHECKED;
                    tracing::warn!(most, "there are more servers than can be checked");
                }
                return;
            }
            Entry::Vacant(place) => {
                is_new = true;
                self.count += 1;
                let checked = CheckedServer::new(self.stored.remove(&member), now);
                registry.show(member, Some(checked.report(member.1)));
                place.insert(checked)
            }
        };
        checked.see(server);
        let mut is_other = change.begins_anew;
        if change.begins_anew {
            checked.begin_anew(now);
        }
        if is_new || change.is_any {
            is_other |= checked.set_check(server.key, check, now);
        }
        if is_other {
            registry.show(member, Some(checked.report(member.1)));
            self.records.insert(member, checked.record());
        }
        if change.is_rescheduled || checked.ticket == 0 {
            self.tickets += 1;
            checked.ticket = self.tickets;
            if check.kind.is_probed() {
                let interval = Duration::from_secs(check.interval_seconds.into());
                self.fresh.push(((member, self.tickets), interval));
            }
        }
    }

    /// Forgets what is stored of servers that have gone.
    pub(super) fn drop_stored(
        &mut self,
        is_gone: impl Fn(&Member) -> bool,
        registry: &HealthRegistry,
    ) {
        let gone = self.stored.keys().filter(|member| is_gone(member));
        for member in gone.copied().collect::<Vec<_>>() {
            self.stored.remove(&member);
            self.forget(member, true, registry);
        }
    }

    /// What was deleted begins anew, if it is there again.
    pub(super) fn see_deletions(&mut self, registry: &HealthRegistry) {
        for op in registry.holds.take_deletions() {
            self.see_deletion(&op, registry);
        }
    }

    fn see_deletion(&mut self, op: &Op, registry: &HealthRegistry) {
        match *op {
            Op::DeleteServer(service, server) => {
                let servers = self.services.get_mut(&service);
                let checked = servers.and_then(|service| service.servers.remove(&server));
                if let Some(checked) = checked {
                    self.remove_server((service, server), checked, registry);
                }
            }
            Op::DeleteService(service) => self.remove_service(service, registry),
            _ => {
                for service in self.services.keys().copied().collect::<Vec<_>>() {
                    self.remove_service(service, registry);
                }
            }
        }
    }

    fn remove_server(&mut self, member: Member, checked: CheckedServer, registry: &HealthRegistry) {
        self.count -= 1;
        self.forget(member, checked.leaves_traces(), registry);
    }

    pub(super) fn remove_service(&mut self, key: ServiceKey, registry: &HealthRegistry) {
        if registry.holds.set_fallback(key, None) {
            self.to_apply.insert(key);
        }
        let Some(service) = self.services.remove(&key) else {
            return;
        };
        for (server, checked) in service.servers {
            self.remove_server((key, server), checked, registry);
        }
    }

    /// Nothing holds a server any more that is not checked any more.
    fn forget(&mut self, member: Member, leaves_traces: bool, registry: &HealthRegistry) {
        registry.show(member, None);
        if leaves_traces {
            registry.holds.want(member, Vec::new());
            self.records.insert(member, None);
            self.to_apply.insert(member.0);
        }
    }

    /// Ends the overrides whose time is over, and what results have said that are too old.
    pub(super) fn expire(
        &mut self,
        at: (Instant, Timestamp),
        registry: &HealthRegistry,
    ) -> Vec<Transition> {
        let mut expired = Vec::new();
        for (service, checked) in &mut self.services {
            let check = &checked.check;
            for (server, checked) in &mut checked.servers {
                let has_ended = checked.expire(at.1);
                if has_ended {
                    tracing::info!(%service, %server, "the override of the health of a server has ended");
                }
                let is_old = checked.expire_result(check, at);
                if !has_ended && !is_old {
                    continue;
                }
                let (member, report) = ((*service, *server), checked.report(*server));
                registry.show(member, Some(report.clone()));
                self.records.insert(member, checked.record());
                self.is_changed = true;
                if is_old {
                    expired.push(Transition {
                        member,
                        verdict: checked.verdict(),
                        is_first: false,
                        report,
                    });
                }
            }
        }
        expired
    }
}
