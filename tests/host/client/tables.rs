//! Declared tables.

use ipvsd::{
    client::{
        ApplyOptions, DeleteOptions, Precondition, ServiceSpec, TableSettingsSpec, TableSpec,
    },
    model::{Adopt, Deletions, Director, OnFailure, Owner, Reason, Reconcile, Removal},
};

use crate::scripted::{Server, response};

use super::{Client, assert_refused, server, server_spec, service, setup, write};

fn owner() -> Owner {
    "web".parse().unwrap()
}

fn table() -> TableSpec {
    let mut spec = ServiceSpec::new(service());
    spec.servers = Some(vec![server_spec(1, 2), server_spec(2, 0)]);
    TableSpec {
        services: vec![spec],
        settings: TableSettingsSpec::default(),
        director: Director::default(),
    }
}

#[test]
fn a_table_is_planned_applied_read_edited_and_deleted() {
    let (_daemon, client) = setup();
    let options = ApplyOptions::default();
    let dry_run = ApplyOptions {
        dry_run: true,
        ..options.clone()
    };
    let planned = client.apply_table(&owner(), &table(), &dry_run).unwrap();
    assert_eq!(
        (planned.outcome.as_str(), planned.generation),
        ("planned", 1)
    );
    assert_eq!(client.tables().unwrap().0, []);

    let expected = ApplyOptions {
        expect_plan: Some(planned.plan),
        precondition: Precondition::Absent,
        ..options.clone()
    };
    let applied = client.apply_table(&owner(), &table(), &expected).unwrap();
    assert_eq!(applied.outcome, "applied");
    assert_eq!((applied.summary.create, applied.operations_total), (3, 3));
    let last = &applied.operations[2];
    assert_eq!(
        (last.op.as_str(), last.result.as_str()),
        ("create_server", "done")
    );
    assert_eq!(last.server, Some(server(1)));
    assert_refused(
        client.apply_table(&owner(), &table(), &expected),
        Reason::RevisionMismatch,
    );

    let read = client.table(&owner()).unwrap();
    assert_eq!(
        (read.value.generation, read.value.status.state.as_str()),
        (1, "in_sync")
    );
    assert_eq!(read.value.spec.services, table().services);
    let [overview] = &client.tables().unwrap().0[..] else {
        panic!("one table");
    };
    assert_eq!((overview.owner.as_str(), overview.server_count), ("web", 2));
    assert_eq!(overview.etag, applied.etag);
    let last = overview.status.last_apply.as_ref().unwrap();
    assert_eq!(
        (&last.apply_id, last.outcome.as_str()),
        (&applied.apply_id, "applied")
    );

    let mut edited = read.value.spec;
    edited.services[0].servers.as_mut().unwrap().pop();
    let limited = ApplyOptions {
        max_deletes: Deletions::Count(0),
        precondition: Precondition::from(read.etag),
        ..options
    };
    assert_refused(
        client.apply_table(&owner(), &edited, &limited),
        Reason::TooManyDeletes,
    );
    let permitted = ApplyOptions {
        max_deletes: Deletions::Percent(50),
        ..limited
    };
    let applied = client.apply_table(&owner(), &edited, &permitted).unwrap();
    assert_eq!((applied.summary.delete, applied.generation), (1, 2));

    client.zero(&write()).unwrap();
    assert_eq!(client.drift(&owner()).unwrap().0.operations, []);
    client
        .delete_server(service(), server(1), &DeleteOptions::default())
        .unwrap();
    let drift = client.drift(&owner()).unwrap().0;
    assert_eq!(
        (drift.outcome.as_str(), drift.summary.create),
        ("planned", 1)
    );

    let settings = TableSettingsSpec {
        reconcile: Some(Reconcile::Report),
        drain_deadline_seconds: Some(600),
        ..TableSettingsSpec::default()
    };
    let updated = client.update_table(&owner(), &settings, &write()).unwrap();
    let kept = TableSettingsSpec {
        keep_weights: Some(false),
        removal: Some(Removal::Now),
        ..settings
    };
    assert_eq!((updated.settings, updated.generation), (kept, 3));
    assert_eq!(client.table(&owner()).unwrap().value.spec.settings, kept);

    let delete = DeleteOptions::default();
    assert_refused(
        client.delete_table(&owner(), Some(2), None, &delete),
        Reason::ConfirmMismatch,
    );
    let deleted = client
        .delete_table(&owner(), Some(1), None, &delete)
        .unwrap();
    assert_eq!(deleted.unwrap().summary.delete, 1);
    assert_refused(
        client.delete_table(&owner(), Some(1), None, &delete),
        Reason::TableNotFound,
    );
    let missing = DeleteOptions {
        allow_missing: true,
        ..delete
    };
    assert_eq!(
        client
            .delete_table(&owner(), Some(1), None, &missing)
            .unwrap(),
        None
    );
}

#[test]
fn services_of_others_are_adopted_if_that_is_permitted() {
    let (_daemon, client) = setup();
    client
        .create_service(&ServiceSpec::new(service()), &write())
        .unwrap();
    let options = ApplyOptions::default();
    assert_refused(
        client.apply_table(&owner(), &table(), &options),
        Reason::ServiceOwned,
    );
    let adopt = ApplyOptions {
        adopt: Adopt::Unmanaged,
        ..options
    };
    let applied = client.apply_table(&owner(), &table(), &adopt).unwrap();
    assert_eq!((applied.summary.create, applied.summary.unchanged), (2, 1));
}

#[test]
fn a_problem_has_what_became_of_the_operations() {
    let body = r#"{"reason":"APPLY_FAILED","detail":"x","owner":"web","apply_id":"a","generation":0,
        "outcome":"partial","plan":"p-0","operations":[{"op":"create_service","service":"fwmark-7",
        "result":"failed","error":{"reason":"NEW","detail":"y"}}],"operations_total":1,
        "summary":{"create":1,"update":0,"delete":0,"unchanged":0},"later":1}"#;
    let server = Server::responding(response("409 Conflict", "application/problem+json", body));
    let client = Client::new(server.endpoint.parse().unwrap()).unwrap();
    let options = ApplyOptions {
        on_failure: OnFailure::Continue,
        ..ApplyOptions::default()
    };
    let error = client
        .apply_table(&owner(), &table(), &options)
        .unwrap_err();
    let applied = error.problem().unwrap().applied().unwrap();
    assert_eq!((applied.outcome.as_str(), applied.etag), ("partial", None));
    let error = applied.operations[0].error.as_ref().unwrap();
    assert_eq!((error.reason.as_str(), error.detail.as_str()), ("NEW", "y"));
    assert_eq!(
        server.request_lines(),
        ["PUT /v1/tables/web?on_failure=continue&max_deletes=30%25&adopt=none HTTP/1.1"]
    );
}
