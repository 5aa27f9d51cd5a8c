//! Pages that requests with a maximum age share, and their renderings.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{tables::apply, *};
use crate::executor::TableQuery;

/// A kernel with five services.
async fn setup_five() -> (FakeKernel, App) {
    let (kernel, app) = setup();
    for n in 1..=5 {
        create_service(&app, &format!("tcp-192.0.2.{n}-80"), &["10.0.0.1-80"]).await;
    }
    (kernel, app)
}

/// The first page of a list in its default order.
async fn page(app: &App, context: &RequestContext, page_size: u32) -> Arc<ServicePage> {
    let list = ListServices {
        page_size: Some(page_size),
        ..ListServices::default()
    };
    app.list_services(context, list).await.unwrap().value
}

/// The rendering of a page: `text`, unless the page has one already.
fn render(page: &ServicePage, text: &str) -> String {
    page.get_or_render(|| text.to_owned())
}

#[tokio::test]
async fn requests_with_a_max_age_share_one_rendering() {
    let (_, app) = setup_five().await;
    let cached = &cached_context();
    let first = page(&app, cached, 3).await;
    assert!(first.is_shared());
    assert_eq!(render(&first, "first"), "first");
    let second = page(&app, cached, 3).await;
    assert_eq!(render(&second, "second"), "first");
    assert_eq!(render(&first, "third"), "first");
    assert_eq!(second.get_or_render(|| 2), 2, "another type");
    assert_eq!(second.len(), 3);
    // Another page of the same table.
    let other = page(&app, cached, 4).await;
    assert_eq!((other.len(), other.is_shared()), (4, true));
    assert_eq!(render(&other, "other"), "other");
}

#[tokio::test]
async fn a_fresh_request_gets_a_rendering_of_its_own_table() {
    let (_, app) = setup_five().await;
    let fresh = page(&app, context(), 3).await;
    assert!(!fresh.is_shared(), "no request accepts an old table");
    assert_eq!(render(&fresh, "first"), "first");
    assert_eq!(render(&fresh, "second"), "second");
    let cached = page(&app, &cached_context(), 3).await;
    assert_eq!(render(&cached, "cached"), "cached");
    let fresh = page(&app, context(), 3).await;
    assert_eq!(render(&fresh, "fresh"), "fresh");
    // The fresh table replaces the cached one.
    let cached = page(&app, &cached_context(), 3).await;
    assert_eq!(render(&cached, "cached"), "fresh");
}

#[tokio::test]
async fn concurrent_requests_render_a_shared_page_once() {
    const THREADS: usize = 8;
    let (_, app) = setup_five().await;
    let page = page(&app, &cached_context(), 3).await;
    let (ready, renderings) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                ready.fetch_add(1, Ordering::Relaxed);
                page.get_or_render(|| {
                    renderings.fetch_add(1, Ordering::Relaxed);
                    // Until the others call `get_or_render` too.
                    while ready.load(Ordering::Relaxed) < THREADS {
                        std::thread::yield_now();
                    }
                    (0..1000).for_each(|_| std::thread::yield_now());
                });
            });
        }
    });
    assert_eq!(renderings.into_inner(), 1);
}

#[tokio::test]
async fn an_own_write_drops_the_renderings() {
    let (_, app) = setup_five().await;
    let cached = &cached_context();
    let before = page(&app, cached, 10).await;
    render(&before, "before");
    create_service(&app, "tcp-192.0.2.9-80", &[]).await;
    let after = page(&app, cached, 10).await;
    assert_eq!(render(&after, "after"), "after");
    assert_eq!((before.len(), after.len()), (5, 6));
    assert!(after.is_shared());
}

#[tokio::test]
async fn lists_with_and_without_servers_are_shared_apart() {
    let (_, app) = setup_five().await;
    let get = async |servers, text| {
        let include = Include {
            servers,
            ..Include::default()
        };
        let list = ListServices {
            include,
            ..ListServices::default()
        };
        let page = app.list_services(&cached_context(), list).await.unwrap();
        render(&page.value, text)
    };
    assert_eq!(get(true, "with").await, "with");
    assert_eq!(get(false, "without").await, "without");
    assert_eq!(get(true, "again").await, "with");
    assert_eq!(get(false, "again").await, "without");
}

