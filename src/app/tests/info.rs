//! Info, readiness, statistics, connections.

use futures_util::StreamExt;

use super::*;

#[tokio::test]
async fn info_describes_the_daemon_and_the_kernel() {
    let (kernel, app) = setup();
    kernel.set_file("sys/kernel/osrelease", "6.1.0-37-amd64\n");
    kernel.set_file(
        "modules",
        "ip_vs_pe_sip 16384 0 - Live 0x0\nip_vs_rr 16384 3 - Live 0x0\nip_vs 1 2 ip_vs_rr, Live 0x0\n\
         nf_conntrack 1 1 - Live 0x0\n",
    );
    let info = app.info(context()).await.unwrap().value;
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (info.commit.as_str(), info.build_date.as_str()),
        (crate::version::COMMIT, crate::version::DATE)
    );
    assert_eq!(info.namespace, None);
    assert_eq!(info.kernel.release, "6.1.0-37-amd64");
    assert_eq!(info.kernel.ipvs_version, "1.2.1");
    assert_eq!(info.kernel.connection_table_size, 4096);
    assert!(info.kernel.estimation);
    assert_eq!(info.kernel.features, ["conntrack"]);
    assert_eq!(info.persistence_engines, ["sip"]);
    let loaded: Vec<_> = info
        .schedulers
        .iter()
        .filter(|s| s.loaded)
        .map(|s| &*s.name)
        .collect();
    assert_eq!(loaded, ["rr"]);
    assert!(info.schedulers.iter().all(|s| s.name != "none"));
    kernel.faults().unload();
    assert_eq!(reason(app.info(context()).await), Reason::KernelUnavailable);
}

#[tokio::test]
async fn readiness_is_at_most_a_second_old() {
    let (kernel, app) = setup();
    app.ready().await.unwrap();
    let count = kernel.commands(command::GET_INFO);
    app.ready().await.unwrap();
    assert!(kernel.commands(command::GET_INFO) <= count + 1);
    let (kernel, app) = setup();
    kernel.faults().set_permitted(false);
    assert_eq!(reason(app.ready().await), Reason::KernelUnavailable);
    kernel.faults().set_permitted(true);
    app.ready().await.unwrap();
}

#[tokio::test]
async fn statistics_include_totals_and_the_top_entries() {
    let (kernel, app) = setup();
    for n in 1..=5_u64 {
        let service = format!("tcp-192.0.2.{n}-80");
        create_service(&app, &service, &["10.0.0.1-80", "10.0.0.2-80"]).await;
        let id = id(&format!("192.0.2.{n}:80"));
        let counters = |n: u64| fake::Counters {
            connections: n % 4,
            in_byte_rate: n,
            ..fake::Counters::default()
        };
        let open = fake::Connections {
            active: 10,
            inactive: 1,
            persistent: 100,
        };
        assert!(kernel.set_counters(id, counters(n)));
        for server in 1..=2_u64 {
            let address = socket(&format!("10.0.0.{server}:80"));
            assert!(kernel.set_traffic(id, address, open, counters(10 * n + server)));
        }
    }
    kernel.set_totals(fake::Counters {
        connections: u64::MAX,
        in_byte_rate: 77,
        ..fake::Counters::default()
    });
    let stats = |top, by: &str| {
        let by = by.parse().unwrap();
        let filter = KeptFilter::default();
        app.stats(context(), StatsRequest { top, by, filter })
    };
    let report = stats(3, "-rates.bytes_in").await.unwrap().value;
    assert_eq!(
        (report.stats.connections, report.rates.bytes_in),
        (u64::MAX, 77)
    );
    assert!(report.estimation);
    assert_eq!((report.service_count, report.server_count), (5, 10));
    assert_eq!(
        (report.active_connections, report.inactive_connections),
        (100, 10)
    );
    let tops: Vec<_> = report
        .top_services
        .iter()
        .map(|t| t.id.to_string())
        .collect();
    assert_eq!(
        tops,
        ["tcp-192.0.2.5-80", "tcp-192.0.2.4-80", "tcp-192.0.2.3-80"]
    );
    let tops: Vec<_> = report
        .top_servers
        .iter()
        .map(|t| t.rates.bytes_in)
        .collect();
    assert_eq!(tops, [52, 51, 42]);
    let ascending = stats(2, "stats.connections").await.unwrap().value;
    let values: Vec<_> = ascending
        .top_services
        .iter()
        .map(|t| t.stats.connections)
        .collect();
    assert_eq!(values, [0, 1], "ascending without a minus sign");
    let none = stats(0, "-stats.connections").await.unwrap().value;
    assert!(none.top_services.is_empty() && none.top_servers.is_empty());
    let all = stats(100, "-stats.connections").await.unwrap().value;
    assert_eq!((all.top_services.len(), all.top_servers.len()), (5, 10));
    assert_eq!(
        fields(&stats(101, "-stats.connections").await.unwrap_err()),
        ["top"]
    );
    assert_eq!(fields(&stats(1, "id").await.unwrap_err()), ["sort"]);
    kernel.set_file("sys/net/ipv4/vs/est_cpulist", "\n");
    assert!(!app.info(context()).await.unwrap().value.kernel.estimation);
    kernel.set_file("sys/net/ipv4/vs/est_cpulist", "0-3\n");
    assert!(app.info(context()).await.unwrap().value.kernel.estimation);
    kernel.set_file("sys/net/ipv4/vs/run_estimation", "0\n");
    assert!(
        !stats(1, "-stats.connections")
            .await
            .unwrap()
            .value
            .estimation
    );
}

#[tokio::test]
async fn connections_are_listed_and_counted() {
    let (kernel, app) = setup();
    let lines = (0..10)
        .map(|n| format!("TCP C000020A 9C4{n} 0A000001 0050 0A010102 1F90 ESTABLISHED     895"));
    kernel.set_connections(lines.collect());
    let app = &app;
    let list = |filter, limit| async move {
        let stream = app.connections(context(), filter, limit).await.unwrap();
        let chunks: Vec<_> = stream.collect().await;
        chunks
            .into_iter()
            .flat_map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(ConnectionFilter::default(), None).await.len(), 10);
    assert_eq!(list(ConnectionFilter::default(), Some(4)).await.len(), 4);
    let client = ConnectionFilter {
        client: Some("192.0.2.10:40003".parse().unwrap()),
        ..ConnectionFilter::default()
    };
    assert_eq!(list(client, None).await.len(), 1);
    let count = app.count_connections(context(), ConnectionFilter::default(), CountBy::Client);
    let expected = Count {
        group: "192.0.2.10".to_owned(),
        count: 10,
    };
    assert_eq!(count.await.unwrap(), [expected]);

    kernel.set_connection_source(|| Box::new(std::iter::repeat(String::new())));
    // A table without end.
    let short = RequestContext::new(RequestId::new("test"), Duration::from_millis(50));
    let count = app.count_connections(&short, ConnectionFilter::default(), CountBy::Client);
    let error = count.await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(error.hint.is_some());
    kernel.set_connections(Vec::new());

    kernel.faults().set_permitted(false);
    let result = app
        .connections(context(), ConnectionFilter::default(), None)
        .await;
    assert_eq!(reason(result), Reason::KernelUnavailable);
    let filter = ConnectionFilter::default();
    let result = app
        .count_connections(context(), filter, CountBy::State)
        .await;
    assert_eq!(reason(result), Reason::KernelUnavailable);
}
