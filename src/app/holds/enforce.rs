//! Brings the weights of the servers of a service to what their holds ask for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::all::Look;
use crate::{
    app::{App, RequestContext},
    executor::{Executed, Holds, Plan, ServersQuery, Step, Transaction},
    model::{Error, Hold, HoldId, HoldKind, Op, Server, ServerConfig, ServerKey, ServiceKey},
};

/// A ramp that begins, in the transaction that applies its first step.
#[derive(Clone, Copy, Debug)]
pub(super) struct BeginningRamp {
    pub id: HoldId,
    pub server: ServerKey,
    /// The weight in the end, which is the intended one from now on.
    pub to: u32,
}

// === impl App ===

impl App {
    /// Looks at the servers of a service, applies their holds, and returns the servers.
    ///
    /// No other change of this process comes between the look and the operations.
    pub(super) async fn enforce(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        ramp: Option<BeginningRamp>,
    ) -> Result<Look, Error> {
        let holds = self.hold_registry.holds().clone();
        let looks = self.hold_registry.looks().clone();
        let number = Arc::new(AtomicU64::new(0));
        let noted = number.clone();
        let fallbacks = Arc::new(AtomicU64::new(0));
        let planned_fallbacks = fallbacks.clone();
        let plan = move |servers: &Option<Arc<Vec<Server>>>| {
            noted.store(looks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let Some(servers) = servers.as_deref() else {
                holds.retain(service, &[]);
                holds.forget_fallbacks(service);
                return Ok(Plan::nothing());
            };
            holds.retain(service, servers);
            let (plan, number) = planned(&holds, service, servers, ramp);
            planned_fallbacks.fetch_max(number, Ordering::Relaxed);
            Ok(plan)
        };
        let query = ServersQuery(service);
        let transaction = Transaction::repeated(query, plan, query).named("hold_weights");
        let outcome = self.write_path.run_unrecorded(context, transaction).await;
        let planned = fallbacks.load(Ordering::Relaxed);
        self.hold_registry.holds().close_fallbacks(service, planned);
        let Executed { value, steps, .. } = outcome?;
        self.report_fallbacks(&steps, value.as_deref().map_or(&[][..], Vec::as_slice));
        Ok(Look {
            number: number.load(Ordering::Relaxed),
            servers: value,
        })
    }
}

/// Gives the servers of a service their effective weights. What lets a server get connections comes first, so that
/// one that gets connections is followed by another. Returns the number of the plan of fallback servers, too; 0: there
/// is none.
fn planned(
    holds: &Holds,
    service: ServiceKey,
    servers: &[Server],
    ramp: Option<BeginningRamp>,
) -> (Plan, u64) {
    let (mut raise, mut lower) = (Vec::new(), Vec::new());
    // Whether servers get connections: when all is done, and after these operations.
    let (mut will_serve, mut serves) = (false, false);
    for server in servers.iter().filter(|server| !server.is_fallback()) {
        let step = step(holds, service, server, ramp);
        let has = server.effective_weight;
        let held = holds.held((service, server.key));
        let wanted = held.map_or(has, |held| held.effective_weight());
        will_serve |= wanted > 0;
        serves |= step.as_ref().map_or(has, |_| wanted) > 0;
        match wanted >= has {
            true => raise.extend(step),
            false => lower.extend(step),
        }
    }
    if !holds.may_fall_back(service) {
        return (Plan::staged([raise, lower]), 0);
    }
    let now = Instant::now();
    let ops = holds.plan_fallbacks(service, servers, will_serve, now);
    raise.extend(ops.raise.into_iter().map(Step::from));
    // Until a fallback server can be added, those that get connections go on to.
    let is_served = serves || ops.serves || !ops.is_required;
    if ops.is_waiting || !is_served {
        return (Plan::of(raise), ops.number);
    }
    lower.extend(ops.lower.into_iter().map(Step::from));
    let delete = ops.delete.into_iter().map(Step::from).collect();
    (Plan::staged([raise, lower, delete]), ops.number)
}

/// The operation that gives a server its effective weight, if it lacks it and its intended one is stored.
fn step(
    holds: &Holds,
    service: ServiceKey,
    server: &Server,
    ramp: Option<BeginningRamp>,
) -> Option<Step> {
    let member = (service, server.key);
    let ramp = ramp.filter(|ramp| ramp.server == server.key);
    if let Some(ramp) = ramp {
        // It starts at the weight in the kernel.
        let hold = Hold {
            kind: HoldKind::Ramp,
            id: ramp.id,
            weight: server.effective_weight,
        };
        holds.begin_ramp(member, hold, ramp.to);
    }
    let is_held = |id| {
        let mut holds = server.holds.iter().flat_map(|holds| holds.iter());
        holds.any(|hold| hold.id == id)
    };
    for id in holds
        .drains_of(member)
        .into_iter()
        .filter(|id| !is_held(*id))
    {
        holds.add(member, server.config.weight, Hold::drain(id));
    }
    follow_wanted(holds, member, server);
    let held = holds.held(member)?;
    let has = server.effective_weight;
    // The begin of a ramp changes the intended weight, of which watchers get to know by the operation.
    if has == held.effective_weight() && ramp.is_none() {
        holds.applied(member);
        return None;
    }
    // Else nobody knows it any more if the daemon is killed.
    if !held.is_stored && ramp.is_none() {
        return None;
    }
    let config = ServerConfig {
        weight: held.weight,
        ..server.config
    };
    Some(Step::new(
        Op::SetServer(service, server.key, config),
        Op::SetServer(service, server.key, config),
    ))
}

/// Adds and removes the holds of health checks and overrides.
fn follow_wanted(holds: &Holds, member: (ServiceKey, ServerKey), server: &Server) {
    let wanted = holds.wanted(member);
    let has = |hold: &Hold| {
        let mut holds = server.holds.iter().flat_map(|holds| holds.iter());
        holds.any(|other| other.id == hold.id)
    };
    for hold in wanted.iter().filter(|hold| !has(hold)) {
        holds.add(member, server.config.weight, *hold);
    }
    for hold in server.holds.iter().flat_map(|holds| holds.iter()) {
        if hold.is_lasting() && !wanted.contains(hold) {
            holds.remove(member, hold.id);
        }
    }
}
