//! Timeouts of connections.

use super::{Answer, App, Guard, RequestContext, Written, mismatch};
use crate::{
    executor::{Change, Plan, Seen, Step},
    model::{Error, Op, Query, Timeouts, TimeoutsDraft},
};

impl App {
    /// The timeouts (ipvsadm -L --timeout).
    pub async fn timeouts(&self, context: &RequestContext) -> Result<Answer<Timeouts>, Error> {
        self.ask(context, Query::Timeouts, |seen| match seen {
            Seen::Timeouts(timeouts) => Some(timeouts),
            _ => None,
        })
        .await
    }

    /// Sets the timeouts that the draft names, keeps the others (ipvsadm --set).
    pub async fn update_timeouts(
        &self,
        context: &RequestContext,
        draft: TimeoutsDraft,
        guard: Guard,
    ) -> Result<Written<Timeouts>, Error> {
        let decide = move |seen: Option<&Seen>| {
            let Some(Seen::Timeouts(old)) = seen else {
                return Err(mismatch());
            };
            guard.check(Some(&[old.etag()]))?;
            let new = draft.update(*old)?;
            let set = Step::new(Op::SetTimeouts(new), Op::SetTimeouts(*old));
            Ok(Plan::of((new != *old).then_some(set)))
        };
        let query = Some(Query::Timeouts);
        let change = Change {
            look: query,
            decide: Box::new(decide),
            read_back: query,
        };
        let changed = self.executor.change(change, context.deadline).await?;
        match changed.seen {
            Some(Seen::Timeouts(value)) => Ok(Written {
                value,
                created: false,
                changed: changed.changed,
            }),
            _ => Err(mismatch()),
        }
    }
}
