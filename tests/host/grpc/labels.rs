//! Labels of services.

use std::collections::BTreeMap;

use ipvsd::proto::v1 as pb;

use super::harness::{Daemon, assert_rejected, mask, service, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const OTHER: &str = "tcp-192.0.2.2-80";

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn labelled(id: &str, pairs: &[(&str, &str)]) -> Option<pb::Service> {
    Some(pb::Service {
        labels: labels(pairs),
        ..service(id)
    })
}

/// The labels after an update with this mask.
async fn update(
    daemon: &mut Daemon,
    pairs: &[(&str, &str)],
    paths: &[&str],
) -> BTreeMap<String, String> {
    let request = pb::UpdateServiceRequest {
        service: labelled(WEB, pairs),
        update_mask: mask(paths),
        ..pb::UpdateServiceRequest::default()
    };
    let updated = daemon.client.update_service(request).await.unwrap();
    updated.into_inner().service.unwrap().labels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_merges_labels_unless_its_mask_names_them() {
    let mut daemon = start_daemon().await;
    let create = pb::CreateServiceRequest {
        service: labelled(WEB, &[("team", "web")]),
        ..pb::CreateServiceRequest::default()
    };
    daemon.client.create_service(create).await.unwrap();
    let both = labels(&[("env", "dev"), ("team", "web")]);
    assert_eq!(update(&mut daemon, &[("env", "dev")], &[]).await, both);
    assert_eq!(update(&mut daemon, &[], &[]).await, both);
    assert_eq!(
        update(&mut daemon, &[("a", "1")], &["scheduler"]).await,
        both
    );
    let replaced = update(&mut daemon, &[("a", "1")], &["labels"]).await;
    assert_eq!(replaced, labels(&[("a", "1")]));
    let list = daemon
        .client
        .list_services(pb::ListServicesRequest::default());
    let list = list.await.unwrap().into_inner();
    assert_eq!(list.services[0].labels, replaced);
    assert_eq!(update(&mut daemon, &[], &["labels"]).await, labels(&[]));
    let bad = pb::UpdateServiceRequest {
        service: labelled(WEB, &[("-", "")]),
        ..pb::UpdateServiceRequest::default()
    };
    assert_rejected(
        daemon.client.update_service(bad).await,
        tonic::Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["labels"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_statistics_are_filtered_by_labels() {
    let mut daemon = start_daemon().await;
    for (id, team) in [(WEB, "web"), (OTHER, "db")] {
        let create = pb::CreateServiceRequest {
            service: labelled(id, &[("team", team)]),
            ..pb::CreateServiceRequest::default()
        };
        daemon.client.create_service(create).await.unwrap();
    }
    for (label, expected) in [
        (&["team=web"][..], &[WEB][..]),
        (&["team", "team!=web"], &[OTHER]),
        (&["team,!team"], &[]),
        (&[], &[WEB, OTHER]),
    ] {
        let label: Vec<_> = label.iter().map(|&text| text.to_owned()).collect();
        let request = pb::ListServicesRequest {
            label: label.clone(),
            ..pb::ListServicesRequest::default()
        };
        let list = daemon.client.list_services(request).await.unwrap();
        let services = list.into_inner().services;
        let ids: Vec<_> = services.iter().map(|service| &service.id).collect();
        assert_eq!(ids, expected, "{label:?}");
        let request = pb::GetStatsRequest {
            label,
            ..pb::GetStatsRequest::default()
        };
        let stats = daemon.client.get_stats(request).await.unwrap().into_inner();
        assert_eq!(stats.service_count as usize, expected.len());
    }
    let bad = pb::ListDrainsRequest {
        label: vec!["a b".to_owned()],
        ..pb::ListDrainsRequest::default()
    };
    assert_rejected(
        daemon.client.list_drains(bad).await,
        tonic::Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["label"],
    );
}
