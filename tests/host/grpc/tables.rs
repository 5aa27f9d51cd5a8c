//! Declared tables.

use ipvsd::{
    app::AppOptions,
    kernel::fake::{Connections, Counters, Fault, On, ServiceId, command},
    proto::v1::{
        self as pb, apply_table_request::Part, get_table_response, resource::Resource as Kind,
    },
    server::Limits,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::harness::{
    Daemon, assert_rejected, server, service, some, start_daemon, start_daemon_with, within_timeout,
};

const WEB: &str = "tcp-192.0.2.1-80";
const OTHER: &str = "tcp-192.0.2.2-80";
const ONE: &str = "192.168.10.1-80";
const TWO: &str = "192.168.10.2-80";

fn options() -> pb::ApplyTableOptions {
    pb::ApplyTableOptions {
        owner: "web".to_owned(),
        ..pb::ApplyTableOptions::default()
    }
}

/// A service with masqueraded servers.
fn declared(id: &str, servers: &[&str]) -> pb::Service {
    pb::Service {
        servers: servers.iter().map(|id| server(id)).collect(),
        ..service(id)
    }
}

fn pieces(services: Vec<pb::Service>) -> Part {
    Part::Services(pb::TableServices { services })
}

async fn send(daemon: &mut Daemon, parts: Vec<Part>) -> Result<pb::ApplyReport, Status> {
    let messages = parts
        .into_iter()
        .map(|part| pb::ApplyTableRequest { part: Some(part) });
    let messages: Vec<_> = messages.collect();
    let applied = daemon.client.apply_table(tokio_stream::iter(messages));
    let response = within_timeout(applied).await?.into_inner();
    Ok(response.report.unwrap())
}

async fn apply(
    daemon: &mut Daemon,
    options: pb::ApplyTableOptions,
    services: Vec<pb::Service>,
) -> Result<pb::ApplyReport, Status> {
    send(daemon, vec![Part::Options(options), pieces(services)]).await
}

/// The table of the owner `web`, and the numbers of services of the messages.
async fn get(daemon: &mut Daemon) -> Result<(pb::Table, Vec<pb::Service>, Vec<usize>), Status> {
    get_of(daemon, "web").await
}

async fn get_of(
    daemon: &mut Daemon,
    owner: &str,
) -> Result<(pb::Table, Vec<pb::Service>, Vec<usize>), Status> {
    let request = pb::GetTableRequest {
        owner: owner.to_owned(),
    };
    let mut parts = daemon.client.get_table(request).await?.into_inner();
    let (mut table, mut services, mut numbers) = (None, Vec::new(), Vec::new());
    while let Some(part) = within_timeout(parts.message()).await? {
        match part.part.unwrap() {
            get_table_response::Part::Table(head) => {
                assert!(table.is_none() && services.is_empty());
                table = Some(head);
            }
            get_table_response::Part::Services(piece) => {
                numbers.push(piece.services.len());
                services.extend(piece.services);
            }
        }
    }
    Ok((table.unwrap(), services, numbers))
}

fn state(table: &pb::Table) -> &str {
    &table.status.as_ref().unwrap().state
}

fn operations(report: &pb::ApplyReport) -> Vec<String> {
    let text = |operation: &pb::TableOperation| {
        let pb::TableOperation {
            op,
            service,
            server,
            result,
            ..
        } = operation;
        let server = server.as_deref().unwrap_or("-");
        format!("{op} {service} {server} {result}")
    };
    report.operations.iter().map(text).collect()
}

#[tokio::test]
async fn timeouts_and_sync_daemons_are_declared() {
    let mut daemon = start_daemon().await;
    let timeouts = pb::Timeouts {
        tcp_seconds: Some(1234),
        ..pb::Timeouts::default()
    };
    let master = pb::SyncDaemon {
        state: "master".to_owned(),
        interface: Some("eth0".to_owned()),
        sync_id: Some(7),
        ..pb::SyncDaemon::default()
    };
    let with = |daemons: Vec<pb::SyncDaemon>| {
        let options = pb::ApplyTableOptions {
            timeouts: Some(timeouts.clone()),
            sync_daemons: Some(pb::TableSyncDaemons {
                sync_daemons: daemons,
            }),
            ..options()
        };
        vec![Part::Options(options), pieces(vec![])]
    };
    let report = send(&mut daemon, with(vec![master.clone()])).await.unwrap();
    assert_eq!(
        operations(&report),
        ["start_sync_daemon  - done", "set_timeouts  - done"]
    );
    let Some(Kind::SyncDaemon(started)) = report.operations[0].after.clone().unwrap().resource
    else {
        panic!("{report:?}");
    };
    assert_eq!(
        (started.state.as_str(), started.sync_id),
        ("master", Some(7))
    );
    let set = report.operations[1].after.clone().unwrap().resource;
    assert_eq!(set, Some(Kind::Timeouts(timeouts.clone())));
    assert!(!report.revision.is_empty());
    let (table, ..) = get(&mut daemon).await.unwrap();
    assert_eq!(table.timeouts.unwrap().tcp_fin_seconds, Some(120));
    assert_eq!(
        table.sync_daemons.unwrap().sync_daemons[0].multicast_port,
        Some(8848)
    );

    let faulty = pb::SyncDaemon {
        state: "chief".to_owned(),
        ..master
    };
    let refused = send(&mut daemon, with(vec![faulty])).await;
    let field = "sync_daemons[0].state";
    assert_rejected(refused, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
}

#[tokio::test]
async fn a_table_is_applied_in_pieces_and_left_alone_if_nothing_differs() {
    let mut daemon = start_daemon().await;
    let parts = vec![
        Part::Options(options()),
        pieces(vec![declared(WEB, &[ONE, TWO])]),
        pieces(vec![declared(OTHER, &[])]),
    ];
    let report = send(&mut daemon, parts.clone()).await.unwrap();
    assert_eq!((report.outcome.as_str(), report.generation), ("applied", 1));
    assert_eq!(
        operations(&report),
        [
            format!("create_service {WEB} - done"),
            // The kernel inserts each server before the others.
            format!("create_server {WEB} {TWO} done"),
            format!("create_server {WEB} {ONE} done"),
            format!("create_service {OTHER} - done"),
        ]
    );
    let created = &report.operations[2];
    assert!(created.before.is_none());
    let Some(Kind::Server(after)) = created.after.clone().unwrap().resource else {
        panic!("{created:?}");
    };
    let expected = pb::Server {
        address: some("192.168.10.1"),
        port: Some(80),
        weight: Some(1),
        upper_threshold: Some(0),
        lower_threshold: Some(0),
        ..server(ONE)
    };
    assert_eq!(after, expected);
    let again = send(&mut daemon, parts).await.unwrap();
    assert_eq!((again.outcome.as_str(), again.generation), ("unchanged", 1));
    assert_eq!((again.operations.len(), again.operations_total), (0, 0));
    let summary = again.summary.unwrap();
    assert_eq!((summary.create, summary.unchanged), (0, 4));
    assert_eq!(again.etag, report.etag);

    let (table, services, _) = get(&mut daemon).await.unwrap();
    assert_eq!(state(&table), "in_sync");
    assert_eq!((table.service_count, table.server_count), (2, 2));
    assert_eq!(Some(table.etag), report.etag);
    let last = table.status.unwrap().last_apply.unwrap();
    assert_eq!(last.outcome, "applied");
    assert!(last.end_time.unwrap().seconds > 0);
    assert_eq!(services[0].servers.len(), 2);
    // What was read can be sent back.
    let same = apply(&mut daemon, options(), services).await.unwrap();
    assert_eq!(same.outcome, "unchanged");
}

#[tokio::test]
async fn an_operation_has_the_fields_that_it_changes() {
    let mut daemon = start_daemon().await;
    let first = vec![declared(WEB, &[ONE])];
    apply(&mut daemon, options(), first.clone()).await.unwrap();
    let mut changed = first;
    changed[0].scheduler = some("rr");
    changed[0].servers[0].weight = Some(7);
    let dry_run = pb::ApplyTableOptions {
        dry_run: true,
        ..options()
    };
    let report = apply(&mut daemon, dry_run, changed.clone()).await.unwrap();
    assert_eq!(report.outcome, "planned");
    let scheduler = |name| {
        Kind::Service(pb::Service {
            scheduler: some(name),
            ..pb::Service::default()
        })
    };
    let weight = |weight| {
        Kind::Server(pb::Server {
            weight: Some(weight),
            ..pb::Server::default()
        })
    };
    let changes: Vec<_> = report
        .operations
        .iter()
        .map(|it| [&it.before, &it.after].map(|value| value.clone().unwrap().resource.unwrap()))
        .collect();
    assert_eq!(
        changes,
        [[scheduler("wlc"), scheduler("rr")], [weight(1), weight(7)]]
    );
    assert_eq!(daemon.get_service(WEB).await.scheduler, some("wlc"));
    // The plan that was shown is the one that is executed.
    let expecting = |plan: &str| pb::ApplyTableOptions {
        expect_plan: plan.to_owned(),
        ..options()
    };
    let other = apply(
        &mut daemon,
        expecting("p-0123456789abcdef"),
        changed.clone(),
    )
    .await;
    assert_rejected(other, Code::Aborted, "PLAN_CHANGED", &["expect_plan"]);
    let report = apply(&mut daemon, expecting(&report.plan), changed)
        .await
        .unwrap();
    assert_eq!(report.outcome, "applied");
    assert_eq!(daemon.get_service(WEB).await.scheduler, some("rr"));
}

#[tokio::test]
async fn an_apply_is_guarded() {
    let mut daemon = start_daemon().await;
    daemon.create_service(OTHER, &[]).await;
    let both = vec![declared(WEB, &[]), declared(OTHER, &[])];
    let owned = apply(&mut daemon, options(), both.clone()).await;
    assert_rejected(
        owned,
        Code::FailedPrecondition,
        "SERVICE_OWNED",
        &["services[1]"],
    );
    let adopting = pb::ApplyTableOptions {
        adopt: some("unmanaged"),
        must_not_exist: true,
        ..options()
    };
    let report = apply(&mut daemon, adopting.clone(), both.clone())
        .await
        .unwrap();
    assert_eq!(report.outcome, "applied");
    let again = apply(&mut daemon, adopting, both).await;
    let status = again.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    let fewer = || vec![declared(WEB, &[])];
    let none = pb::ApplyTableOptions {
        max_deletes: some("0"),
        ..options()
    };
    let status = apply(&mut daemon, none, fewer()).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "TOO_MANY_DELETES");
    let guarded = |etag: &str| pb::ApplyTableOptions {
        etag: etag.to_owned(),
        max_deletes: some("1"),
        ..options()
    };
    let stale = apply(&mut daemon, guarded("d-0123456789abcdef"), fewer()).await;
    assert_eq!(stale.unwrap_err().code(), Code::Aborted);
    let etag = report.etag.unwrap();
    let report = apply(&mut daemon, guarded(&etag), fewer()).await.unwrap();
    assert_eq!(
        operations(&report),
        [format!("delete_service {OTHER} - done")]
    );
}

#[tokio::test]
async fn requests_that_are_invalid_name_the_field_and_change_nothing() {
    let mut daemon = start_daemon().await;
    let invalid = pb::ApplyTableOptions {
        owner: "Web".to_owned(),
        on_failure: some("retry"),
        max_deletes: some("101%"),
        adopt: some("all"),
        expect_plan: "d-0123456789abcdef".to_owned(),
        ..pb::ApplyTableOptions::default()
    };
    let fields = ["owner", "max_deletes", "on_failure", "adopt", "expect_plan"];
    let status = apply(&mut daemon, invalid, Vec::new()).await.unwrap_err();
    let found = status.get_details_bad_request().unwrap().field_violations;
    let mut found: Vec<_> = found.into_iter().map(|it| it.field).collect();
    found.sort_unstable();
    let mut expected = fields.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(found, expected);
    let twice = pb::ApplyTableOptions {
        etag: "*".to_owned(),
        must_not_exist: true,
        ..options()
    };
    let services = || pieces(vec![declared(WEB, &[])]);
    let first = || Part::Options(options());
    let mut wrong = declared(OTHER, &[ONE]);
    wrong.servers[0].weight = Some(70_000);
    for (parts, field) in [
        (vec![], "options"),
        (vec![services()], "options"),
        (vec![services(), first()], "options"),
        (vec![first(), services(), first()], "options"),
        (vec![first()], "services"),
        (vec![Part::Options(twice), services()], "must_not_exist"),
        (
            vec![first(), services(), pieces(vec![wrong])],
            "services[1].servers[0].weight",
        ),
    ] {
        let outcome = send(&mut daemon, parts).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
    assert_eq!(daemon.kernel.services().len(), 0);
    assert_eq!(get(&mut daemon).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_apply_that_fails_is_an_error_with_its_outcome() {
    let mut daemon = start_daemon().await;
    let services = || vec![declared(WEB, &[ONE, TWO])];
    let continued = pb::ApplyTableOptions {
        on_failure: some("continue"),
        ..options()
    };
    for (options, outcome, left) in [(options(), "rolled_back", 0), (continued, "partial", 1)] {
        let faults = daemon.kernel.faults();
        faults.clear();
        faults.once(On::Command(command::NEW_DEST), Fault::Errno(libc::ENOMEM));
        let status = apply(&mut daemon, options, services()).await.unwrap_err();
        // The code of the operation that failed, not of APPLY_FAILED.
        assert_eq!(status.code(), Code::Internal, "{status:?}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "APPLY_FAILED");
        assert_eq!(info.metadata["outcome"], outcome);
        assert_eq!(info.metadata["errno"], "ENOMEM");
        assert!(!info.metadata["apply_id"].is_empty());
        let failed = &details.precondition_failure().unwrap().violations;
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0].r#type, "INTERNAL");
        assert_eq!(failed[0].subject, format!("{WEB}/{TWO}"));
        assert!(
            failed[0].description.starts_with("create_server: "),
            "{failed:?}"
        );
        assert_eq!(daemon.kernel.services().len(), left);
    }
}

#[tokio::test]
async fn the_error_of_an_apply_fits_the_trailers_whatever_failed() {
    let mut daemon = start_daemon().await;
    let faults = daemon.kernel.faults();
    faults.always(On::Command(command::NEW_DEST), Fault::Errno(libc::ENOMEM));
    let servers: Vec<_> = (0..300).map(|n| format!("fd00::{n:x}-80")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let continued = pb::ApplyTableOptions {
        on_failure: some("continue"),
        ..options()
    };
    let table = vec![declared("tcp-2001:db8::1-80", &servers)];
    let status = apply(&mut daemon, continued, table).await.unwrap_err();
    let details = status.get_error_details();
    let failed = &details.precondition_failure().unwrap().violations;
    assert!((10..=100).contains(&failed.len()), "{}", failed.len());
    assert!(status.details().len() < 6000, "{}", status.details().len());
}

#[tokio::test]
async fn drift_is_what_other_programs_changed() {
    let mut daemon = start_daemon().await;
    let drift = pb::GetDriftRequest {
        owner: "web".to_owned(),
    };
    let missing = daemon.client.get_drift(drift.clone()).await;
    assert_rejected(missing, Code::NotFound, "TABLE_NOT_FOUND", &[]);
    let table = vec![declared(WEB, &[ONE])];
    apply(&mut daemon, options(), table).await.unwrap();
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    let address = "192.168.10.1:80".parse().unwrap();
    assert!(daemon.kernel.remove_destination(id, address));
    let response = daemon.client.get_drift(drift).await.unwrap().into_inner();
    let report = response.report.unwrap();
    assert_eq!(
        operations(&report),
        [format!("create_server {WEB} {ONE} planned")]
    );
    let list = daemon.client.list_tables(pb::ListTablesRequest::default());
    let tables = list.await.unwrap().into_inner().tables;
    assert_eq!(tables.len(), 1);
    assert_eq!(
        (tables[0].owner.as_str(), state(&tables[0])),
        ("web", "drifted")
    );
}

#[tokio::test]
async fn servers_that_are_not_declared_any_more_are_drained_if_the_table_says_so() {
    let mut daemon = start_daemon().await;
    let draining = pb::ApplyTableOptions {
        removal: some("drain"),
        drain_deadline_seconds: Some(600),
        max_deletes: some("100%"),
        ..options()
    };
    let table = vec![declared(WEB, &[ONE, TWO])];
    apply(&mut daemon, draining, table).await.unwrap();
    let (table, ..) = get(&mut daemon).await.unwrap();
    assert_eq!(
        (table.removal.as_str(), table.drain_deadline_seconds),
        ("drain", Some(600))
    );
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    let connections = Connections {
        active: 1,
        ..Connections::default()
    };
    for address in ["192.168.10.1:80", "192.168.10.2:80"] {
        let address = address.parse().unwrap();
        let counters = Counters::default();
        assert!(
            daemon
                .kernel
                .set_traffic(id, address, connections, counters)
        );
    }
    let kept = pb::ApplyTableOptions {
        max_deletes: some("100%"),
        ..options()
    };
    let report = apply(&mut daemon, kept, vec![declared(WEB, &[ONE])])
        .await
        .unwrap();
    assert_eq!(
        operations(&report),
        [format!("delete_server {WEB} {TWO} draining")]
    );
    assert_eq!(report.summary.unwrap().draining, 1);
    let request = pb::GetDrainRequest {
        id: report.operations[0].drain.clone(),
    };
    let drain = daemon.client.get_drain(request).await.unwrap().into_inner();
    let drain = drain.drain.unwrap();
    assert_eq!(
        (drain.table.as_str(), drain.deadline_seconds),
        ("web", Some(600))
    );
    let request = pb::GetServerRequest {
        service: WEB.to_owned(),
        id: TWO.to_owned(),
        ..pb::GetServerRequest::default()
    };
    let server = daemon
        .client
        .get_server(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(server.server.unwrap().membership, "removing");

    let update = pb::UpdateTableRequest {
        owner: "web".to_owned(),
        drain_deadline_seconds: Some(0),
        ..pb::UpdateTableRequest::default()
    };
    let updated = daemon
        .client
        .update_table(update)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(updated.table.unwrap().drain_deadline_seconds, None);
    let invalid = pb::DeleteTableRequest {
        owner: "web".to_owned(),
        confirm: Some(1),
        removal: some("later"),
        ..pb::DeleteTableRequest::default()
    };
    let refused = daemon.client.delete_table(invalid.clone()).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["removal"],
    );
    let now = pb::DeleteTableRequest {
        removal: some("now"),
        ..invalid
    };
    daemon.client.delete_table(now).await.unwrap();
    assert_eq!(daemon.kernel.services().len(), 0);
}

#[tokio::test]
async fn a_table_is_deleted_if_that_is_confirmed() {
    let mut daemon = start_daemon().await;
    let table = vec![declared(WEB, &[ONE])];
    let report = apply(&mut daemon, options(), table).await.unwrap();
    let update = |reconcile: &str| pb::UpdateTableRequest {
        owner: "web".to_owned(),
        reconcile: Some(reconcile.to_owned()),
        ..pb::UpdateTableRequest::default()
    };
    let refused = daemon.client.update_table(update("always")).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["reconcile"],
    );
    let updated = daemon.client.update_table(update("repair")).await.unwrap();
    assert_eq!(updated.into_inner().table.unwrap().reconcile, "repair");
    let updated = daemon.client.update_table(update("off")).await.unwrap();
    assert_eq!(updated.into_inner().table.unwrap().reconcile, "off");
    let delete = |confirm, etag: &str| pb::DeleteTableRequest {
        owner: "web".to_owned(),
        confirm,
        etag: etag.to_owned(),
        ..pb::DeleteTableRequest::default()
    };
    let refused = daemon.client.delete_table(delete(None, "")).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["confirm"],
    );
    let refused = daemon.client.delete_table(delete(Some(7), "")).await;
    assert_rejected(
        refused,
        Code::FailedPrecondition,
        "CONFIRM_MISMATCH",
        &["confirm"],
    );
    let dry_run = pb::DeleteTableRequest {
        dry_run: true,
        ..delete(Some(1), "")
    };
    let planned = daemon.client.delete_table(dry_run).await.unwrap();
    assert_eq!(planned.into_inner().report.unwrap().outcome, "planned");
    assert_eq!(daemon.kernel.services().len(), 1);
    let deleted = daemon
        .client
        .delete_table(delete(None, &report.etag.unwrap()));
    let deleted = deleted.await.unwrap().into_inner().report.unwrap();
    assert_eq!(
        (deleted.outcome.as_str(), deleted.generation),
        ("applied", 0)
    );
    assert_eq!(deleted.etag, None);
    assert_eq!(daemon.kernel.services().len(), 0);
    let again = daemon.client.delete_table(delete(Some(0), "")).await;
    assert_rejected(again, Code::NotFound, "TABLE_NOT_FOUND", &[]);
    let allowed = pb::DeleteTableRequest {
        allow_missing: true,
        ..delete(None, "")
    };
    let missing = daemon.client.delete_table(allowed).await.unwrap();
    assert_eq!(missing.into_inner().report, None);
}

#[tokio::test]
async fn a_large_table_goes_both_ways_in_pieces_and_one_that_is_too_large_is_refused() {
    let mut limits = Limits::default().grpc_options();
    limits.max_rules_bytes = 2 << 20;
    let mut daemon = start_daemon_with(limits, AppOptions::default()).await;
    let servers: Vec<_> = (0..100).map(|n| format!("192.168.10.{n}-80")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let services =
        |from: usize| (from..from + 40).map(|n| declared(&format!("fwmark-{n}"), &servers));
    let parts = |number: usize| {
        let parts = (0..number).map(|part| pieces(services(1 + 40 * part).collect()));
        std::iter::once(Part::Options(options()))
            .chain(parts)
            .collect()
    };
    let report = send(&mut daemon, parts(5)).await.unwrap();
    assert_eq!(report.outcome, "applied");
    assert_eq!(
        (report.operations.len(), report.operations_total),
        (1000, 200 * 101)
    );
    let (table, all, numbers) = get(&mut daemon).await.unwrap();
    assert_eq!((table.service_count, all.len()), (200, 200));
    assert!(
        numbers.len() > 1 && numbers.iter().all(|n| *n > 0),
        "{numbers:?}"
    );
    let mut ids: Vec<_> = all.iter().map(|service| service.id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    let refused = send(&mut daemon, parts(50)).await;
    assert_rejected(refused, Code::ResourceExhausted, "TOO_LARGE", &[]);
    assert_eq!(daemon.kernel.services().len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_owners_and_are_filtered_by_them() {
    let mut daemon = start_daemon().await;
    daemon.create_service(OTHER, &[ONE]).await;
    apply(&mut daemon, options(), vec![declared(WEB, &[TWO])])
        .await
        .unwrap();
    for (owner, id) in [("web", WEB), ("_unmanaged", OTHER)] {
        let request = pb::ListServicesRequest {
            owner: some(owner),
            ..pb::ListServicesRequest::default()
        };
        let list = daemon.client.list_services(request).await.unwrap();
        let services = list.into_inner().services;
        assert_eq!(services.len(), 1);
        assert_eq!(
            (services[0].id.as_str(), services[0].owner.as_str()),
            (id, owner)
        );
        let request = pb::GetStatsRequest {
            owner: some(owner),
            ..pb::GetStatsRequest::default()
        };
        let stats = daemon.client.get_stats(request).await.unwrap().into_inner();
        assert_eq!((stats.service_count, stats.server_count), (1, 1));
    }
    let request = pb::GetServiceRequest {
        id: WEB.to_owned(),
        ..pb::GetServiceRequest::default()
    };
    let service = daemon.client.get_service(request).await.unwrap();
    assert_eq!(service.into_inner().service.unwrap().owner, "web");
    let (table, services, _) = get_of(&mut daemon, "_unmanaged").await.unwrap();
    assert_eq!(
        (table.owner.as_str(), table.service_count),
        ("_unmanaged", 1)
    );
    assert_eq!((services.len(), services[0].id.as_str()), (1, OTHER));
    let unmanaged = pb::ApplyTableOptions {
        owner: "_unmanaged".to_owned(),
        ..options()
    };
    let refused = apply(&mut daemon, unmanaged, Vec::new()).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["owner"],
    );
    let request = pb::WatchRequest {
        owner: some("_x"),
        ..pb::WatchRequest::default()
    };
    let refused = daemon.client.watch(request).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["owner"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_listed_in_pages() {
    let mut daemon = start_daemon().await;
    for owner in ["a", "b"] {
        let options = pb::ApplyTableOptions {
            owner: owner.to_owned(),
            ..options()
        };
        apply(&mut daemon, options, Vec::new()).await.unwrap();
    }
    let mut request = pb::ListTablesRequest {
        page_size: Some(1),
        ..pb::ListTablesRequest::default()
    };
    for (owner, is_last) in [("a", false), ("b", true)] {
        let page = daemon.client.list_tables(request.clone()).await.unwrap();
        let page = page.into_inner();
        assert_eq!(
            (page.tables.len(), page.tables[0].owner.as_str()),
            (1, owner)
        );
        assert_eq!(page.next_page_token.is_empty(), is_last);
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn all_operations_of_the_last_apply_are_listed() {
    let mut daemon = start_daemon().await;
    let mut request = pb::ListTableOperationsRequest {
        owner: "web".to_owned(),
        page_size: Some(2),
        ..pb::ListTableOperationsRequest::default()
    };
    let missing = daemon.client.list_table_operations(request.clone()).await;
    assert_rejected(missing, Code::NotFound, "TABLE_NOT_FOUND", &[]);
    let table = vec![declared(WEB, &[ONE, TWO])];
    let report = apply(&mut daemon, options(), table).await.unwrap();
    let list = daemon.client.list_table_operations(request.clone()).await;
    let first = list.unwrap().into_inner();
    assert_eq!(
        (first.apply_id, first.outcome),
        (report.apply_id, report.outcome)
    );
    assert_eq!(first.operations_total, 3);
    request.page_token = first.next_page_token;
    let list = daemon.client.list_table_operations(request).await;
    let second = list.unwrap().into_inner();
    assert_eq!(second.next_page_token, "");
    let all = [first.operations, second.operations].concat();
    assert_eq!(all, report.operations);
}
