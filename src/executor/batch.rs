//! Schedules transactions into batches and runs each batch: the transactions of a batch share the
//! sends of their reads and of each stage, and queries that several of them need run once.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{
    dump,
    engine::Engine,
    execute::InFlight,
    pending::Pending,
    query::{ServiceQuery, TypedQuery},
    transaction::{Executed, Plan, Transaction},
};
use crate::model::{Error, Query, Reason, ServiceKey};

/// A transaction of any type in a batch.
pub trait PendingTransaction: Send {
    /// The precondition and the query that reads back.
    fn queries(&self) -> [Option<Query>; 2];

    /// Whether its receiver exists and its deadline is after `now`; otherwise it is completed with an
    /// error.
    fn is_wanted(&mut self, now: Instant) -> bool;

    /// Reads the precondition and plans. `None` if it ends here: with an error, or as a dry run.
    fn plan(&mut self, engine: &mut Engine, results: &mut BatchResults) -> Option<InFlight>;

    /// Plans and executes again, or rolls back, what has failed.
    fn settle(&mut self, done: &mut InFlight, engine: &mut Engine);

    /// Reads back and replies.
    fn finish(&mut self, done: InFlight, engine: &mut Engine, results: &mut BatchResults);

    /// Replies with an error.
    fn fail(&mut self, error: Error);
}

/// A transaction with the types of its queries.
pub(super) struct TypedTransaction<P: TypedQuery, R: TypedQuery> {
    transaction: Transaction<P, R>,
    dry_run: bool,
    /// `None` after the reply.
    pending: Option<Pending<(), Executed<R::Answer>>>,
    /// What reading back would return, if that is known from the precondition.
    known: Option<R::Answer>,
}

/// The results of the queries that a batch has run in one phase, by the type of the query.
#[derive(Default)]
pub struct BatchResults {
    by_type: HashMap<TypeId, Box<dyn Any>>,
}

/// Times that a transaction is planned, if other programs keep creating and deleting its objects.
const ATTEMPTS: usize = 3;

type Results<Q> = HashMap<Q, Result<<Q as TypedQuery>::Answer, Error>>;

// === impl Engine ===

impl Engine {
    /// Executes transactions, in as few batches as their order allows.
    pub(super) fn run_transactions(&mut self, transactions: Vec<Box<dyn PendingTransaction>>) {
        for batch in batches(transactions) {
            self.run_batch(batch);
        }
    }

    fn run_batch(&mut self, mut batch: Vec<Box<dyn PendingTransaction>>) {
        let now = Instant::now();
        batch.retain_mut(|transaction| transaction.is_wanted(now));
        match self.socket.enter() {
            Ok(here) => self.planned_in = Some(here),
            Err(error) => {
                return batch.iter_mut().for_each(|it| it.fail(error.clone()));
            }
        }
        let preconditions = batch.iter().map(|transaction| transaction.queries()[0]);
        let mut results = self.prefetch(preconditions);
        let mut planned = Vec::with_capacity(batch.len());
        for mut transaction in batch {
            if let Some(in_flight) = transaction.plan(self, &mut results) {
                planned.push((transaction, in_flight));
            }
        }
        let (mut batch, mut in_flight): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
        self.execute_stages(&mut in_flight);
        for (transaction, in_flight) in batch.iter_mut().zip(&mut in_flight) {
            transaction.settle(in_flight, self);
        }
        let succeeded = batch.iter().zip(&in_flight);
        let succeeded = succeeded.filter(|(_, in_flight)| !in_flight.has_failed());
        let read_back = succeeded.map(|(transaction, _)| transaction.queries()[1]);
        let mut results = self.prefetch(read_back);
        for (mut transaction, done) in batch.into_iter().zip(in_flight) {
            transaction.finish(done, self, &mut results);
        }
        self.planned_in = None;
    }

