//! Health checks: which of drains, overrides, checks and weights decides.

use proptest::prelude::*;

use super::{
    health::{SERVERS, check, force, outcome, start},
    holds::{change, drain_request, kernel_weight},
    tables::apply,
    *,
};
use crate::store::Store;

/// What is done to the first server.
#[derive(Clone, Copy, Debug)]
enum Action {
    SetWeight(u32),
    Apply(u32),
    SetByAnotherProgram(u32),
    Drain,
    EndDrain,
    Check(bool),
    Force(Option<bool>),
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let weight = || 0..4_u32;
    prop_oneof![
        weight().prop_map(Action::SetWeight),
        weight().prop_map(Action::Apply),
        weight().prop_map(Action::SetByAnotherProgram),
        Just(Action::Drain),
        Just(Action::EndDrain),
        any::<bool>().prop_map(Action::Check),
        proptest::option::of(any::<bool>()).prop_map(Action::Force),
        Just(Action::Restart),
    ]
}

/// What the documents say about the first server.
#[derive(Clone, Copy, Debug)]
struct Expected {
    weight: u32,
    drain: Option<HoldId>,
    is_failing: bool,
    forced: Option<bool>,
}

impl Expected {
    fn effective(&self) -> u32 {
        let is_down = self.forced == Some(false) || (self.is_failing && self.forced.is_none());
        match is_down || self.drain.is_some() {
            true => 0,
            false => self.weight,
        }
    }

    /// A weight that ends a drain, if it is another one.
    fn set(&mut self, weight: u32) {
        if self.weight != weight {
            self.drain = None;
        }
        self.weight = weight;
    }
}

fn declared(weight: u32) -> Value {
    let weights = [weight, 1, 1];
    let servers = SERVERS.iter().zip(weights);
    let servers =
        servers.map(|(id, weight)| json!({"id": id, "forwarding": "masquerade", "weight": weight}));
    json!({"id": TCP, "scheduler": "rr", "health_check": check(json!({})),
        "servers": servers.collect::<Vec<_>>()})
}

async fn execute(app: &App, kernel: &FakeKernel, expected: &mut Expected, action: Action) {
    let (service, server) = (key(TCP), server_key(SERVERS[0]));
    match action {
        Action::SetWeight(weight) => {
            let patch = server_draft(json!({"weight": weight}));
            let patched = app.update_server(context(), service, server, patch, NONE, false);
            patched.await.unwrap();
            expected.set(weight);
        }
        Action::Apply(weight) => {
            apply(app, "k8s", json!([declared(weight)])).await;
            expected.weight = weight;
        }
        Action::SetByAnotherProgram(weight) => {
            change(kernel, service, socket("10.0.0.1:80"), |server| {
                server.weight = weight
            });
            if expected.effective() != weight {
                expected.set(weight);
                expected.drain = None;
            }
            app.look_now().await;
            app.look_now().await;
        }
        Action::Drain if expected.drain.is_none() => {
            let request = drain_request(json!({"server": SERVERS[0]}));
            let (drain, _) = app.create_drain(context(), request).await.unwrap();
            expected.drain = Some(drain.id);
        }
        Action::Drain => {}
        Action::EndDrain => {
            if let Some(id) = expected.drain.take() {
                app.delete_drain(context(), id).await.unwrap();
            }
        }
        Action::Check(is_good) => {
            let word = if is_good { '+' } else { '-' };
            // It may need more successes, because it flaps.
            for _ in 0..if is_good { 40 } else { 1 } {
                app.note_now(service, server, &outcome(word)).await;
            }
            expected.is_failing = !is_good;
        }
        Action::Force(forced) => {
            let json = forced.map(|up| json!({"state": if up { "up" } else { "down" }}));
            force(app, SERVERS[0], json).await.unwrap();
            expected.forced = forced;
        }
        Action::Restart => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weights_drains_checks_and_overrides_have_the_documented_precedence(
        actions in proptest::collection::vec(action(), 1..40)
    ) {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let (mut runtime, mut app) = start(&kernel, &store);
        let mut expected = Expected { weight: 1, drain: None, is_failing: false, forced: None };
        runtime.block_on(async {
            apply(&app, "k8s", json!([declared(1)])).await;
            app.find_now().await;
        });
        for action in actions {
            if matches!(action, Action::Restart) {
                // With the old runtime, the tasks of the daemon before end.
                (runtime, app) = start(&kernel, &store);
            }
            runtime.block_on(async {
                execute(&app, &kernel, &mut expected, action).await;
                let found = app.server(context(), key(TCP), server_key(SERVERS[0])).await;
                let found = found.unwrap().value;
                let weights = (found.config.weight, found.effective_weight);
                assert_eq!(weights, (expected.weight, expected.effective()), "{action:?}");
                assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), expected.effective());
            });
        }
    }
}
