//! The difference of two tables: what it does, in which order, and that it is minimal.

use proptest::{collection::btree_map, option, prelude::*};

use super::*;

const SERVICES: usize = 4;
const SERVERS: usize = 5;

/// A table as it is wanted: per service a scheduler, per server a weight.
type Wanted = std::collections::BTreeMap<usize, (bool, std::collections::BTreeMap<usize, u32>)>;

fn wanted() -> impl Strategy<Value = Wanted> {
    let servers = btree_map(0..SERVERS, 0..3_u32, 0..SERVERS);
    btree_map(0..SERVICES, (any::<bool>(), servers), 0..SERVICES)
}

fn config(wlc: bool) -> ServiceConfig {
    ServiceConfig {
        scheduler: name(if wlc { "wlc" } else { "rr" }),
        ..ServiceConfig::new(Family::Ipv4)
    }
}

fn server_config(weight: u32) -> ServerConfig {
    ServerConfig {
        weight,
        ..ServerConfig::default()
    }
}

fn service_at(index: usize) -> ServiceKey {
    key(&format!("tcp-192.0.2.{index}-80"))
}

fn server_at(index: usize) -> ServerKey {
    server_key(&format!("10.0.0.{index}-80"))
}

/// The commands that make a table.
fn commands(wanted: &Wanted) -> Vec<Op> {
    let mut ops = Vec::new();
    for (service, (wlc, servers)) in wanted {
        let service = service_at(*service);
        ops.push(Op::CreateService(
            service,
            config(*wlc),
            StoredFields::default(),
        ));
        for (server, weight) in servers {
            let config = server_config(*weight);
            ops.push(Op::CreateServer(service, server_at(*server), config));
        }
    }
    ops
}

fn table(ops: &[Op]) -> Result<Table, Error> {
    let mut table = Table::default();
    for (line, op) in ops.iter().enumerate() {
        table.apply(op, line)?;
    }
    Ok(table)
}

/// A table as the kernel returns it: the newest server first.
fn entries(target: &[TargetService]) -> Vec<ServiceEntry> {
    let entry = |service: &TargetService| ServiceEntry {
        service: Service {
            key: service.key,
            config: service.config,
            stats: Stats::default(),
            rates: Rates::default(),
            kept: None,
        },
        servers: service.servers.iter().rev().map(server_of).collect(),
    };
    target.iter().map(entry).collect()
}

