//! Drains under random changes, compared with a model of what they have to do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    holds::{change, drain_request, kernel_weight},
    *,
};

/// A server by the indexes of its service and of itself.
type Place = (usize, usize);

const SERVICES: [&str; 2] = ["tcp-192.0.2.1-80", "tcp-192.0.2.2-80"];
/// Two servers at one address, and another one.
const SERVERS: [&str; 3] = ["10.0.0.1-80", "10.0.0.1-81", "10.0.0.2-80"];
const TARGETS: [&str; 4] = ["10.0.0.1-80", "10.0.0.1-81", "10.0.0.2-80", "10.0.0.1"];

#[derive(Clone, Debug)]
enum Action {
    SetWeight(Place, u32),
    SetThreshold(Place, u32),
    Delete(Place),
    Create(Place, u32),
    SetByAnotherProgram(Place, u32),
    Drain {
        target: usize,
        service: Option<usize>,
    },
    EndDrain(usize),
    Restart,
}

#[derive(Clone, Debug)]
struct ModelDrain {
    target: usize,
    service: Option<usize>,
    /// Whether the weight of a member was changed.
    members: BTreeMap<Place, bool>,
}

/// Intended weights, and the active drains.
#[derive(Clone, Debug, Default)]
struct Model {
    servers: BTreeMap<Place, u32>,
    drains: BTreeMap<HoldId, ModelDrain>,
}

fn action() -> impl Strategy<Value = Action> {
    let place = || (0..SERVICES.len(), 0..SERVERS.len());
    // Few weights, so that one is often set to what it is.
    let weight = || 0..4_u32;
    prop_oneof![
        (place(), weight()).prop_map(|(place, weight)| Action::SetWeight(place, weight)),
        (place(), weight()).prop_map(|(place, number)| Action::SetThreshold(place, number)),
        place().prop_map(Action::Delete),
        (place(), weight()).prop_map(|(place, weight)| Action::Create(place, weight)),
        (place(), weight()).prop_map(|(place, weight)| Action::SetByAnotherProgram(place, weight)),
        (0..TARGETS.len(), proptest::option::of(0..SERVICES.len()))
            .prop_map(|(target, service)| Action::Drain { target, service }),
        (0..4_usize).prop_map(Action::EndDrain),
        Just(Action::Restart),
    ]
}

impl ModelDrain {
    fn covers(&self, (service, server): Place) -> bool {
        let is_target = SERVERS[server].starts_with(TARGETS[self.target]);
        is_target && self.service.is_none_or(|named| named == service)
    }
}

impl Model {
    fn is_drained(&self, place: Place) -> bool {
        let mut drains = self.drains.values();
        drains.any(|drain| drain.members.get(&place) == Some(&false))
    }

    fn effective(&self, place: Place) -> u32 {
        match self.is_drained(place) {
            true => 0,
            false => self.servers[&place],
        }
    }

    /// The weight is another now: the drains of the server end.
    fn supersede(&mut self, place: Place, weight: u32) {
        self.servers.insert(place, weight);
        for drain in self.drains.values_mut() {
            if let Some(is_changed) = drain.members.get_mut(&place) {
                *is_changed = true;
            }
        }
        self.drains.retain(|_, drain| {
            drain.members.is_empty() || drain.members.values().any(|is_changed| !is_changed)
        });
    }

    fn create(&mut self, place: Place, weight: u32) {
        self.servers.insert(place, weight);
        for drain in self.drains.values_mut().filter(|drain| drain.covers(place)) {
            drain.members.insert(place, false);
        }
    }
}