#[tokio::test]
async fn the_old_table_is_freed_before_the_next_is_read() {
    let (kernel, app) = setup_five().await;
    let cached = cached_context();
    let page_1 = page(&app, &cached, 3).await;
    assert_eq!(render(&page_1, "page"), "page");
    drop(page_1);
    let table = {
        let table = app.read(&cached, TableQuery).await.unwrap();
        assert!(table.kept);
        Arc::downgrade(&table.value)
    };
    assert!(table.upgrade().is_some(), "the executor keeps it");
    // The number of references at the start of the next dump.
    let counts = Arc::new(Mutex::new(Vec::new()));
    let (log, old) = (counts.clone(), table.clone());
    let record = Fault::before(move |_| log.lock().unwrap().push(old.strong_count()));
    kernel
        .faults()
        .once(On::Command(command::GET_SERVICE), record);
    let expired = context().clone().with_max_age(Duration::from_nanos(1));
    assert!(page(&app, &expired, 3).await.is_shared());
    assert_eq!(*counts.lock().unwrap(), [0]);
}

#[tokio::test]
async fn at_most_four_pages_of_a_table_are_shared() {
    let (_, app) = setup_five().await;
    let cached = &cached_context();
    for _ in 0..2 {
        for size in 1..=4 {
            assert!(page(&app, cached, size).await.is_shared(), "{size}");
        }
        let fifth = page(&app, cached, 5).await;
        assert_eq!((fifth.len(), fifth.is_shared()), (5, false));
    }
    // The next table has four pages of its own.
    create_service(&app, "tcp-192.0.2.9-80", &[]).await;
    assert!(page(&app, cached, 5).await.is_shared());
}

#[tokio::test]
async fn a_page_of_more_than_2048_entries_is_not_shared() {
    let (kernel, app) = setup();
    let service = id("192.0.2.1:80");
    assert!(kernel.add_service(fake::Service::new(service)));
    let add_server = |n: u32| {
        let address = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + n), 80));
        assert!(kernel.add_destination(service, fake::Destination::new(address)));
    };
    (0..2047).for_each(add_server);
    let cached = &cached_context();
    assert!(page(&app, cached, 10).await.is_shared());
    add_server(2047);
    // A write, so that the table is read again.
    create_service(&app, "tcp-192.0.2.2-80", &[]).await;
    let large = page(&app, cached, 10).await;
    assert_eq!((large.len(), large.is_shared()), (2, false));
    // A page without the large service.
    let list = ListServices {
        order: "-id".parse().unwrap(),
        page_size: Some(1),
        ..ListServices::default()
    };
    let small = app.list_services(cached, list).await.unwrap().value;
    assert_eq!((small.len(), small.is_shared()), (1, true));
}

#[tokio::test]
async fn principals_share_no_page() {
    let (_, app) = setup_five().await;
    let system = cached_context();
    let alice = RequestContext {
        principal: principal("alice", Role::Admin),
        ..system.clone()
    };
    for context in [&system, &alice] {
        let first = page(&app, context, 3).await;
        assert!(first.is_shared());
        // The token is valid for the principal that has requested the page.
        let next = ListServices {
            page_size: Some(3),
            page_token: first.next_page_token(),
            ..ListServices::default()
        };
        let next = app.list_services(context, next).await.unwrap().value;
        assert_eq!(next.len(), 2);
    }
}

#[tokio::test]
async fn tables_are_listed_in_pages() {
    let (_, app) = setup();
    for name in ["a", "b", "c"] {
        apply(&app, name, json!([])).await;
    }
    let mut list = ListTables {
        page_size: Some(2),
        page_token: None,
    };
    let mut names = Vec::new();
    for (len, has_next) in [(2, true), (1, false)] {
        let page = app.declared_tables(context(), &list).await.unwrap();
        assert_eq!(page.entries.len(), len);
        let owners = page
            .entries
            .iter()
            .map(|report| report.table.owner.to_string());
        names.extend(owners);
        list.page_token = page.next_page_token();
        assert_eq!(list.page_token.is_some(), has_next);
        // A table that appears before the next page moves nothing.
        apply(&app, "a2", json!([])).await;
    }
    assert_eq!(names, ["a", "b", "c"]);
    // A response that is too small for the page ends before.
    let all = ListTables::default();
    let page = app.declared_tables(context(), &all).await.unwrap().cut(1);
    list.page_token = page.next_page_token();
    let next = app.declared_tables(context(), &list).await.unwrap();
    assert_eq!(next.entries[0].table.owner.as_str(), "a2");
    // The token of another principal, or of another list, is none of this one.
    let viewer = RequestContext {
        principal: principal("v", Role::Viewer),
        ..context().clone()
    };
    let refused = app.declared_tables(&viewer, &list).await.unwrap_err();
    assert_eq!(fields(&refused), ["page_token"]);
    let holds = ListHolds {
        page_token: list.page_token,
        ..ListHolds::default()
    };
    assert_eq!(
        fields(&app.list_drains(context(), &holds).unwrap_err()),
        ["page_token"]
    );
}
