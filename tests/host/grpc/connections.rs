use std::time::Instant;

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{SOON, refused, soon, stage, text};

fn lines() -> Vec<String> {
    [
        "TCP C6336401 C350 C0000201 0050 C0A80A01 0050 ESTABLISHED     899",
        "TCP C6336402 C351 C0000201 0050 C0A80A02 0050 FIN_WAIT         12",
        "UDP C6336401 C352 C0000202 0035 C0A80A01 0035 UDP             299 sip call@one",
        "TCP C6336400 0000 C0000201 0050 C0A80A01 0050 NONE            100",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test]
async fn connections_are_streamed_one_by_one_as_the_kernel_has_them() {
    let mut stage = stage().await;
    stage.kernel.set_connections(lines());
    let all = stage
        .client
        .list_connections(pb::ListConnectionsRequest::default())
        .await;
    let mut all = all.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(connection) = soon(all.message()).await.unwrap() {
        told.push(connection);
    }
    assert_eq!(told.len(), 4);
    let first = &told[0];
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
    assert_eq!(told[2].persistence_data.as_deref(), Some("call@one"));
    assert!(told[3].template);
}

#[tokio::test]
async fn connections_are_filtered_limited_and_counted() {
    let mut stage = stage().await;
    stage.kernel.set_connections(lines());
    let mut request = pb::ListConnectionsRequest {
        filter: Some(pb::ConnectionFilter {
            client: text("198.51.100.1"),
            state: text("established"),
            ..pb::ConnectionFilter::default()
        }),
        limit: None,
    };
    let mut some = stage
        .client
        .list_connections(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(some.message().await.unwrap().is_some());
    assert!(some.message().await.unwrap().is_none());
    request = pb::ListConnectionsRequest {
        filter: None,
        limit: Some(2),
    };
    let mut some = stage
        .client
        .list_connections(request)
        .await
        .unwrap()
        .into_inner();
    assert!(some.message().await.unwrap().is_some());
    assert!(some.message().await.unwrap().is_some());
    assert!(some.message().await.unwrap().is_none());
    let mut count = pb::CountConnectionsRequest {
        filter: None,
        count_by: "protocol".to_owned(),
    };
    let answer = stage
        .client
        .count_connections(count.clone())
        .await
        .unwrap()
        .into_inner();
    let counts: Vec<_> = answer
        .counts
        .iter()
        .map(|c| (c.group.as_str(), c.count))
        .collect();
    assert_eq!(counts, [("tcp", 3), ("udp", 1)]);
    count.count_by = "colour".to_owned();
    let outcome = stage.client.count_connections(count).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["count_by"],
    );
}

#[tokio::test]
async fn a_filter_that_cannot_be_understood_is_refused_by_its_field() {
    type Change = fn(&mut pb::ConnectionFilter);
    let wrong: [(&str, Change); 3] = [
        ("filter.protocol", |f| f.protocol = text("tpc")),
        ("filter.client", |f| f.client = text("192.0.2")),
        ("filter.destination", |f| f.destination = text("[::1")),
    ];
    let mut stage = stage().await;
    for (field, change) in wrong {
        let mut filter = pb::ConnectionFilter::default();
        change(&mut filter);
        let request = pb::ListConnectionsRequest {
            filter: Some(filter),
            limit: None,
        };
        let outcome = stage.client.list_connections(request).await;
        refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_reading() {
    let mut stage = stage().await;
    let endless = "TCP C6336401 C350 C0000201 0050 C0A80A01 0050 ESTABLISHED     899".to_owned();
    stage
        .kernel
        .set_connection_source(move || Box::new(std::iter::repeat(endless.clone())));
    // More than the daemon reads at a time: each must have ended for the next to be let in.
    let until = Instant::now() + SOON;
    for _ in 0..10 {
        let mut stream = loop {
            let request = pb::ListConnectionsRequest::default();
            match stage.client.list_connections(request).await {
                Ok(stream) => break stream.into_inner(),
                Err(busy) if Instant::now() < until => {
                    assert_eq!(busy.code(), Code::ResourceExhausted, "{busy:?}");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Err(busy) => panic!("{busy:?}"),
            }
        };
        for _ in 0..100 {
            assert!(soon(stream.message()).await.unwrap().is_some());
        }
    }
}
