//! The operations of the last apply of a table.

use super::{
    tables::{OTHER, apply, operations, owner, service},
    *,
};

/// The operations of all pages, as [`operations`] of a report, and the number of pages.
async fn listed(app: &App, size: u32) -> (Vec<String>, usize) {
    let mut all = Vec::new();
    let mut list = ListOperations {
        page_size: Some(size),
        page_token: None,
    };
    for pages in 1.. {
        let page = app
            .table_operations(context(), &owner("web"), &list)
            .unwrap();
        let next = page.page.next_page_token();
        let entries = page.page.entries.iter();
        all.extend(entries.map(|one| {
            let op = &one.operation.op;
            let server = op
                .server()
                .map_or_else(String::new, |key| format!(" {key}"));
            let result = one.operation.result.as_str();
            format!("{} {}{server} {result}", op.name(), op.service().unwrap())
        }));
        match next {
            Some(token) => list.page_token = Some(token),
            None => {
                assert_eq!(page.total, all.len());
                return (all, pages);
            }
        }
    }
    unreachable!()
}

#[tokio::test]
async fn all_operations_of_the_last_apply_are_listed_in_pages() {
    let (_, app) = setup();
    let missing = app.table_operations(context(), &owner("web"), &ListOperations::default());
    assert_eq!(reason(missing), Reason::TableNotFound);
    let servers: Vec<_> = (1..=8).map(|n| (n, 1)).collect();
    let first = apply(&app, "web", json!([service(TCP, &servers)])).await;
    assert_eq!(listed(&app, 4).await, (operations(&first), 3));
    // Those of other tables are others, and nothing to do leaves them as they are.
    apply(&app, "k8s", json!([service(OTHER, &[(1, 1)])])).await;
    apply(&app, "web", json!([service(TCP, &servers)])).await;
    let token = |size| {
        let list = ListOperations {
            page_size: Some(size),
            page_token: None,
        };
        let page = app
            .table_operations(context(), &owner("web"), &list)
            .unwrap();
        assert_eq!(
            (page.apply_id.as_str(), page.outcome),
            (&*first.apply_id, ApplyOutcome::Applied)
        );
        page.page.next_page_token()
    };
    let token = token(4);
    let other = RequestContext::new(RequestId::new("other"), Duration::from_secs(3600));
    let draft = super::tables::table_draft(json!({"services": [service(TCP, &servers[1..])]}));
    let second = app.apply_table(&other, owner("web"), draft, super::tables::all());
    let second = second.await.unwrap();
    assert_eq!(listed(&app, 0).await, (operations(&second), 1));
    let stale = ListOperations {
        page_size: Some(4),
        page_token: token,
    };
    let stale = app.table_operations(context(), &owner("web"), &stale);
    assert_eq!(fields(&stale.unwrap_err()), ["page_token"]);
    let narrow = super::tables::scoped(Role::Viewer, json!([{"address": "192.0.2.9"}]), true);
    let refused = app.table_operations(&narrow, &owner("web"), &ListOperations::default());
    assert_eq!(refused.unwrap_err().reason, Reason::TableNotFound);
}