/// Executes an action on both.
async fn execute(app: &App, kernel: &FakeKernel, model: &mut Model, action: Action) {
    let keys = |(service, server): Place| (key(SERVICES[service]), server_key(SERVERS[server]));
    match action {
        Action::SetWeight(place, weight) => {
            let (service, server) = keys(place);
            let patch = server_draft(json!({"weight": weight}));
            let patched = app
                .update_server(context(), service, server, patch, NONE, false)
                .await;
            assert_eq!(patched.is_ok(), model.servers.contains_key(&place));
            if patched.is_ok() && model.servers[&place] != weight {
                match model.is_drained(place) {
                    true => model.supersede(place, weight),
                    false => drop(model.servers.insert(place, weight)),
                }
            }
        }
        Action::SetThreshold(place, number) => {
            let (service, server) = keys(place);
            let patch = server_draft(json!({"upper_threshold": number}));
            let patched = app
                .update_server(context(), service, server, patch, NONE, false)
                .await;
            assert_eq!(patched.is_ok(), model.servers.contains_key(&place));
        }
        Action::Delete(place) => {
            let (service, server) = keys(place);
            let deleted = app
                .delete_server(context(), service, server, true, NONE)
                .await;
            assert_eq!(deleted.unwrap(), model.servers.remove(&place).is_some());
        }
        Action::Create(place, weight) => {
            let (service, server) = keys(place);
            let new = server_draft(
                json!({"id": server.to_string(), "forwarding": "masquerade", "weight": weight}),
            );
            let created = app.create_server(context(), service, new).await;
            assert_eq!(created.is_ok(), !model.servers.contains_key(&place));
            if created.is_ok() {
                model.create(place, weight);
            }
        }
        Action::SetByAnotherProgram(place, weight) if model.servers.contains_key(&place) => {
            let (service, server) = keys(place);
            let address = SocketAddr::new(server.address, server.port);
            change(kernel, service, address, |server| server.weight = weight);
            app.look_now().await;
            if model.effective(place) != weight {
                match model.is_drained(place) {
                    true => model.supersede(place, weight),
                    false => drop(model.servers.insert(place, weight)),
                }
            }
        }
        Action::SetByAnotherProgram(..) => {}
        Action::Drain { target, service } => {
            let services = service.map(|service| [SERVICES[service]]);
            let request = drain_request(match services {
                Some(services) => json!({"server": TARGETS[target], "services": services}),
                None => json!({"server": TARGETS[target]}),
            });
            let mut drain = ModelDrain {
                target,
                service,
                members: BTreeMap::new(),
            };
            let covered: Vec<_> = model
                .servers
                .keys()
                .copied()
                .filter(|place| drain.covers(*place))
                .collect();
            let created = app.create_drain(context(), request).await;
            if covered.is_empty() && service.is_some() {
                assert_eq!(reason(created), Reason::ServerNotFound);
                return;
            }
            let (created, is_new) = created.unwrap();
            if is_new {
                drain.members = covered.into_iter().map(|place| (place, false)).collect();
                assert!(model.drains.insert(created.id, drain).is_none());
            }
        }
        Action::EndDrain(index) => {
            let Some(id) = model.drains.keys().nth(index).copied() else {
                return;
            };
            assert_eq!(
                app.delete_drain(context(), id).await.unwrap().state,
                DrainState::Cancelled
            );
            model.drains.remove(&id);
        }
        Action::Restart => {}
    }
}

/// A daemon on this kernel, with what the one before has stored.
fn start(kernel: &FakeKernel, store: &Store) -> (tokio::runtime::Runtime, App) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    (runtime, app_on(kernel).with_store(store.clone()).unwrap())
}

async fn compare(app: &App, kernel: &FakeKernel, model: &Model) {
    for (index, service) in SERVICES.iter().enumerate() {
        let servers = &read_service(app, service).await.servers;
        let found: BTreeMap<_, _> = servers.iter().map(|server| (server.key, server)).collect();
        for (number, id) in SERVERS.iter().enumerate() {
            let place = (index, number);
            let server = found.get(&server_key(id));
            assert_eq!(
                server.is_some(),
                model.servers.contains_key(&place),
                "{place:?}"
            );
            let Some(server) = server else { continue };
            let weights = (server.config.weight, server.effective_weight);
            assert_eq!(
                weights,
                (model.servers[&place], model.effective(place)),
                "{place:?}"
            );
            let address = SocketAddr::new(server.key.address, server.key.port).to_string();
            assert_eq!(
                kernel_weight(kernel, service, &address),
                server.effective_weight
            );
            assert_eq!(server.holds.is_some(), model.is_drained(place), "{place:?}");
        }
    }
    let list = app.list_drains(context(), &ListHolds::default());
    let drains = list.unwrap().entries;
    let active: BTreeSet<_> = drains
        .iter()
        .filter(|drain| drain.is_active())
        .map(|drain| drain.id)
        .collect();
    assert_eq!(active, model.drains.keys().copied().collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn drains_do_what_the_model_does(actions in proptest::collection::vec(action(), 1..40)) {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let (mut runtime, mut app) = start(&kernel, &store);
        let mut model = Model::default();
        for (index, service) in SERVICES.into_iter().enumerate() {
            runtime.block_on(create_service(&app, service, &SERVERS));
            let places = (0..SERVERS.len()).map(|number| ((index, number), 1));
            model.servers.extend(places);
        }
        for action in actions {
            if matches!(action, Action::Restart) {
                // With the old runtime, the task of the daemon before ends.
                (runtime, app) = start(&kernel, &store);
            }
            runtime.block_on(async {
                execute(&app, &kernel, &mut model, action).await;
                compare(&app, &kernel, &model).await;
                app.look_now().await;
                compare(&app, &kernel, &model).await;
            });
        }
    }
}
