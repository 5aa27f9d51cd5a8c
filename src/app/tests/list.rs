//! Listings: filters, orders, pages.

use super::*;

fn listed(page: &ServicePage) -> Vec<String> {
    page.iter()
        .map(|entry| entry.service.key.to_string())
        .collect()
}

/// All pages of a listing, each with its ids.
async fn pages(app: &App, sort: &str, size: u32) -> Vec<Vec<String>> {
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
        pages.push(listed(&page));
        token = page.next_page_token();
        assert!(pages.len() < 100, "there is an end");
        if token.is_none() {
            return pages;
        }
    }
}

/// Seven services; connections 3 1 3 0 3 1 2 in the order of their ids.
async fn seven() -> (FakeKernel, App) {
    let (kernel, app) = house();
    for (n, connections) in (1..).zip([3, 1, 3, 0, 3, 1, 2]) {
        make(&app, &format!("tcp-192.0.2.{n}-80"), &["10.0.0.1-80"]).await;
        let counters = fake::Counters {
            connections,
            ..fake::Counters::default()
        };
        assert!(kernel.set_counters(id(&format!("192.0.2.{n}:80")), counters));
    }
    (kernel, app)
}

fn numbers(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|n| format!("tcp-192.0.2.{n}-80")).collect()
}

#[tokio::test]
async fn three_pages_make_up_the_table_in_every_order() {
    let (kernel, app) = seven().await;
    let stats = "stats.connections";
    for (sort, expected) in [
        ("id", ["1", "2", "3", "4", "5", "6", "7"]),
        ("-id", ["7", "6", "5", "4", "3", "2", "1"]),
        (stats, ["4", "2", "6", "7", "1", "3", "5"]),
        ("-stats.connections", ["1", "3", "5", "7", "2", "6", "4"]),
        ("rates.bytes_out", ["1", "2", "3", "4", "5", "6", "7"]),
        ("-rates.bytes_out", ["1", "2", "3", "4", "5", "6", "7"]),
    ] {
        let all = pages(&app, sort, 3).await;
        let sizes: Vec<_> = all.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 3, 1], "{sort}");
        assert_eq!(all.concat(), numbers(&expected), "{sort}");
        assert_eq!(pages(&app, sort, 1).await.concat(), numbers(&expected));
        let whole = pages(&app, sort, 7).await;
        assert_eq!(whole.len(), 1, "an exact fit has no empty page behind it");
    }
    let order: Vec<_> = kernel.services().iter().map(|s| s.id).collect();
    let mut expected: Vec<_> = order
        .iter()
        .map(|id| match id {
            ServiceId::Address { address, .. } => {
                format!("tcp-{}-{}", address.ip(), address.port())
            }
            ServiceId::Mark { .. } => panic!("none was made"),
        })
        .collect();
    assert_eq!(pages(&app, "kernel", 3).await.concat(), expected);
    expected.reverse();
    assert_eq!(pages(&app, "-kernel", 3).await.concat(), expected);
}

#[tokio::test]
async fn ids_are_ordered_by_protocol_address_and_port_with_marks_last() {
    let (_, app) = house();
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
        make(&app, service, &[]).await;
    }
    assert_eq!(pages(&app, "id", 2).await.concat(), expected);
    let list = app
        .list_services(context(), ListServices::default())
        .await
        .unwrap();
    assert_eq!(listed(&list.value), expected, "the default order");
}

