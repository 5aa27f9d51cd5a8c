//! Timeouts, connections, errors.

use serde_json::json;

use super::*;

fn timeouts(json: Value) -> Result<Timeouts, Error> {
    let base = Timeouts {
        tcp_seconds: 10,
        tcp_fin_seconds: 20,
        udp_seconds: 30,
    };
    serde_json::from_value::<TimeoutsDraft>(json)
        .unwrap()
        .update(base)
}

#[test]
fn an_absent_timeout_is_kept_and_null_sets_the_default() {
    let all = |tcp_seconds, tcp_fin_seconds, udp_seconds| Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    };
    assert_eq!(timeouts(json!({})).unwrap(), all(10, 20, 30));
    assert_eq!(
        timeouts(json!({"tcp_fin_seconds": 5})).unwrap(),
        all(10, 5, 30)
    );
    let nulls = json!({"tcp_seconds": null, "tcp_fin_seconds": null, "udp_seconds": null});
    assert_eq!(timeouts(nulls).unwrap(), all(900, 120, 300));
    let edges = json!({"tcp_seconds": 1, "udp_seconds": 2_678_400, "etag": "r-x", "changed": 1});
    assert_eq!(timeouts(edges).unwrap(), all(1, 20, 2_678_400));
    assert!(serde_json::from_value::<TimeoutsDraft>(json!({"tcp": 5})).is_err());
}

#[test]
fn a_timeout_of_0_is_rejected() {
    let wrong = json!({"tcp_seconds": 0, "tcp_fin_seconds": -1, "udp_seconds": 2_678_401});
    let error = timeouts(wrong).unwrap_err();
    assert!(error.violations[0].message.contains("omit the field"));
    assert_eq!(
        fields::<()>(Err(error)),
        ["tcp_seconds", "tcp_fin_seconds", "udp_seconds"]
    );
    assert_eq!(
        fields(timeouts(json!({"udp_seconds": i64::MAX}))),
        ["udp_seconds"]
    );
}

#[test]
fn connections_are_filtered_by_each_field() {
    let endpoint = |text: &str| {
        let socket: std::net::SocketAddr = text.parse().unwrap();
        Endpoint {
            address: socket.ip(),
            port: socket.port(),
        }
    };
    let connection = Connection {
        protocol: ConnectionProtocol::Service(Protocol::Tcp),
        client: endpoint("192.0.2.10:40000"),
        service: ConnectionService::Address(endpoint("10.0.0.1:80")),
        destination: endpoint("[2001:db8::a]:8080"),
        state: "ESTABLISHED".into(),
        template: false,
        invalidated: false,
        expires_in_seconds: 5,
        persistence_engine: None,
        persistence_data: None,
    };
    let any = ConnectionFilter::default;
    let at = |text: &str| Some(text.parse::<EndpointFilter>().unwrap());
    for (filter, passes) in [
        (any(), true),
        (
            ConnectionFilter {
                protocol: Some("tcp".parse().unwrap()),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                protocol: Some("icmp".parse().unwrap()),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                client: at("192.0.2.10"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                client: at("192.0.2.10:40000"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                client: at("192.0.2.10:40001"),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                virtual_address: at("10.0.0.1:80"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                virtual_address: at("10.0.0.2"),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                fwmark: Some(9),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                destination: at("2001:DB8::a"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                destination: at("[2001:db8::a]"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                destination: at("[2001:db8::a]:8080"),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                destination: at("[2001:db8::a]:80"),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                state: Some("established".into()),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                state: Some("ESTAB".into()),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                templates: Some(false),
                ..any()
            },
            true,
        ),
        (
            ConnectionFilter {
                templates: Some(true),
                ..any()
            },
            false,
        ),
        (
            ConnectionFilter {
                client: at("192.0.2.10"),
                state: Some("UDP".into()),
                ..any()
            },
            false,
        ),
    ] {
        assert_eq!(filter.matches(&connection), passes, "{filter:?}");
    }
    for (by, group) in [
        ("protocol", "tcp"),
        ("client", "192.0.2.10"),
        ("virtual", "10.0.0.1:80"),
        ("destination", "[2001:db8::a]:8080"),
        ("state", "ESTABLISHED"),
    ] {
        assert_eq!(by.parse::<CountBy>().unwrap().group(&connection), group);
    }
    assert_eq!(fields("server".parse::<CountBy>()), ["count_by"]);
    for bad in [
        "",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "2001:db8::1:x",
        "host:80",
    ] {
        assert!(bad.parse::<EndpointFilter>().is_err(), "{bad}");
    }
}

#[test]
fn below_prefixes_field_paths() {
    let paths = |error: Error| fields::<()>(Err(error.below("servers[2]")));
    assert_eq!(paths(Error::invalid("weight", "x")), ["servers[2].weight"]);
    assert_eq!(paths(Error::invalid("", "x")), ["servers[2]"]);
    assert_eq!(paths(Error::invalid("[1]", "x")), ["servers[2][1]"]);
    let kept = Error::invalid("a", "x")
        .with_errno(Errno::EINVAL)
        .with_hint("h")
        .below("b");
    assert_eq!(
        (kept.errno, kept.hint.as_deref()),
        (Some(Errno::EINVAL), Some("h"))
    );
    // An error without a field gets the path as its field. The reason is unchanged.
    let whole = Error::new(Reason::ServerExists, "there").below("servers[2]");
    assert_eq!(whole.reason, Reason::ServerExists);
    assert_eq!(whole.violations, [Violation::new("servers[2]", "there")]);
    let scheduler = Error::new(Reason::SchedulerUnavailable, "none such")
        .with_violation("scheduler", "x")
        .below("services[0]");
    assert_eq!(scheduler.reason, Reason::SchedulerUnavailable);
    assert_eq!(scheduler.detail, "none such");
    assert_eq!(scheduler.violations[0].field, "services[0].scheduler");
}

#[test]
fn names_of_reasons_and_errnos_are_unique() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    let titles: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.title()).collect();
    assert_eq!(titles.len(), Reason::ALL.len());
    assert_eq!(Errno::ESRCH.to_string(), "ESRCH");
    assert_eq!(Errno(101).to_string(), "ENETUNREACH");
    assert_eq!(
        Errno(71).to_string(),
        "EPROTO",
        "what this program itself says"
    );
    assert_eq!(Errno(4095).to_string(), "errno 4095");
}
