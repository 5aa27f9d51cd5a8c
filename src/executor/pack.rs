//! Which changes go together, and what each looks at: a send for a step of many, and an answer
//! that several want read once.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use super::{
    Change, Changed, Decide, Plan, Seen,
    act::Act,
    reader,
    worker::{Waiting, Worker},
};
use crate::model::{Error, Query, Reason, ServiceEntry, ServiceKey};

// === impl Worker ===

impl Worker {
    /// Makes changes, those of each service in their order; as many as may go together do.
    pub(super) fn changes(&mut self, changes: Vec<Waiting<Change, Changed>>) {
        for pack in packs(changes) {
            self.pack(pack);
        }
    }

    /// Looks, decides, acts and reads back for several changes at once.
    fn pack(&mut self, changes: Vec<Waiting<Change, Changed>>) {
        let now = Instant::now();
        let changes: Vec<_> = changes
            .into_iter()
            .filter_map(|change| change.wanted(now))
            .collect();
        let looks: Vec<_> = changes.iter().map(|change| change.request.look).collect();
        let looks = self.look(&looks);
        let mut acts = Vec::new();
        for (change, look) in changes.into_iter().zip(looks) {
            let Waiting {
                request:
                    Change {
                        look: query,
                        decide,
                        read_back,
                    },
                reply,
                ..
            } = change;
            match look.and_then(|seen| Ok((plan(decide, seen.as_ref())?, seen))) {
                Ok((plan, seen)) => {
                    // What nothing is done to need not be read twice.
                    let known = (plan.is_empty() && query == read_back).then_some(seen);
                    acts.push(Act::new(plan, read_back, known, reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        self.act(&mut acts);
        let wanted: Vec<_> = acts.iter().map(Act::read_back).collect();
        let seen = self.look(&wanted);
        for (act, seen) in acts.into_iter().zip(seen) {
            act.finish(seen);
        }
    }

    /// Answers what several changes want to know: services without servers in one exchange, and
    /// what several ask once.
    fn look(&mut self, queries: &[Option<Query>]) -> Vec<Result<Option<Seen>, Error>> {
        let keys: Vec<_> = queries
            .iter()
            .filter_map(|query| match query {
                Some(Query::Service(key)) => Some(*key),
                _ => None,
            })
            .collect();
        let services = match keys.is_empty() {
            true => Ok(Vec::new()),
            false => self.writes.read(|link| reader::read_services(link, &keys)),
        };
        let bare = |service| ServiceEntry {
            service,
            servers: Vec::new(),
        };
        let mut known: HashMap<Query, Result<Seen, Error>> = match services {
            Ok(services) => keys
                .iter()
                .zip(services)
                .map(|(key, service)| {
                    let entry = service.map(|service| Arc::new(bare(service)));
                    (Query::Service(*key), Ok(Seen::Service(entry)))
                })
                .collect(),
            Err(error) => keys
                .iter()
                .map(|key| (Query::Service(*key), Err(error.clone())))
                .collect(),
        };
        queries
            .iter()
            .map(|query| {
                query
                    .map(|query| {
                        let answer = known.entry(query).or_insert_with(|| self.ask(query));
                        answer.clone()
                    })
                    .transpose()
            })
            .collect()
    }
}

/// Divides changes into packs, which are carried out one after the other. Those of one service keep
/// their order, and those of no service (a clearance) theirs with all. In a pack, a service is
/// looked at by one change, which nothing else in it disturbs, or changed by several that look at
/// nothing: the kernel carries those out in their order.
fn packs(changes: Vec<Waiting<Change, Changed>>) -> Vec<Vec<Waiting<Change, Changed>>> {
    let mut packs: Vec<Vec<_>> = Vec::new();
    // The first pack after the last change of no service.
    let mut begin = 0;
    // The pack that a service was last in, and whether by changes that look at nothing.
    let mut last: HashMap<ServiceKey, (usize, bool)> = HashMap::new();
    for change in changes {
        let Change {
            look, read_back, ..
        } = &change.request;
        let blind = look.is_none();
        let service = look.or(*read_back).and_then(|query| query.service());
        let place = match service {
            None => packs.len(),
            Some(key) => {
                let place = match last.get(&key) {
                    Some(&(place, true)) if blind => place,
                    Some(&(place, _)) => place + 1,
                    None => begin,
                };
                let place = place.max(begin);
                last.insert(key, (place, blind));
                place
            }
        };
        if place == packs.len() {
            packs.push(Vec::new());
        }
        if let Some(pack) = packs.get_mut(place) {
            pack.push(change);
        }
        if service.is_none() {
            begin = packs.len();
        }
    }
    packs
}

/// What is decided. A fault of one plan is not the others'.
fn plan(decide: Decide, seen: Option<&Seen>) -> Result<Plan, Error> {
    catch_unwind(AssertUnwindSafe(|| decide(seen))).unwrap_or_else(|_| {
        Err(Error::new(
            Reason::Internal,
            "the executor failed on this request",
        ))
    })
}