#[tokio::test]
async fn paging_goes_on_where_it_was_when_the_table_changes() {
    let (kernel, app) = seven().await;
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
    // The last of the page before goes, another comes before it.
    assert!(kernel.remove_service(id("192.0.2.3:80")));
    make(&app, "tcp-192.0.2.0-80", &[]).await;
    let next = ListServices {
        page_token: page.next_page_token(),
        ..first("id")
    };
    let next = app.list_services(context(), next).await.unwrap().value;
    assert_eq!(listed(&next), numbers(&["4", "5", "6"]));

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
async fn a_page_cut_short_goes_on_after_the_cut() {
    let (_, app) = seven().await;
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
    assert_eq!(listed(&rest), numbers(&["3", "4", "5", "6", "7"]));
    let least = page.token_after(0);
    assert_eq!(least, page.token_after(1), "or paging would never end");
    assert!(least.is_some());

    make(
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
    let (_, app) = seven().await;
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
async fn a_listing_reads_what_it_includes_and_no_more() {
    let (kernel, app) = seven().await;
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
    let old = &context().clone().with_max_age(Duration::from_secs(60));
    app.list_services(old, list(stats)).await.unwrap();
    let sweeps = kernel.dumps(command::GET_SERVICE);
    let answer = app.list_services(old, list(stats)).await.unwrap();
    assert_eq!(kernel.dumps(command::GET_SERVICE), sweeps);
    assert!(answer.age > Duration::ZERO);
}

#[tokio::test]
async fn those_who_ask_alike_for_an_old_answer_get_the_same_page_and_what_is_made_of_it() {
    let (_, app) = seven().await;
    let old = &context().clone().with_max_age(Duration::from_secs(60));
    let get = async |page_size, context| {
        let list = ListServices {
            page_size: Some(page_size),
            ..ListServices::default()
        };
        app.list_services(context, list).await.unwrap().value
    };
    let page = get(3, old).await;
    assert!(page.is_shared());
    let made = page.get_or_render(|| Arc::new(1));
    let again = get(3, old).await.get_or_render(|| Arc::new(2));
    assert!(Arc::ptr_eq(&made, &again));
    assert!(Arc::ptr_eq(&made, &page.get_or_render(|| Arc::new(2))));
    assert_eq!(
        *page.get_or_render(|| "of another type"),
        *"of another type"
    );
    let other = get(4, old).await;
    assert_eq!((other.len(), other.is_shared()), (4, true));

    let fresh = get(3, context()).await;
    assert_eq!(*fresh.get_or_render(|| Arc::new(2)), 2);
    // There is room for four pages of a table.
    for size in 1..=4 {
        assert!(get(size, old).await.is_shared());
    }
    let fifth = get(5, old).await;
    assert_eq!((fifth.len(), fifth.is_shared()), (5, false));
}

#[tokio::test]
async fn a_large_page_is_not_kept_for_others() {
    let (kernel, app) = house();
    let service = id("192.0.2.1:80");
    assert!(kernel.add_service(fake::Service::new(service)));
    let mut add = |n: u32| {
        let address = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 80));
        assert!(kernel.add_destination(service, fake::Destination::new(address)));
    };
    (0..2047).for_each(&mut add);
    let old = &context().clone().with_max_age(Duration::from_secs(60));
    let list = || app.list_services(old, ListServices::default());
    assert!(list().await.unwrap().value.is_shared());
    add(2047);
    make(&app, "tcp-192.0.2.2-80", &[]).await;
    let page = list().await.unwrap().value;
    assert_eq!((page.len(), page.is_shared()), (2, false));
}

#[tokio::test]
async fn servers_are_listed_in_the_kernels_order_or_another_in_pages() {
    let (kernel, app) = house();
    let given = ["10.0.0.2-80", "10.0.0.10-80", "10.0.0.1-80", "10.0.0.1-79"];
    make(&app, "fwmark-1", &given).await;
    let mark = ServiceId::Mark {
        mark: 1,
        ipv6: false,
    };
    let busy = fake::Counters {
        connections: 5,
        ..fake::Counters::default()
    };
    let none = fake::Connections::default();
    assert!(kernel.set_traffic(mark, socket("10.0.0.1:80"), none, busy));
    for (sort, expected) in [
        ("kernel", given),
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
    let (_, app) = seven().await;
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
        principal: Principal::System("test"),
        ..context().clone()
    };
    let result = app.list_services(&other_principal, next).await;
    assert_eq!(fields(&result.unwrap_err()), ["page_token"]);
}
