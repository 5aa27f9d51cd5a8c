//! Batches.

use ipvsd::{
    kernel::fake::{Fault, On, command},
    proto::v1::{self as pb, resource::Resource as Kind},
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::harness::{Daemon, assert_rejected, mask, server, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";
const TWO: &str = "192.168.10.2-80";

fn operation(op: &str, id: &str, value: Option<pb::Server>) -> pb::BatchOperation {
    pb::BatchOperation {
        op: op.to_owned(),
        service: WEB.to_owned(),
        server: id.to_owned(),
        value: value.map(|server| pb::Resource {
            resource: Some(Kind::Server(server)),
        }),
        ..pb::BatchOperation::default()
    }
}

fn weight(id: &str, weight: u32) -> pb::BatchOperation {
    let server = pb::Server {
        weight: Some(weight),
        ..pb::Server::default()
    };
    operation("update_server", id, Some(server))
}

async fn send(
    daemon: &mut Daemon,
    operations: Vec<pb::BatchOperation>,
) -> Result<pb::ApplyReport, Status> {
    let request = pb::ApplyBatchRequest {
        operations,
        ..pb::ApplyBatchRequest::default()
    };
    let response = daemon.client.apply_batch(request).await?;
    Ok(response.into_inner().report.unwrap())
}

async fn weights(daemon: &mut Daemon) -> Vec<(String, u32)> {
    let servers = daemon.get_service(WEB).await.servers.into_iter();
    servers
        .map(|server| (server.id, server.weight.unwrap()))
        .collect()
}

#[tokio::test]
async fn operations_are_executed_together_and_reported() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let operations = vec![
        operation("create_server", "", Some(server(TWO))),
        weight(TWO, 5),
        weight(ONE, 0),
        weight(ONE, 0),
    ];
    let report = send(&mut daemon, operations).await.unwrap();
    assert_eq!(
        (report.outcome.as_str(), report.owner.as_str()),
        ("applied", "")
    );
    assert_eq!((report.generation, report.etag), (0, None));
    let done: Vec<_> = report
        .operations
        .iter()
        .map(|operation| {
            (
                operation.op.as_str(),
                operation.index,
                operation.result.as_str(),
            )
        })
        .collect();
    assert_eq!(
        done,
        [
            ("create_server", Some(0), "done"),
            ("update_server", Some(1), "done"),
            ("update_server", Some(2), "done"),
        ]
    );
    assert_eq!(report.summary.unwrap().unchanged, 1);
    let expected = [(TWO.to_owned(), 5), (ONE.to_owned(), 0)];
    assert_eq!(weights(&mut daemon).await, expected);
    // A field of the mask that the value does not have is reset.
    let mut reset = operation("update_server", TWO, Some(pb::Server::default()));
    reset.update_mask = mask(&["weight"]);
    send(&mut daemon, vec![reset]).await.unwrap();
    assert_eq!(weights(&mut daemon).await[0].1, 1);
}

#[tokio::test]
async fn an_invalid_batch_names_its_fields_and_changes_nothing() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let mut masked = weight(ONE, 1);
    masked.update_mask = mask(&["wieght"]);
    let operations = vec![
        weight(ONE, 7),
        operation("update", ONE, None),
        masked.clone(),
    ];
    let refused = send(&mut daemon, operations).await;
    assert_rejected(
        refused,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["operations[1].op"],
    );
    let operations = vec![weight(ONE, 7), operation("", ONE, None), masked];
    let fields = ["operations[1].op", "operations[2].update_mask"];
    let refused = send(&mut daemon, operations).await;
    assert_rejected(refused, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    let refused = send(&mut daemon, vec![weight(ONE, 7), weight(TWO, 7)]).await;
    assert_rejected(
        refused,
        Code::NotFound,
        "SERVER_NOT_FOUND",
        &["operations[1]"],
    );
    assert_eq!(weights(&mut daemon).await, [(ONE.to_owned(), 1)]);
}

#[tokio::test]
async fn a_batch_that_fails_is_an_error_with_its_outcome() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let errno = Fault::Errno(libc::ENOMEM);
    daemon
        .kernel
        .faults()
        .once(On::Command(command::NEW_DEST), errno);
    let operations = vec![
        weight(ONE, 7),
        operation("create_server", "", Some(server(TWO))),
    ];
    let status = send(&mut daemon, operations).await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "APPLY_FAILED");
    assert_eq!(info.metadata["outcome"], "rolled_back");
    let failure = &details.precondition_failure().unwrap().violations[0];
    assert_eq!(failure.subject, format!("{WEB}/{TWO}"));
    assert_eq!(weights(&mut daemon).await, [(ONE.to_owned(), 1)]);
}
