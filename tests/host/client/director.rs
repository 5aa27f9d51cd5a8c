//! Timeouts, sync daemons, settings, counters, rules, information.

use ipvsd::{
    client::{
        ConnectionQuery, ProblemReason, RestoreEvent, RestoreMode, RestoreRequest, ServiceSpec,
        StatsQuery, TimeoutsPatch,
    },
    model::{
        CountBy, Errno, Field, Reason, SettingValue, Settings, SyncDaemonConfig, SyncState,
        Timeouts,
    },
};

use super::{
    allow_missing, assert_invalid, assert_refused, delete, outcome, server, server_spec, service,
    setup, write,
};

#[test]
fn timeouts_are_updated_field_by_field() {
    let (_daemon, client) = setup();
    assert_eq!(client.timeouts().unwrap().value, Timeouts::DEFAULT);
    let patch = TimeoutsPatch {
        tcp_fin_seconds: Field::Set(60),
        ..TimeoutsPatch::default()
    };
    client.update_timeouts(&patch, &write()).unwrap();
    let patch = TimeoutsPatch {
        tcp_seconds: Field::Set(1800),
        ..TimeoutsPatch::default()
    };
    let updated = client.update_timeouts(&patch, &write()).unwrap();
    assert_eq!(outcome(&updated), (false, true));
    assert_eq!(updated.value.tcp_fin_seconds, 60);
    assert_eq!(updated.value.tcp_seconds, 1800);
    assert_eq!(updated.value.udp_seconds, Timeouts::DEFAULT.udp_seconds);
    let patch = TimeoutsPatch {
        tcp_seconds: Field::Clear,
        udp_seconds: Field::Set(0),
        ..TimeoutsPatch::default()
    };
    let result = client.update_timeouts(&patch, &write());
    assert_invalid(result, &["udp_seconds"]);
    assert_eq!(client.timeouts().unwrap().value, updated.value);
}

#[test]
fn sync_daemons_are_started_restarted_and_stopped() {
    let (_daemon, client) = setup();
    assert_eq!(client.sync_daemons().unwrap(), []);
    let mut config = SyncDaemonConfig::new(SyncState::Master, "lo".parse().unwrap());
    config.sync_id = 7;
    config.max_length = Some(1400);
    let started = client.start_sync_daemon(&config, &write()).unwrap();
    assert_eq!(outcome(&started), (true, true));
    assert_eq!((started.value.sync_id, started.value.max_length), (7, 1400));
    let again = client.start_sync_daemon(&config, &write()).unwrap();
    assert_eq!(outcome(&again), (false, false));
    config.multicast_port = 9000;
    let restarted = client.start_sync_daemon(&config, &write()).unwrap();
    assert_eq!(outcome(&restarted), (false, true));
    let read = client.sync_daemon(SyncState::Master).unwrap();
    assert_eq!((read.value, read.etag), (restarted.value, restarted.etag));
    assert_eq!(client.sync_daemons().unwrap(), [read.value]);
    config.sync_id = 256;
    let result = client.start_sync_daemon(&config, &write());
    assert_invalid(result, &["sync_id"]);

    client
        .stop_sync_daemon(SyncState::Master, &delete())
        .unwrap();
    let result = client.sync_daemon(SyncState::Master);
    assert_refused(result, Reason::SyncDaemonNotRunning);
    let result = client.stop_sync_daemon(SyncState::Master, &delete());
    assert_refused(result, Reason::SyncDaemonNotRunning);
    client
        .stop_sync_daemon(SyncState::Master, &allow_missing())
        .unwrap();
}

#[test]
fn settings_are_updated_by_name() {
    let (_daemon, client) = setup();
    let setting = |name: &str, value| Settings::from([(name.to_owned(), value)]);
    let on = setting("expire_nodest_conn", SettingValue::Bool(true));
    let updated = client.update_settings(&on, &write()).unwrap();
    assert_eq!(outcome(&updated), (false, true));
    assert_eq!(updated.value, client.settings().unwrap());
    assert_eq!(
        updated.value["expire_nodest_conn"],
        SettingValue::Bool(true)
    );
    let pair = setting("sync_threshold", SettingValue::Pair([50, 3]));
    let result = client.update_settings(&pair, &write());
    assert_invalid(result, &["sync_threshold"]);
}