    /// Runs those of the queries that read a service alone, in one exchange.
    fn prefetch(&mut self, queries: impl Iterator<Item = Option<Query>>) -> BatchResults {
        let mut results = BatchResults::default();
        let service = |query| match query {
            Some(Query::Service(key)) => Some(key),
            _ => None,
        };
        let keys: Vec<_> = queries.filter_map(service).collect();
        // A single one is read when it is needed.
        if keys.len() > 1 {
            let found = self
                .socket
                .read(|socket| dump::services_by_key(socket, &keys));
            match found {
                Ok(found) => {
                    for (key, service) in keys.into_iter().zip(found) {
                        let entry = service.map(ServiceQuery::entry);
                        results.insert(ServiceQuery(key), Ok(entry));
                    }
                }
                Err(error) => {
                    for key in keys {
                        results.insert(ServiceQuery(key), Err(error.clone()));
                    }
                }
            }
        }
        results
    }

    /// The result of a query in a batch.
    fn fetch_once<Q: TypedQuery>(
        &mut self,
        query: &Q,
        results: &mut BatchResults,
    ) -> Result<Q::Answer, Error> {
        if let Some(result) = results.get(query) {
            return result.clone();
        }
        let result = self.fetch(query);
        results.insert(query.clone(), result.clone());
        result
    }
}

// === impl BatchResults ===

impl BatchResults {
    fn get<Q: TypedQuery>(&self, query: &Q) -> Option<&Result<Q::Answer, Error>> {
        let results = self.by_type.get(&TypeId::of::<Q>())?;
        results.downcast_ref::<Results<Q>>()?.get(query)
    }

    fn insert<Q: TypedQuery>(&mut self, query: Q, result: Result<Q::Answer, Error>) {
        let results = self
            .by_type
            .entry(TypeId::of::<Q>())
            .or_insert_with(|| Box::new(Results::<Q>::new()));
        if let Some(results) = results.downcast_mut::<Results<Q>>() {
            results.insert(query, result);
        }
    }
}

// === impl TypedTransaction ===

impl<P: TypedQuery, R: TypedQuery> TypedTransaction<P, R> {
    pub(super) fn new(
        transaction: Transaction<P, R>,
        dry_run: bool,
        pending: Pending<(), Executed<R::Answer>>,
    ) -> Self {
        Self {
            transaction,
            dry_run,
            pending: Some(pending),
            known: None,
        }
    }

    fn reply(&mut self, result: Result<Executed<R::Answer>, Error>) {
        if let Some(pending) = self.pending.take() {
            pending.reply(result);
        }
    }

    fn try_plan(&mut self, engine: &mut Engine, results: &mut BatchResults) -> Result<Plan, Error> {
        let answer = engine.fetch_once(&self.transaction.precondition, results)?;
        self.plan_from(&answer)
    }

    fn plan_from(&mut self, answer: &P::Answer) -> Result<Plan, Error> {
        let plan = &mut self.transaction.plan;
        // A panic in one plan must not fail the other transactions of the batch.
        let plan = catch_unwind(AssertUnwindSafe(|| plan.plan(answer)));
        let plan = plan.ok().flatten().unwrap_or_else(|| {
            Err(Error::new(
                Reason::Internal,
                "the executor failed on this request",
            ))
        })?;
        self.known = match plan.is_empty() {
            true => self.transaction.same_answer(answer),
            false => None,
        };
        Ok(plan)
    }

    /// The outcome of an executed plan, whose result is read back.
    fn read_back(
        &mut self,
        done: InFlight,
        engine: &mut Engine,
        results: &mut BatchResults,
    ) -> Result<Executed<R::Answer>, Error> {
        let (created, steps) = done.finish()?;
        let value = match self.known.take() {
            Some(known) => known,
            None => engine
                .fetch_once(&self.transaction.read_back, results)
                .map_err(|mut error| {
                    error.detail = format!("executed, but reading back failed: {}", error.detail);
                    error
                })?,
        };
        Ok(Executed {
            value,
            created,
            steps,
        })
    }

    /// A plan to create the object that another program has deleted since it was written; `None` if
    /// it was not deleted or is not to be created.
    fn plan_to_create_again(
        &mut self,
        outcome: &Result<Executed<R::Answer>, Error>,
    ) -> Option<Plan> {
        let Executed { value, steps, .. } = outcome.as_ref().ok()?;
        let is_gone = steps.first().is_some_and(|step| !R::shows(value, &step.op));
        if !is_gone || !self.transaction.plan.is_repeated() {
            return None;
        }
        let answer = (value as &dyn Any).downcast_ref::<P::Answer>()?;
        let plan = self.plan_from(answer).ok()?;
        plan.creates.then_some(plan)
    }

