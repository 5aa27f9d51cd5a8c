//! Declared tables: what an apply writes to the store.

use super::{
    tables::{OTHER, apply, owner, service},
    tables_failures::restarted,
    *,
};
use crate::store::{Collection, Store};

/// The weights of the servers of a declared service.
async fn weights(app: &App) -> Vec<u32> {
    let report = app.declared_table(context(), &owner("a")).await.unwrap();
    assert_eq!(report.status, TableStatus::InSync);
    let servers = &report.table.services[&key(TCP)].servers;
    servers.iter().map(|server| server.config.weight).collect()
}

#[tokio::test]
async fn an_apply_that_edits_few_servers_of_a_service_stores_these_alone() {
    const SERVICES: Collection<Value> = Collection::new("table-services");
    const EDITS: Collection<Vec<Value>> = Collection::new("table-edits");
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let mut app = restarted(&kernel, &store);
    let name = format!("a/{TCP}");
    let stored = || store.get(&SERVICES, &name).unwrap();
    let edits = || store.get(&EDITS, &name).unwrap();
    // The last one makes them more than a quarter.
    let turns: [(&[u8], usize); 4] = [(&[1], 1), (&[2], 2), (&[1, 2], 2), (&[3], 0)];
    let mut servers: Vec<_> = (1..=8).map(|n| (n, 1)).collect();
    apply(
        &app,
        "a",
        json!([service(TCP, &servers), service(OTHER, &[])]),
    )
    .await;
    let mut before = stored();
    for (edited, expected) in turns {
        for n in edited {
            servers[usize::from(*n) - 1].1 += 10;
        }
        apply(
            &app,
            "a",
            json!([service(OTHER, &[]), service(TCP, &servers)]),
        )
        .await;
        let wanted: Vec<_> = servers.iter().map(|(_, weight)| *weight).collect();
        assert_eq!(weights(&app).await, wanted);
        assert_eq!(edits().map_or(0, |edits| edits.len()), expected);
        assert_eq!(stored() == before, expected > 0);
        app = restarted(&kernel, &store);
        assert_eq!(weights(&app).await, wanted);
        before = stored();
    }
    // With its servers, the service is stored as a whole; without it, nothing is.
    servers[0].1 = 7;
    apply(&app, "a", json!([service(TCP, &servers)])).await;
    assert_eq!(edits().unwrap().len(), 1);
    servers.pop();
    apply(&app, "a", json!([service(TCP, &servers)])).await;
    assert_eq!((edits(), stored() == before), (None, false));
    servers[0].1 = 8;
    apply(&app, "a", json!([service(TCP, &servers)])).await;
    assert_eq!(edits().unwrap().len(), 1);
    apply(&app, "a", json!([])).await;
    assert_eq!((edits(), stored()), (None, None));
    assert_eq!(store.load(&EDITS).unwrap(), []);
}
