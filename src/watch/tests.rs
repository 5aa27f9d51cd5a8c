//! The cache against a slow and obvious model, and its cases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

mod model;
mod need;
mod records;

use proptest::prelude::*;

use self::model::{
    Tick, World, any_task, any_tick, change, entry, parts, server_config, server_key,
    service_config, service_key,
};
use super::{
    cursor::{Cursor, Resync, Step},
    event::{Change, Origin, What},
    seen::Seen,
    table::LastSeen,
};
use crate::model::{Kept, Op, Owner, ServiceEntry, StoredFields};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn events_are_true_and_lead_to_the_table(
        ticks in proptest::collection::vec(any_tick(), 0..300),
        max_events in prop_oneof![Just(1000_usize), 1..20_usize],
    ) {
        let mut world = World::new(max_events);
        for tick in ticks {
            world.tick(tick);
        }
        world.end();
    }

    #[test]
    fn without_other_programs_there_are_only_events_of_this_one(
        ticks in proptest::collection::vec(
            prop_oneof![any_task().prop_map(Tick::Worker), Just(Tick::Reader)],
            0..300,
        ),
    ) {
        let mut world = World::new(1000);
        for tick in ticks {
            world.tick(tick);
        }
        let first = world.cache.state().log().first();
        for event in world.events_after(first) {
            prop_assert!(matches!(event.origin, Origin::Api(_)), "{event:?}");
        }
        world.end();
    }
}

/// A world whose first dump has ended.
fn begun(entries: &[Op]) -> World {
    let mut world = World::new(1000);
    for op in entries {
        assert!(world.execute(op));
    }
    for _ in 0..(3 + world.kernel.0.len()) {
        world.read();
    }
    assert!(world.cache.state().table().is_some());
    world
}

