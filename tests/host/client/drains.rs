//! Drains and ramps.

use ipvsd::{
    client::{ServiceSpec, WriteOptions},
    model::{DrainRequest, RampRequest, Reason, Then},
};

use super::{Client, assert_refused, server, server_spec, service, setup, write};

fn dry_run() -> WriteOptions {
    WriteOptions {
        dry_run: true,
        ..write()
    }
}

/// Creates a service with two servers.
fn create(client: &Client) {
    let mut spec = ServiceSpec::new(service());
    spec.servers = Some(vec![server_spec(1, 5), server_spec(2, 7)]);
    client.create_service(&spec, &write()).unwrap();
}

fn effective_weight(client: &Client) -> u32 {
    let read = client.server(service(), server(1), Default::default());
    read.unwrap().value.effective_weight
}

#[test]
fn a_drain_is_planned_created_read_listed_and_deleted() {
    let (_daemon, client) = setup();
    create(&client);
    let request = DrainRequest {
        target: "192.168.10.1".parse().unwrap(),
        services: Some(vec![service()]),
        deadline_seconds: Some(60),
        then: Then::Keep,
    };
    let (planned, _) = client.create_drain(&request, &dry_run()).unwrap();
    assert_eq!(planned.members[0].server, server(1));
    assert_eq!(client.drains().unwrap().0, []);

    let (drain, json) = client.create_drain(&request, &write()).unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["then"],
        "keep"
    );
    assert_eq!(
        (drain.state.as_str(), drain.members[0].weight),
        ("drained", 5)
    );
    assert_eq!(
        (&drain.services, drain.deadline_seconds),
        (&request.services, Some(60))
    );
    assert!(drain.is_active());
    assert_eq!(effective_weight(&client), 0);
    assert_eq!(
        client.create_drain(&request, &write()).unwrap().0.id,
        drain.id
    );
    assert_eq!(client.drain(drain.id).unwrap().0.server, request.target);
    let (drains, _) = client.drains().unwrap();
    assert_eq!((drains.len(), drains[0].id), (1, drain.id));

    let (planned, _) = client.delete_drain(drain.id, &dry_run()).unwrap();
    assert_eq!(planned.state, "cancelled");
    assert_eq!(effective_weight(&client), 0);
    let (ended, _) = client.delete_drain(drain.id, &write()).unwrap();
    assert!(!ended.is_active());
    assert_eq!(effective_weight(&client), 5);
    // Once more, and it is forgotten.
    client.delete_drain(drain.id, &write()).unwrap();
    assert_refused(client.drain(drain.id), Reason::DrainNotFound);
}

#[test]
fn a_ramp_is_created_read_listed_and_deleted() {
    let (_daemon, client) = setup();
    create(&client);
    let request = RampRequest {
        service: service(),
        server: server(1),
        to: 100,
        over_seconds: 86_400,
        steps: RampRequest::STEPS,
    };
    let (ramp, _) = client.create_ramp(&request, &write()).unwrap();
    assert_eq!((ramp.from, ramp.weight, ramp.to), (5, 5, 100));
    assert_eq!((ramp.over_seconds, ramp.steps), (86_400, 20));
    assert!(ramp.is_active());
    assert_eq!(client.ramp(ramp.id).unwrap().0.state, "ramping");
    assert_eq!(client.ramps().unwrap().0.len(), 1);
    let (ended, _) = client.delete_ramp(ramp.id, &write()).unwrap();
    assert_eq!(
        (ended.state.as_str(), ended.is_active()),
        ("cancelled", false)
    );
    assert_eq!(effective_weight(&client), 100);
    client.delete_ramp(ramp.id, &write()).unwrap();
    assert_refused(client.ramp(ramp.id), Reason::RampNotFound);
}