    /// The outcome that executing the plan would have.
    fn project(
        &self,
        plan: Plan,
        engine: &mut Engine,
        results: &mut BatchResults,
    ) -> Result<Executed<R::Answer>, Error> {
        let mut value = engine.fetch_once(&self.transaction.read_back, results)?;
        let steps: Vec<_> = plan.stages.into_iter().flatten().collect();
        for step in &steps {
            R::project(&mut value, &step.op).map_err(|error| step.locate(error))?;
        }
        Ok(Executed {
            value,
            created: plan.creates,
            steps,
        })
    }
}

impl<P: TypedQuery, R: TypedQuery> PendingTransaction for TypedTransaction<P, R> {
    fn queries(&self) -> [Option<Query>; 2] {
        let read_back = match self.known {
            Some(_) => None,
            None => self.transaction.read_back.query(),
        };
        [self.transaction.precondition.query(), read_back]
    }

    fn is_wanted(&mut self, now: Instant) -> bool {
        let pending = self.pending.take();
        self.pending = pending.and_then(|pending| pending.start(now));
        self.pending.is_some()
    }

    fn plan(&mut self, engine: &mut Engine, results: &mut BatchResults) -> Option<InFlight> {
        let plan = match self.try_plan(engine, results) {
            Ok(plan) if !self.dry_run => return Some(InFlight::new(plan)),
            plan => plan,
        };
        let outcome = plan.and_then(|plan| self.project(plan, engine, results));
        self.reply(outcome);
        None
    }

    fn settle(&mut self, in_flight: &mut InFlight, engine: &mut Engine) {
        for _ in 1..ATTEMPTS {
            if !(self.transaction.plan.is_repeated() && in_flight.is_outdated()) {
                break;
            }
            let answer = engine.fetch(&self.transaction.precondition);
            match answer.and_then(|answer| self.plan_from(&answer)) {
                Ok(plan) => {
                    in_flight.resume(plan);
                    engine.execute_stages(std::slice::from_mut(in_flight));
                }
                Err(error) => {
                    in_flight.fail(error);
                    break;
                }
            }
        }
        engine.roll_back(in_flight);
    }

    fn finish(&mut self, done: InFlight, engine: &mut Engine, results: &mut BatchResults) {
        let mut outcome = self.read_back(done, engine, results);
        for _ in 1..ATTEMPTS {
            let Some(plan) = self.plan_to_create_again(&outcome) else {
                break;
            };
            let mut again = InFlight::new(plan);
            engine.execute_stages(std::slice::from_mut(&mut again));
            self.settle(&mut again, engine);
            outcome = self.read_back(again, engine, &mut BatchResults::default());
        }
        self.reply(outcome);
    }

    fn fail(&mut self, error: Error) {
        self.reply(Err(error));
    }
}

/// Divides transactions into batches, which run one after the other. Transactions of one service
/// keep their order; those of no service (such as a clear) keep theirs with all others. Within a
/// batch, a service has either one transaction with a precondition, or several without: the kernel
/// executes those in order.
fn batches(
    transactions: Vec<Box<dyn PendingTransaction>>,
) -> Vec<Vec<Box<dyn PendingTransaction>>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    // The first batch after the last transaction of no service.
    let mut first = 0;
    // The last batch of a service, and whether its transactions there have no precondition.
    let mut last: HashMap<ServiceKey, (usize, bool)> = HashMap::new();
    for transaction in transactions {
        let [precondition, read_back] = transaction.queries();
        let blind = precondition.is_none();
        let service = precondition.or(read_back).and_then(|query| query.service());
        let index = match service {
            None => batches.len(),
            Some(key) => {
                let index = match last.get(&key) {
                    Some(&(index, true)) if blind => index,
                    Some(&(index, _)) => index + 1,
                    None => first,
                };
                let index = index.max(first);
                last.insert(key, (index, blind));
                index
            }
        };
        if index == batches.len() {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.get_mut(index) {
            batch.push(transaction);
        }
        if service.is_none() {
            first = batches.len();
        }
    }
    batches
}