#[test]
fn counters_are_zeroed() {
    let (_daemon, client) = setup();
    client
        .create_service(&ServiceSpec::new(service()), &write())
        .unwrap();
    client.zero(&write()).unwrap();
    client.zero_service(service(), &write()).unwrap();
    let missing = "udp-192.0.2.1-53".parse().unwrap();
    let result = client.zero_service(missing, &write());
    assert_refused(result, Reason::ServiceNotFound);
}

#[test]
fn rules_are_restored_and_saved() {
    let (_daemon, client) = setup();
    let restore = |text: &str, dry_run| {
        client.restore(RestoreRequest {
            text: text.into(),
            dry_run,
            ..RestoreRequest::default()
        })
    };
    let text = "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:80 -s rr\n";
    let events: Vec<_> = restore(text, false).unwrap().map(Result::unwrap).collect();
    let [RestoreEvent::Refused(refused), .., RestoreEvent::End(end)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((refused.line, refused.errno()), (2, Some(Errno::EEXIST)));
    assert_eq!(end.difference, None);
    assert_eq!(refused.reason, ProblemReason::Known(Reason::ServiceExists));
    assert_eq!((end.commands, end.done, end.refused), (2, 1, 1));
    let result = restore("-A -t 192.0.2.2:80\nnonsense\n", false);
    assert_invalid(result, &["lines[2]"]);
    let checked = restore("-A -t 192.0.2.2:80\n", true).unwrap();
    assert!(
        checked
            .map(Result::unwrap)
            .all(|event| !matches!(event, RestoreEvent::Refused(_)))
    );

    let mut rules = Vec::new();
    client.write_rules(&mut rules, true).unwrap();
    assert_eq!(rules, b"-A -t 192.0.2.1:80 -s rr\n");

    let replace = |text: &[u8], dry_run| {
        let request = RestoreRequest {
            text: text.to_vec(),
            mode: RestoreMode::Replace,
            dry_run,
            ..RestoreRequest::default()
        };
        let events = client.restore(request).unwrap().map(Result::unwrap);
        match events.last() {
            Some(RestoreEvent::End(end)) => end.difference.unwrap(),
            event => panic!("{event:?}"),
        }
    };
    let same = replace(&rules, false);
    assert!(!same.changed && same.unchanged == 1);
    let planned = replace(b"-A -f 7\n", true);
    assert_eq!((planned.created, planned.deleted), (1, 1));
    assert!(!replace(&rules, false).changed, "a dry run changes nothing");
    let mut listing = Vec::new();
    client
        .write_listing(&mut listing, Default::default())
        .unwrap();
    assert!(listing.starts_with(b"IP Virtual Server version"));
}

#[test]
fn information_statistics_and_connections_are_read() {
    let (_daemon, client) = setup();
    client
        .create_service(&ServiceSpec::new(service()), &write())
        .unwrap();
    client
        .create_server(service(), &server_spec(1, 1), &write())
        .unwrap();
    let info = client.info().unwrap();
    assert_eq!(info.kernel.kind, "fake");
    assert!(info.schedulers.iter().any(|s| s.name == "wlc"));
    let query = StatsQuery {
        top: Some(1),
        sort: Some("-stats.bytes_in".to_owned()),
    };
    let stats = client.stats(&query).unwrap();
    assert_eq!((stats.service_count, stats.server_count), (1, 1));
    assert_eq!(stats.top_services[0].id, service());
    assert_eq!(stats.top_servers[0].id, server(1));
    let query = StatsQuery {
        top: Some(101),
        sort: None,
    };
    assert_invalid(client.stats(&query), &["top"]);

    let query = ConnectionQuery::default();
    assert_eq!(client.connections(&query).unwrap().count(), 0);
    let counts = client.count_connections(&query, CountBy::State);
    assert_eq!(counts.unwrap(), []);
    let query = ConnectionQuery {
        filters: vec![("client", "nowhere".to_owned())],
        limit: None,
    };
    assert_invalid(client.connections(&query).map(|_| ()), &["client"]);
}
