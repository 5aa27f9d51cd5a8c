//! Connection timeouts.

use super::{Answer, App, Guard, RequestContext, Written};
use crate::{
    executor::{Plan, Step, TimeoutsQuery, Transaction},
    identity::Verb,
    model::{Error, Op, Reason, Timeouts, TimeoutsDraft},
};

impl App {
    /// The timeouts (ipvsadm -L --timeout).
    pub async fn timeouts(&self, context: &RequestContext) -> Result<Answer<Timeouts>, Error> {
        Ok(self.read(context, TimeoutsQuery).await?.into())
    }

    /// Sets the timeouts that the draft names and keeps the others (ipvsadm --set).
    pub async fn update_timeouts(
        &self,
        context: &RequestContext,
        draft: TimeoutsDraft,
        guard: Guard,
    ) -> Result<Written<Timeouts>, Error> {
        let about = format!("timeouts {}", draft.fields().join(" "));
        let is_resumed = context.resumed;
        let plan = move |old: &Timeouts| {
            guard.plan(Some(&[old.etag()]), is_resumed, || {
                let new = draft.update(*old)?;
                check_kernel(new, *old)?;
                let set = Step::new(Op::SetTimeouts(new), Op::SetTimeouts(*old));
                Ok(Plan::of((new != *old).then_some(set)))
            })
        };
        let transaction = Transaction::new(TimeoutsQuery, plan, TimeoutsQuery)
            .about(about)
            .named("set_timeouts");
        Ok(self
            .write(context, Verb::SetTimeouts, transaction)
            .await?
            .into())
    }
}

/// Refuses timeouts that the kernel does not have.
fn check_kernel(wanted: Timeouts, current: Timeouts) -> Result<(), Error> {
    let possible = wanted.on_kernel(current).by_name();
    let mut pairs = wanted.by_name().into_iter().zip(possible);
    let Some(((name, _), _)) = pairs.find(|(wanted, possible)| wanted != possible) else {
        return Ok(());
    };
    let detail = format!("this kernel has no {name}: it was built without the protocol");
    Err(Error::new(Reason::UnsupportedByKernel, detail)
        .with_violation(name, "is not a timeout of this kernel; omit the field"))
}
