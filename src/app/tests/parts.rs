//! Lists of tables that are read in parts.

use futures_util::future::poll_fn;

use super::*;
use crate::{identity::Session, ipvsadm};

/// Use cases that read about this many servers before they send a list.
fn app_with(kernel: &FakeKernel, listed_servers: usize) -> App {
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    let options = AppOptions {
        listed_servers,
        ..AppOptions::default()
    };
    App::new(executor, options)
}

/// A kernel with this many services of two servers each.
fn kernel_with(services: u8) -> FakeKernel {
    let kernel = FakeKernel::new();
    for n in 1..=services {
        let id = id(&format!("192.0.2.{n}:80"));
        kernel.add_service(fake::Service::new(id));
        for server in ["10.0.0.1:80", "10.0.0.2:80"] {
            kernel.add_destination(id, fake::Destination::new(socket(server)));
        }
    }
    kernel
}

async fn list(app: &App, context: &RequestContext) -> Arc<ServicePage> {
    let list = app.list_services(context, ListServices::default());
    list.await.unwrap().value
}

/// The number of servers of the service at a position; `None` if it has been deleted.
async fn load(entries: &mut PageEntries, position: usize) -> Option<usize> {
    let loaded = poll_fn(|cx| entries.poll_load(position, cx)).await;
    loaded.unwrap();
    entries.get(position).map(|(_, servers)| servers.len())
}

#[tokio::test]
async fn each_server_is_read_once() {
    let kernel = kernel_with(200);
    let app = app_with(&kernel, 50);
    let page = list(&app, context()).await;
    assert!(!page.is_complete() && page.len() == 200);
    assert_eq!(kernel.dumps(command::GET_DEST), 25);
    let mut entries = app.entries(context(), page);
    for position in 0..200 {
        assert_eq!(load(&mut entries, position).await, Some(2));
    }
    assert_eq!(kernel.dumps(command::GET_DEST), 200);
    assert_eq!(load(&mut entries, 200).await, None, "the end");
}

/// A client may make several lists at once on one connection.
#[tokio::test]
async fn the_lists_of_a_connection_share_its_budget() {
    let app = app_with(&kernel_with(1), 50);
    let complete = CompleteRequest {
        at: std::time::Instant::now(),
        budget: app.budget().of_connection(),
    };
    let context = RequestContext::of(
        Some(complete),
        Some(Session::system()),
        RequestId::new("1"),
        std::time::Duration::from_secs(60),
    );
    let page = list(&app, &context).await;
    let first = app.entries(&context, page.clone()).budget();
    let second = app.entries(&context, page).budget();
    let charge = first.charge(first.limit() * 3 / 4).unwrap();
    assert!(second.charge(second.limit() / 2).is_err());
    drop(charge);
    assert!(second.charge(second.limit() / 2).is_ok());
}

#[tokio::test]
async fn a_service_that_is_deleted_meanwhile_is_left_out() {
    let kernel = kernel_with(200);
    let app = app_with(&kernel, 1);
    let page = list(&app, context()).await;
    let mut entries = app.entries(context(), page);
    kernel.remove_service(id("192.0.2.9:80"));
    kernel.remove_destination(id("192.0.2.10:80"), socket("10.0.0.1:80"));
    kernel.remove_destination(id("192.0.2.10:80"), socket("10.0.0.2:80"));
    assert_eq!(load(&mut entries, 7).await, Some(2));
    assert_eq!(load(&mut entries, 8).await, None);
    assert_eq!(load(&mut entries, 9).await, Some(0));
    // The other parts are not read before they are taken.
    assert!(kernel.dumps(command::GET_DEST) < 200);
}

#[tokio::test]
async fn parts_are_read_by_the_deadline_until_the_response_has_begun() {
    let kernel = kernel_with(20);
    let app = app_with(&kernel, 1);
    let context = RequestContext::new(RequestId::new("test"), Duration::from_secs(1));
    let page = list(&app, &context).await;
    let mut entries = app.entries(&context, page.clone());
    tokio::time::sleep_until(context.deadline.into()).await;
    let error = poll_fn(|cx| entries.poll_load(10, cx)).await.unwrap_err();
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    let mut entries = app.entries(&context, page);
    entries.limit_each_part(Duration::from_secs(3600));
    assert_eq!(load(&mut entries, 10).await, Some(2));
}

#[tokio::test]
async fn a_part_of_a_table_is_kept_for_lists_only() {
    let kernel = kernel_with(100);
    let app = app_with(&kernel, 50);
    let cached = cached_context();
    let first = list(&app, &cached).await;
    assert!(!first.is_shared(), "its servers are read for each request");
    list(&app, &cached).await;
    assert_eq!(kernel.dumps(command::GET_DEST), 25);
    let rules = app.save_rules(&cached, ipvsadm::Order::Sorted).await;
    let rules = String::from_utf8(rules.unwrap().value).unwrap();
    assert_eq!(rules.lines().count(), 300);
    assert_eq!(kernel.dumps(command::GET_DEST), 125);
    // The whole table is kept for both.
    assert!(list(&app, &cached).await.is_complete());
    assert_eq!(kernel.dumps(command::GET_DEST), 125);
}