fn server_of(server: &TargetServer) -> Server {
    Server {
        key: server.key,
        config: server.config,
        effective_weight: server.config.weight,
        holds: None,
        membership: None,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

/// Services and servers by key, without their order.
fn content(target: Vec<TargetService>) -> Vec<(ServiceKey, ServiceConfig, Vec<Server>)> {
    let mut content: Vec<_> = target
        .into_iter()
        .map(|service| {
            let mut servers: Vec<_> = service.servers.iter().map(server_of).collect();
            servers.sort_by_key(|server| server.key.to_string());
            (service.key, service.config, servers)
        })
        .collect();
    content.sort_by_key(|(key, ..)| key.to_string());
    content
}

fn ops(changes: &[Change]) -> Vec<Op> {
    changes.iter().map(|change| change.op.clone()).collect()
}

fn is_delete(op: &Op) -> bool {
    matches!(op, Op::DeleteService(_) | Op::DeleteServer(..))
}

proptest! {
    #[test]
    fn a_difference_leads_to_the_target_with_one_operation_per_object(
        from in wanted(), to in wanted(),
    ) {
        let target = table(&commands(&to)).unwrap().into_services();
        let current = table(&commands(&from)).unwrap();
        let difference = diff(&entries(&current.clone().into_services()), &target);
        let (make, remove) = (ops(&difference.make), ops(&difference.remove));
        prop_assert!(!make.iter().any(is_delete) && remove.iter().all(is_delete));

        // Each operation is valid where it stands, and the result is the target.
        let mut result = current;
        for op in make.iter().chain(&remove) {
            result.apply(op, 0).unwrap();
        }
        prop_assert_eq!(content(result.into_services()), content(target.clone()));

        // No object is touched twice, and none that is equal.
        let DiffCounts { created, updated, deleted, unchanged } = difference.counts;
        prop_assert_eq!(make.len(), created + updated);
        let objects = |wanted: &Wanted| -> usize {
            wanted.values().map(|(_, servers)| 1 + servers.len()).sum()
        };
        prop_assert_eq!(created + updated + unchanged, objects(&to));
        prop_assert_eq!(deleted + updated + unchanged, objects(&from));
        let equal: usize = to.iter().map(|(key, (wlc, servers))| {
            let Some((old_wlc, old)) = from.get(key) else { return 0 };
            let same = servers.iter().filter(|(key, weight)| old.get(key) == Some(weight));
            usize::from(wlc == old_wlc) + same.count()
        }).sum();
        prop_assert_eq!(unchanged, equal);
        prop_assert_eq!(difference.counts.changed(), from != to);
    }

    #[test]
    fn the_opposites_of_a_difference_lead_back(
        from in wanted(), servers in option::of(btree_map(0..SERVERS, 0..3_u32, 0..SERVERS)),
    ) {
        let Some((key, (wlc, _))) = from.iter().next() else { return Ok(()) };
        let before = table(&commands(&from)).unwrap();
        let entries = entries(&before.clone().into_services());
        let entry = entries.iter().find(|entry| entry.service.key == service_at(*key)).unwrap();
        let target: Option<Vec<_>> = servers.map(|servers| servers.iter().map(|(key, weight)| {
            TargetServer { key: server_at(*key), config: server_config(*weight), origin: 0 }
        }).collect());
        let difference = diff_service(entry, config(!wlc), &StoredTarget::default(), target.as_deref());
        let changes: Vec<_> = difference.make.iter().chain(&difference.remove).collect();
        let mut after = before.clone();
        for change in &changes {
            after.apply(&change.op, 0).unwrap();
        }
        for change in changes.iter().rev() {
            after.apply(change.undo.as_ref().unwrap(), 0).unwrap();
        }
        prop_assert_eq!(content(after.into_services()), content(before.into_services()));
    }
}

#[test]
fn a_table_is_made_in_the_order_of_the_commands_and_errors_are_those_of_the_kernel() {
    let wanted = Wanted::from([(1, (true, [(3, 1), (1, 1)].into()))]);
    let mut made = table(&commands(&wanted)).unwrap();
    let (service, server) = (service_at(1), server_at(1));
    let refused = |op: Op, made: &mut Table| made.apply(&op, 9).unwrap_err().reason;
    let create = Op::CreateService(service, config(true), StoredFields::default());
    assert_eq!(refused(create, &mut made), Reason::ServiceExists);
    let create = Op::CreateServer(service, server, server_config(1));
    assert_eq!(refused(create, &mut made), Reason::ServerExists);
    let missing = Op::CreateServer(service_at(2), server, server_config(1));
    assert_eq!(refused(missing, &mut made), Reason::ServiceNotFound);
    let missing = Op::DeleteServer(service, server_at(4));
    assert_eq!(refused(missing, &mut made), Reason::ServerNotFound);
    let missing = Op::DeleteService(service_at(2));
    assert_eq!(refused(missing, &mut made), Reason::ServiceNotFound);

    // A service that is deleted and created again has no servers.
    made.apply(&Op::DeleteService(service), 10).unwrap();
    made.apply(
        &Op::CreateService(service, config(false), StoredFields::default()),
        11,
    )
    .unwrap();
    for (line, index) in [(12, 4), (13, 2)] {
        let create = Op::CreateServer(service, server_at(index), server_config(1));
        made.apply(&create, line).unwrap();
    }
    let [made] = made.into_services().try_into().unwrap();
    assert_eq!((made.origin, made.config), (11, config(false)));
    let servers: Vec<_> = made.servers.iter().map(|s| (s.key, s.origin)).collect();
    assert_eq!(servers, [(server_at(4), 12), (server_at(2), 13)]);
}
