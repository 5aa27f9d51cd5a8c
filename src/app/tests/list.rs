//! Lists: orders and pages.

use super::*;

/// The ids of the services of a page.
fn service_ids(page: &ServicePage) -> Vec<String> {
    page.iter()
        .map(|entry| entry.service.key.to_string())
        .collect()
}

/// The ids on each page of a list.
async fn all_pages(app: &App, sort: &str, size: u32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = None;
    loop {
        let list = ListServices {
            order: sort.parse().unwrap(),
            page_size: Some(size),
            page_token: token,
            ..ListServices::default()
        };
        let page = app.list_services(context(), list).await.unwrap().value;
        pages.push(service_ids(&page));
        token = page.next_page_token();
        assert!(pages.len() < 100, "the list ends");
        if token.is_none() {
            return pages;
        }
    }
}

/// Seven services with 3, 1, 3, 0, 3, 1, 2 connections, in the order of their ids.
async fn setup_seven() -> (FakeKernel, App) {
    let (kernel, app) = setup();
    for (n, connections) in (1..).zip([3, 1, 3, 0, 3, 1, 2]) {
        create_service(&app, &format!("tcp-192.0.2.{n}-80"), &["10.0.0.1-80"]).await;
        let counters = fake::Counters {
            connections,
            ..fake::Counters::default()
        };
        assert!(kernel.set_counters(id(&format!("192.0.2.{n}:80")), counters));
    }
    (kernel, app)
}

/// The ids of services of [`setup_seven`].
fn numbered(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|n| format!("tcp-192.0.2.{n}-80")).collect()
}

#[tokio::test]
async fn pages_cover_the_table_in_every_order() {
    let (kernel, app) = setup_seven().await;
    let stats = "stats.connections";
    for (sort, expected) in [
        ("id", ["1", "2", "3", "4", "5", "6", "7"]),
        ("-id", ["7", "6", "5", "4", "3", "2", "1"]),
        (stats, ["4", "2", "6", "7", "1", "3", "5"]),
        ("-stats.connections", ["1", "3", "5", "7", "2", "6", "4"]),
        ("rates.bytes_out", ["1", "2", "3", "4", "5", "6", "7"]),
        ("-rates.bytes_out", ["1", "2", "3", "4", "5", "6", "7"]),
    ] {
        let all = all_pages(&app, sort, 3).await;
        let sizes: Vec<_> = all.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 3, 1], "{sort}");
        assert_eq!(all.concat(), numbered(&expected), "{sort}");
        assert_eq!(all_pages(&app, sort, 1).await.concat(), numbered(&expected));
        let whole = all_pages(&app, sort, 7).await;
        assert_eq!(whole.len(), 1, "no empty page follows");
    }
    let order: Vec<_> = kernel.services().iter().map(|s| s.id).collect();
    let mut expected: Vec<_> = order
        .iter()
        .map(|id| match id {
            ServiceId::Address { address, .. } => {
                format!("tcp-{}-{}", address.ip(), address.port())
            }
            ServiceId::Mark { .. } => panic!("unexpected fwmark"),
        })
        .collect();
    assert_eq!(all_pages(&app, "kernel", 3).await.concat(), expected);
    expected.reverse();
    assert_eq!(all_pages(&app, "-kernel", 3).await.concat(), expected);
}

#[tokio::test]
async fn ids_are_ordered_by_protocol_address_and_port_with_marks_last() {
    let (_, app) = setup();
    let expected = [
        "tcp-10.0.0.9-80",
        "tcp-10.0.0.10-79",
        "tcp-10.0.0.10-80",
        "tcp-2001:db8::1-80",
        "udp-10.0.0.1-53",
        "sctp-10.0.0.1-53",
        "fwmark-2",
        "fwmark-10",
        "fwmark6-1",
    ];
    for service in expected.iter().rev() {
        create_service(&app, service, &[]).await;
    }
    assert_eq!(all_pages(&app, "id", 2).await.concat(), expected);
    let list = app
        .list_services(context(), ListServices::default())
        .await
        .unwrap();
    assert_eq!(service_ids(&list.value), expected, "the default order");
}