#[test]
fn an_object_that_a_long_dump_leaves_out_is_looked_for_again() {
    let service = service_key(1);
    let mut ops = vec![Op::CreateService(
        service,
        service_config(0),
        StoredFields::default(),
    )];
    ops.extend((0..100).map(|n| Op::CreateServer(service, server_key(n), server_config(1))));
    let mut world = begun(&ops);
    let mut entries = world.kernel.0.clone();
    let hidden = entries[0].servers.remove(50);
    let finish = |world: &mut World, entries: &[ServiceEntry]| {
        let read = world.cache.begin_read().unwrap();
        let show = |see: &mut dyn FnMut(Seen<'_>)| see(Seen::Table(entries, entries.len()));
        let finished = read.finish(show);
        (finished.again, world.cache.state().revision())
    };
    let (again, before) = finish(&mut world, &entries);
    assert!(again);
    // It is there.
    let all = world.kernel.0.clone();
    assert_eq!(finish(&mut world, &all), (false, before));
    // It is missing twice.
    assert_eq!(finish(&mut world, &entries), (true, before));
    let (again, after) = finish(&mut world, &entries);
    assert!(!again && after != before);
    let events = world.events_after(before.counter);
    assert_eq!(events.len(), 1);
    assert_eq!(entry(&events[0]), (service, Some(hidden.key)));
}

#[test]
fn of_two_first_dumps_the_second_does_not_replace_what_is_known() {
    let (service, server) = (service_key(1), server_key(1));
    let world = begun(&[Op::CreateService(
        service,
        service_config(0),
        StoredFields::default(),
    )]);
    let mut state = world.cache.state();
    state.forget();
    let dump = || LastSeen::of(&world.kernel.0);
    let (first, second) = (state.begin_read(), state.begin_read());
    let revision = state.fill(first, dump()).unwrap();
    let create = Op::CreateServer(service, server, server_config(1));
    state.begin_ops(std::slice::from_ref(&create));
    state.executed([&create].into_iter(), None);
    state.end_ops();
    let after = state.revision();
    assert_eq!(state.fill(second, dump()), None);
    assert_eq!(state.revision(), after);
    drop(state);
    let events = world.events_after(revision.counter);
    assert_eq!(events.len(), 1);
}

#[test]
fn what_an_operation_has_overwritten_is_an_event_before_it() {
    let (service, server) = (service_key(1), server_key(1));
    let world = begun(&[
        Op::CreateService(service, service_config(0), StoredFields::default()),
        Op::CreateServer(service, server, server_config(1)),
    ]);
    let first = world.cache.state().revision().counter;
    let set = |weight| Op::SetServer(service, server, server_config(weight));
    world.cache.state().begin_ops(&[set(3)]);
    world.cache.state().overwritten(&set(2));
    world.cache.state().executed([&set(3)].into_iter(), None);
    world.cache.state().end_ops();
    let events = world.events_after(first);
    let reported: Vec<_> = events
        .iter()
        .map(|event| (matches!(event.origin, Origin::Foreign), parts(event).1))
        .collect();
    let text = |weight| Some(format!("{:?}", server_config(weight)));
    assert_eq!(reported, [(true, text(2)), (false, text(3))]);
}

#[test]
fn a_deleted_service_takes_its_servers_with_it() {
    let (service, server) = (service_key(1), server_key(1));
    let world = begun(&[
        Op::CreateService(service, service_config(0), StoredFields::default()),
        Op::CreateServer(service, server, server_config(1)),
    ]);
    let first = world.cache.state().revision().counter;
    let delete = Op::DeleteService(service);
    world.cache.state().executed([&delete].into_iter(), None);
    let events = world.events_after(first);
    let objects: Vec<_> = events.iter().map(|event| entry(event)).collect();
    assert_eq!(objects, [(service, Some(server)), (service, None)]);
}

#[test]
fn a_watcher_that_is_too_far_behind_gets_the_state_anew() {
    let service = service_key(1);
    let mut world = World::new(4);
    assert!(world.execute(&Op::CreateService(
        service,
        service_config(0),
        StoredFields::default()
    )));
    for _ in 0..4 {
        world.read();
    }
    let mut live = Cursor::at(world.cache.state().revision());
    assert!(matches!(live.advance(&world.cache.state()), Step::Nothing));
    let old = live.revision();
    for weight in 0..5 {
        let op = Op::SetService(service, service_config(weight % 2 + 1));
        world.cache.state().executed([&op].into_iter(), None);
    }
    let reason = |cursor: &mut Cursor, world: &World| match cursor.advance(&world.cache.state()) {
        Step::Resync(reason) => reason,
        step => panic!("{step:?}"),
    };
    assert_eq!(reason(&mut live, &world), Resync::TooSlow);
    assert_eq!(
        reason(&mut Cursor::at(old), &world),
        Resync::RevisionExpired
    );
    let unknown = world.cache.state().next_unknown();
    assert_eq!(
        reason(&mut Cursor::at(unknown), &world),
        Resync::RevisionExpired
    );
    assert!(matches!(live.advance(&world.cache.state()), Step::State(_)));
    assert!(matches!(live.advance(&world.cache.state()), Step::Complete));
    world.cache.connected(2);
    world.dump = None;
    for _ in 0..4 {
        world.read();
    }
    assert_eq!(reason(&mut live, &world), Resync::EpochChanged);
}

fn owner(name: &str) -> Option<Owner> {
    Some(name.parse().unwrap())
}

#[test]
fn a_claim_is_an_event_of_the_service_if_it_exists() {
    let (service, absent) = (service_key(1), service_key(2));
    let world = begun(&[
        Op::CreateService(service, service_config(0), StoredFields::default()),
        Op::CreateServer(service, server_key(1), server_config(1)),
    ]);
    let before = world.cache.revision();
    let claim = |owner: Option<Owner>| {
        let claims = [service, absent].map(|key| (key, owner.clone()));
        world.cache.claim(claims.into_iter(), None);
    };
    claim(owner("a"));
    claim(owner("a"));
    claim(None);
    let events = world.events_after(before.counter);
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!(entry(event), (service, None));
        assert!(matches!(event.origin, Origin::Api(None)));
        let Change::Service {
            before,
            after,
            servers,
        } = change(event)
        else {
            panic!("{event:?}");
        };
        assert_eq!((before, servers.len()), (after, 1));
    }
    let a = owner("a");
    let kept = |index: usize| match &events[index].what {
        What::Listed {
            kept_before, kept, ..
        } => (kept_before.clone(), kept.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(Kept::owner(&kept(0).1), a.as_ref());
    assert_eq!(kept(0).0, None);
    assert_eq!(Kept::owner(&kept(1).0), a.as_ref());
    assert_eq!(kept(1).1, None);
}

#[test]
fn a_list_that_may_lack_a_claim_of_which_there_is_no_event_has_no_revision() {
    // The service was created by another program: the list shows it, and the table does not have it yet.
    let service = service_key(1);
    let mut world = begun(&[]);
    let read = world.cache.begin_read().unwrap();
    assert!(world.kernel.execute(&Op::CreateService(
        service,
        service_config(0),
        StoredFields::default()
    )));
    let entries = world.kernel.0.clone();
    world.cache.claim([(service, owner("a"))].into_iter(), None);
    let finished = read.finish(|see| see(Seen::Table(&entries, entries.len())));
    assert_eq!(finished.revision, None);
    // A list during which an owner changes, and that is an event, leads to the event.
    world.read();
    for _ in 0..4 {
        world.read();
    }
    let before = world.cache.revision();
    let read = world.cache.begin_read().unwrap();
    world.cache.claim([(service, owner("b"))].into_iter(), None);
    let finished = read.finish(|see| see(Seen::Table(&entries, entries.len())));
    assert_eq!(finished.revision, Some(before));
    // The first dump makes nothing known if an owner has changed meanwhile.
    world.cache.state().forget();
    let read = world.cache.begin_read().unwrap();
    world.cache.claim([(service, None)].into_iter(), None);
    read.finish(|see| see(Seen::Table(&entries, entries.len())));
    assert!(!world.cache.is_known());
}
