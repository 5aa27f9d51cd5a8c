//! Ramps: the weight of a server grows or shrinks in steps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Hold, HoldId, HoldKind, RampRequest, ServerKey, ServiceKey, word::words};

/// A ramp: the weight of a server reaches `to` in steps. `to` is the intended weight from the begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// Id, a URL path segment.
    pub id: HoldId,
    /// Id of the service.
    pub service: ServiceKey,
    /// Id of the server.
    pub server: ServerKey,
    /// The weight in the kernel at the begin.
    pub from: u32,
    /// The weight in the end.
    pub to: u32,
    /// Seconds from `create_time` to the end.
    pub over_seconds: u32,
    /// Number of steps.
    pub steps: u32,
    /// The weight of the current step. The kernel has it unless the server is drained.
    pub weight: u32,
    /// How far it is.
    pub state: RampState,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it ended. Absent while it holds the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
}

words! {
    /// How far a ramp is.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    RampState {
        /// It is in progress.
        Ramping = "ramping",
        /// The weight is `to`.
        Done = "done",
        /// It was deleted before; the weight is `to`.
        Cancelled = "cancelled",
        /// The weight was changed, the server was deleted, or another ramp has replaced it.
        Superseded = "superseded",
    }
}

// === impl Ramp ===

impl Ramp {
    /// A ramp that begins now, at this weight.
    pub(crate) fn begin(id: HoldId, request: RampRequest, from: u32) -> Self {
        let RampRequest {
            service,
            server,
            to,
            over_seconds,
            steps,
        } = request;
        Self {
            id,
            service,
            server,
            from,
            to,
            over_seconds,
            steps,
            weight: from,
            state: RampState::Ramping,
            create_time: Timestamp::now(),
            end_time: None,
        }
    }

    /// Whether it holds its server.
    pub fn is_active(&self) -> bool {
        self.end_time.is_none()
    }

    pub(crate) fn member(&self) -> (ServiceKey, ServerKey) {
        (self.service, self.server)
    }

    /// The hold of the current step.
    pub(crate) fn hold(&self) -> Hold {
        Hold {
            kind: HoldKind::Ramp,
            id: self.id,
            weight: self.weight,
        }
    }

    /// The weight at a time: that of the last step before it.
    pub(crate) fn weight_at(&self, now: Timestamp) -> u32 {
        let elapsed = now.duration_since(self.create_time).as_millis().max(0);
        let over = i128::from(self.over_seconds) * 1000;
        let steps = i128::from(self.steps);
        let step = (elapsed * steps / over).min(steps);
        let (from, to) = (i128::from(self.from), i128::from(self.to));
        // Between two weights that fit.
        (from + (to - from) * step / steps) as u32
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.create_time).as_secs() >= i64::from(self.over_seconds)
    }

    pub(crate) fn end(&mut self, state: RampState) {
        self.state = state;
        self.end_time = Some(Timestamp::now());
    }
}