#[tokio::test]
async fn paging_continues_after_the_table_has_changed() {
    let (kernel, app) = setup_seven().await;
    let first = |sort: &str| ListServices {
        order: sort.parse().unwrap(),
        page_size: Some(3),
        ..ListServices::default()
    };
    let page = app
        .list_services(context(), first("id"))
        .await
        .unwrap()
        .value;
    let kernel_page = app
        .list_services(context(), first("kernel"))
        .await
        .unwrap()
        .value;
    // The last service of the page is deleted, and another is created before it.
    assert!(kernel.remove_service(id("192.0.2.3:80")));
    create_service(&app, "tcp-192.0.2.0-80", &[]).await;
    let next = ListServices {
        page_token: page.next_page_token(),
        ..first("id")
    };
    let next = app.list_services(context(), next).await.unwrap().value;
    assert_eq!(service_ids(&next), numbered(&["4", "5", "6"]));

    let last = kernel_page.iter().last().unwrap().service.key;
    app.delete_service(context(), last, true, NONE)
        .await
        .unwrap();
    let next = ListServices {
        page_token: kernel_page.next_page_token(),
        ..first("kernel")
    };
    let error = app.list_services(context(), next).await.unwrap_err();
    assert_eq!(fields(&error), ["page_token"]);
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn the_page_after_a_cut_starts_at_the_cut() {
    let (_, app) = setup_seven().await;
    let list = |token| ListServices {
        page_token: token,
        ..ListServices::default()
    };
    let page = app
        .list_services(context(), list(None))
        .await
        .unwrap()
        .value;
    assert_eq!(page.next_page_token(), None);
    assert_eq!(page.token_after(7), None);
    let rest = app
        .list_services(context(), list(page.token_after(2)))
        .await
        .unwrap()
        .value;
    assert_eq!(service_ids(&rest), numbered(&["3", "4", "5", "6", "7"]));
    let token = page.token_after(0);
    assert_eq!(token, page.token_after(1), "a page has at least one entry");
    assert!(token.is_some());

    create_service(
        &app,
        "fwmark-1",
        &["10.0.0.1-80", "10.0.0.2-80", "10.0.0.3-80"],
    )
    .await;
    let servers = |token| ListServers {
        page_token: token,
        ..ListServers::default()
    };
    let all = app
        .list_servers(context(), key("fwmark-1"), servers(None))
        .await
        .unwrap()
        .value;
    let cut = all.cut(1);
    let rest = servers(cut.next_page_token());
    let rest = app
        .list_servers(context(), key("fwmark-1"), rest)
        .await
        .unwrap()
        .value;
    let rest: Vec<_> = rest.servers.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(rest, ["10.0.0.2-80", "10.0.0.3-80"]);
}

#[tokio::test]
async fn invalid_page_tokens_sizes_and_orders_are_rejected() {
    let (_, app) = setup_seven().await;
    for bad in [
        "",
        "~",
        "x~0~tcp-192.0.2.1-80",
        "0~0~",
        "0~0~10.0.0.1-80",
        "0~0tcp-192.0.2.1-80",
    ] {
        let list = ListServices {
            page_token: Some(bad.to_owned()),
            ..ListServices::default()
        };
        let error = app.list_services(context(), list).await.unwrap_err();
        assert_eq!(fields(&error), ["page_token"], "{bad}");
    }

    let size = |page_size| {
        let list = ListServices {
            page_size,
            ..ListServices::default()
        };
        app.list_services(context(), list)
    };
    for good in [None, Some(0), Some(100_000)] {
        assert_eq!(size(good).await.unwrap().value.len(), 7);
    }
    assert_eq!(
        fields(&size(Some(100_001)).await.unwrap_err()),
        ["page_size"]
    );
    for bad in [
        "",
        "-",
        "--id",
        "ID",
        "stats",
        "stats.",
        "stats.cps",
        "rates.bytes_in.x",
    ] {
        assert_eq!(
            fields(&bad.parse::<Order>().unwrap_err()),
            ["sort"],
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_list_reads_only_what_it_includes() {
    let (kernel, app) = setup_seven().await;
    let list = |include| ListServices {
        include,
        ..ListServices::default()
    };
    kernel.reset_counts();
    let bare = Include {
        servers: false,
        ..Include::default()
    };
    let page = app
        .list_services(context(), list(bare))
        .await
        .unwrap()
        .value;
    assert_eq!(kernel.dumps(command::GET_DEST), 0);
    assert_eq!(page.estimation, None);
    let stats = Include {
        stats: true,
        ..Include::default()
    };
    let page = app
        .list_services(context(), list(stats))
        .await
        .unwrap()
        .value;
    assert_eq!(page.estimation, Some(true));
    assert_eq!(page.get(0).unwrap().servers.len(), 1);
    assert!(page.get(7).is_none());
    let cached = &cached_context();
    app.list_services(cached, list(stats)).await.unwrap();
    let dumps = kernel.dumps(command::GET_SERVICE);
    let answer = app.list_services(cached, list(stats)).await.unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), dumps);
    assert!(answer.age > Duration::ZERO);
}

#[tokio::test]
async fn servers_are_listed_in_pages_in_every_order() {
    let (kernel, app) = setup();
    let created = ["10.0.0.2-80", "10.0.0.10-80", "10.0.0.1-80", "10.0.0.1-79"];
    create_service(&app, "fwmark-1", &created).await;
    let mark = ServiceId::Mark {
        mark: 1,
        ipv6: false,
    };
    let busy = fake::Counters {
        connections: 5,
        ..fake::Counters::default()
    };
    let no_connections = fake::Connections::default();
    assert!(kernel.set_traffic(mark, socket("10.0.0.1:80"), no_connections, busy));
    for (sort, expected) in [
        ("kernel", created),
        (
            "-kernel",
            ["10.0.0.1-79", "10.0.0.1-80", "10.0.0.10-80", "10.0.0.2-80"],
        ),
        (
            "id",
            ["10.0.0.1-79", "10.0.0.1-80", "10.0.0.2-80", "10.0.0.10-80"],
        ),
        (
            "-stats.connections",
            ["10.0.0.1-80", "10.0.0.1-79", "10.0.0.2-80", "10.0.0.10-80"],
        ),
    ] {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let list = ListServers {
                order: sort.parse().unwrap(),
                page_size: Some(2),
                page_token: token,
                ..ListServers::default()
            };
            let page = app
                .list_servers(context(), key("fwmark-1"), list)
                .await
                .unwrap()
                .value;
            all.extend(page.servers.iter().map(|s| s.key.to_string()));
            token = page.next_page_token();
            if token.is_none() {
                break;
            }
        }
        assert_eq!(all, expected, "{sort}");
    }
    let missing = app
        .list_servers(context(), key(TCP), ListServers::default())
        .await;
    assert_eq!(reason(missing), Reason::ServiceNotFound);
}

#[tokio::test]
async fn a_page_token_is_valid_only_for_the_request_that_it_was_issued_for() {
    let (_, app) = setup_seven().await;
    let first = ListServices {
        page_size: Some(3),
        ..ListServices::default()
    };
    let page = app.list_services(context(), first.clone()).await.unwrap();
    let next = ListServices {
        page_token: page.value.next_page_token(),
        ..first
    };
    app.list_services(context(), next.clone()).await.unwrap();
    // The page size may change between pages.
    let larger = ListServices {
        page_size: Some(5),
        ..next.clone()
    };
    app.list_services(context(), larger).await.unwrap();
    let other_order = ListServices {
        order: "stats.connections".parse().unwrap(),
        ..next.clone()
    };
    let other_filter = ListServices {
        filter: Filter {
            port: Some(80),
            ..Filter::default()
        },
        ..next.clone()
    };
    let other_include = ListServices {
        include: Include {
            stats: true,
            ..Include::default()
        },
        ..next.clone()
    };
    for list in [other_order, other_filter, other_include] {
        let error = app.list_services(context(), list).await.unwrap_err();
        assert_eq!(fields(&error), ["page_token"]);
        assert!(error.detail.contains("other filters"), "{error}");
    }
    let other_principal = RequestContext {
        principal: principal("alice", Role::Admin),
        ..context().clone()
    };
    let result = app.list_services(&other_principal, next).await;
    assert_eq!(fields(&result.unwrap_err()), ["page_token"]);
}
