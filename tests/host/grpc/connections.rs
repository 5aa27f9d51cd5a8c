use std::time::Instant;

use ipvsd::proto::v1 as pb;
use tonic::{Code, Streaming};

use super::harness::{TIMEOUT, assert_rejected, some, start_daemon, within_timeout};

fn lines() -> Vec<String> {
    [
        "TCP C6336401 C350 C0000201 0050 C0A80A01 0050 ESTABLISHED     899",
        "TCP C6336402 C351 C0000201 0050 C0A80A02 0050 FIN_WAIT         12",
        "UDP C6336401 C352 C0000202 0035 C0A80A01 0035 UDP             299 sip call@one",
        "TCP C6336400 0000 C0000201 0050 C0A80A01 0050 NONE            100",
        "IP  C6336400 0000 00000009 0000 C0A80A01 0000 NONE            100",
        "UDP C6336400 0000 C0000202 FFFF C0A80A01 FFFF ASSURED          29",
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn collect(mut stream: Streaming<pb::ListConnectionsResponse>) -> Vec<pb::Connection> {
    let mut all = Vec::new();
    while let Some(response) = within_timeout(stream.message()).await.unwrap() {
        assert!(!response.connections.is_empty());
        all.extend(response.connections);
    }
    all
}

#[tokio::test]
async fn connections_are_streamed_in_the_order_of_the_kernel() {
    let mut daemon = start_daemon().await;
    daemon.kernel.set_connections(lines());
    let all = daemon
        .client
        .list_connections(pb::ListConnectionsRequest::default())
        .await;
    let all = collect(all.unwrap().into_inner()).await;
    assert_eq!(all.len(), 6);
    let first = &all[0];
    assert_eq!(
        (first.protocol.as_str(), first.state.as_str()),
        ("tcp", "ESTABLISHED")
    );
    let client = first.client.as_ref().unwrap();
    assert_eq!(
        (client.address.as_str(), client.port),
        ("198.51.100.1", 50000)
    );
    assert_eq!(first.r#virtual.as_ref().unwrap().address, "192.0.2.1");
    assert_eq!(first.destination.as_ref().unwrap().address, "192.168.10.1");
    assert_eq!((first.expires_in_seconds, first.template), (899, false));
    assert_eq!(all[2].persistence_data.as_deref(), Some("call@one"));
    assert!(all[3].template && !all[3].invalidated);
    assert_eq!((all[4].fwmark, &all[4].r#virtual), (Some(9), &None));
    assert!(all[5].template && all[5].invalidated);
    assert_eq!(all[5].fwmark, None);
}

#[tokio::test]
async fn connections_are_filtered_limited_and_counted() {
    let mut daemon = start_daemon().await;
    daemon.kernel.set_connections(lines());
    let request = pb::ListConnectionsRequest {
        filter: Some(pb::ConnectionFilter {
            client: some("198.51.100.1"),
            state: some("established"),
            ..pb::ConnectionFilter::default()
        }),
        limit: None,
    };
    let filtered = daemon.client.list_connections(request).await;
    assert_eq!(collect(filtered.unwrap().into_inner()).await.len(), 1);
    let request = pb::ListConnectionsRequest {
        filter: Some(pb::ConnectionFilter {
            fwmark: Some(9),
            ..pb::ConnectionFilter::default()
        }),
        limit: None,
    };
    let filtered = daemon.client.list_connections(request).await;
    assert_eq!(collect(filtered.unwrap().into_inner()).await.len(), 1);
    let request = pb::ListConnectionsRequest {
        filter: None,
        limit: Some(2),
    };
    let limited = daemon.client.list_connections(request).await;
    assert_eq!(collect(limited.unwrap().into_inner()).await.len(), 2);
    let mut count = pb::CountConnectionsRequest {
        filter: None,
        count_by: "protocol".to_owned(),
    };
    let response = daemon
        .client
        .count_connections(count.clone())
        .await
        .unwrap()
        .into_inner();
    let counts: Vec<_> = response
        .counts
        .iter()
        .map(|c| (c.group.as_str(), c.count))
        .collect();
    assert_eq!(counts, [("tcp", 3), ("udp", 2), ("ip", 1)]);
    count.count_by = "colour".to_owned();
    let outcome = daemon.client.count_connections(count).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["count_by"],
    );
}

#[tokio::test]
async fn an_invalid_filter_is_rejected_and_the_field_named() {
    type Change = fn(&mut pb::ConnectionFilter);
    let wrong: [(&str, Change); 3] = [
        ("filter.protocol", |f| f.protocol = some("tpc")),
        ("filter.client", |f| f.client = some("192.0.2")),
        ("filter.destination", |f| f.destination = some("[::1")),
    ];
    let mut daemon = start_daemon().await;
    for (field, change) in wrong {
        let mut filter = pb::ConnectionFilter::default();
        change(&mut filter);
        let request = pb::ListConnectionsRequest {
            filter: Some(filter),
            limit: None,
        };
        let outcome = daemon.client.list_connections(request).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
}

#[tokio::test]
async fn cancelling_the_call_ends_the_read() {
    let mut daemon = start_daemon().await;
    let endless = "TCP C6336401 C350 C0000201 0050 C0A80A01 0050 ESTABLISHED     899".to_owned();
    daemon
        .kernel
        .set_connection_source(move || Box::new(std::iter::repeat(endless.clone())));
    // More calls than the daemon reads concurrently: each read must end before a later one starts.
    let until = Instant::now() + TIMEOUT;
    for _ in 0..10 {
        let mut stream = loop {
            let request = pb::ListConnectionsRequest::default();
            match daemon.client.list_connections(request).await {
                Ok(stream) => break stream.into_inner(),
                Err(busy) if Instant::now() < until => {
                    assert_eq!(busy.code(), Code::ResourceExhausted, "{busy:?}");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Err(busy) => panic!("{busy:?}"),
            }
        };
        for _ in 0..3 {
            assert!(within_timeout(stream.message()).await.unwrap().is_some());
        }
    }
}
