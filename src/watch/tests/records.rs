//! Drains, ramps and declared tables in the log.

use super::{
    model::{World, server_key, service_config, service_key},
    *,
};
use crate::{
    model::{
        Drain, DrainMember, DrainRequest, DrainState, DrainTarget, HoldId, MemberState, Owner, Then,
    },
    watch::{Present, Record, RecordKey, Resource, Showing},
};

const KEY: RecordKey = RecordKey::Drain(HoldId(1));

/// A drain of a server of each of these services, with this number of connections each.
fn drain(services: std::ops::Range<u8>, connections: u32) -> Drain {
    let request = DrainRequest {
        target: DrainTarget::Server(server_key(1)),
        services: None,
        deadline_seconds: None,
        then: Then::Keep,
    };
    let member = |service| DrainMember {
        service: service_key(service),
        server: server_key(1),
        weight: 1,
        effective_weight: 0,
        active_connections: connections,
        inactive_connections: 0,
        persistent_connections: 0,
        state: MemberState::Draining,
    };
    let mut drain = Drain::new(HoldId(1), request);
    drain.create_time = jiff::Timestamp::UNIX_EPOCH;
    drain.members = services.map(member).collect();
    drain
}

fn show(world: &World, drain: Option<&Drain>, showing: Showing) {
    let services = |drain: &Drain| drain.members.iter().map(|member| member.service).collect();
    let shown = drain.map(|drain| (Resource::of_drain(drain), services(drain)));
    world.cache.show(KEY, shown, showing, None);
}

/// The records before and after each event.
fn events(world: &World, after: u64) -> Vec<(Option<Record>, Option<Record>)> {
    let events = world.events_after(after).into_iter();
    let record = |event: std::sync::Arc<super::super::event::Event>| match &event.what {
        What::Recorded { key, before, after } => {
            assert_eq!((key, event.origin.as_str()), (&KEY, "task"));
            (before.clone(), after.clone())
        }
        other => panic!("{other:?}"),
    };
    events.map(record).collect()
}

#[test]
fn a_record_is_an_event_when_it_differs_from_what_was_shown() {
    let world = begun(&[]);
    let first = world.cache.revision().counter;
    // It was never shown.
    show(&world, Some(&drain(1..3, 5)), Showing::All);
    show(&world, None, Showing::All);
    assert_eq!(events(&world, first), []);
    show(&world, Some(&drain(1..3, 5)), Showing::First);
    show(&world, Some(&drain(1..3, 5)), Showing::All);
    let added = events(&world, first);
    assert_eq!((added.len(), &added[0].0), (1, &None));
    // Progress alone.
    show(&world, Some(&drain(1..3, 4)), Showing::ButProgress);
    assert_eq!(events(&world, first).len(), 1);
    show(&world, Some(&drain(1..3, 3)), Showing::All);
    let mut over = drain(1..3, 2);
    over.state = DrainState::Drained;
    show(&world, Some(&over), Showing::ButProgress);
    show(&world, Some(&drain(1..4, 2)), Showing::ButProgress);
    show(&world, None, Showing::All);
    let all = events(&world, first);
    assert_eq!(all.len(), 5);
    for (one, next) in all.iter().zip(all.iter().skip(1)) {
        assert_eq!(one.1, next.0);
    }
    assert_eq!(all[4].1, None);
}

#[test]
fn what_filters_look_at_is_news() {
    let world = begun(&[]);
    let first = world.cache.revision().counter;
    show(&world, Some(&drain(1..3, 5)), Showing::First);
    let owner: Option<Owner> = Some("k8s".parse().unwrap());
    world
        .cache
        .claim([(service_key(1), owner.clone())].into_iter(), None);
    show(&world, Some(&drain(1..3, 5)), Showing::ButProgress);
    let all = events(&world, first);
    let (before, after) = all[1].clone();
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!(before.resource, after.resource);
    assert_eq!(before.about[0].1, None);
    assert_eq!(Kept::owner(&after.about[0].1), owner.as_ref());
}

#[test]
fn a_large_record_is_cut_and_the_state_comes_in_parts() {
    let service = service_key(1);
    let mut world = begun(&[Op::CreateService(
        service,
        service_config(0),
        StoredFields::default(),
    )]);
    let mut large = drain(0..200, 1);
    large.blockers = vec!["text".to_owned(); 200];
    show(&world, Some(&large), Showing::First);
    for number in 2..40 {
        let services = vec![service];
        let shown = Some((Resource::of_drain(&drain(1..2, 1)), services));
        let key = RecordKey::Drain(HoldId(number));
        world.cache.show(key, shown, Showing::First, None);
    }
    let mut cursor = Cursor::at_begin(world.cache.revision());
    let mut found = Vec::new();
    let mut steps = Vec::new();
    loop {
        match cursor.advance(&world.cache.state()) {
            Step::State(objects) => {
                steps.push(objects.len());
                found.extend(objects);
            }
            Step::Complete => break,
            other => panic!("{other:?}"),
        }
        // A record that the watcher has not got yet, and one that it has.
        if steps.len() == 2 {
            let services = vec![service];
            let shown = Some((Resource::of_drain(&drain(1..2, 9)), services));
            let key = RecordKey::Drain(HoldId(39));
            world.cache.show(key, shown, Showing::First, None);
            assert!(matches!(
                cursor.advance(&world.cache.state()),
                Step::Events(events) if events.is_empty()
            ));
            show(&world, Some(&drain(0..1, 9)), Showing::All);
            assert!(matches!(
                cursor.advance(&world.cache.state()),
                Step::Events(events) if events.len() == 1
            ));
        }
    }
    // The service, the large drain alone, and the others.
    assert_eq!(steps, [1, 1, 24, 14]);
    let Present::Recorded(_, record) = &found[1] else {
        panic!("{found:?}");
    };
    let Resource::Drain(cut, total) = &record.resource else {
        panic!("{record:?}");
    };
    assert_eq!(
        (cut.members.len(), cut.blockers.len(), *total),
        (50, 50, 200)
    );
    assert_eq!(record.about.len(), 200);
    let Present::Recorded(_, last) = found.last().unwrap() else {
        panic!("{found:?}");
    };
    assert!(
        matches!(&last.resource, Resource::Drain(drain, _) if drain.members[0].active_connections == 9)
    );
    // Without a watcher, the state is still known, and there are no events.
    world.cache.state().forget();
    let before = world.cache.revision();
    show(&world, None, Showing::All);
    assert_eq!(world.cache.revision(), before);
    for _ in 0..4 {
        world.read();
    }
}
