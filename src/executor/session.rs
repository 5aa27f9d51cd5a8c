//! A link that is made when it is needed, and made anew when it fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Kernel,
    link::{AskError, Link},
    unavailable,
};
use crate::model::{Errno, Error, Reason};

/// A link, or why there is none.
pub struct Session {
    kernel: Arc<dyn Kernel>,
    link: Option<Link>,
    /// The last failure to connect of all that are beside each other, which stands for a moment:
    /// each try may run modprobe.
    failure: Arc<Mutex<Option<(Instant, Error)>>>,
}

/// How long a failure to connect is answered again without a new try.
const FAILURE_STANDS: Duration = Duration::from_millis(200);

// === impl Session ===

impl Session {
    /// One that has not connected yet.
    pub fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self {
            kernel,
            link: None,
            failure: Arc::default(),
        }
    }

    /// Another one to the same kernel. What one finds, IPVS or none, counts for both.
    pub fn beside(&self) -> Self {
        Self {
            kernel: self.kernel.clone(),
            link: None,
            failure: self.failure.clone(),
        }
    }

    /// The link.
    pub fn link(&mut self) -> Result<&mut Link, Error> {
        if self.link.is_none() {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, error)) = &*failure
                && when.elapsed() < FAILURE_STANDS
            {
                return Err(error.clone());
            }
            match Link::connect(&*self.kernel) {
                Ok(link) => {
                    *failure = None;
                    self.link = Some(link);
                }
                Err(error) => {
                    let error = unavailable::no_link(error);
                    *failure = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        self.link
            .as_mut()
            .ok_or_else(|| Error::new(Reason::Internal, "no socket"))
    }

    /// Lets the link go, whatever is still on its way there.
    pub fn give_up(&mut self) {
        self.link = None;
    }

    /// Runs what only reads, again on a new socket where the first try breaks it.
    pub fn read<T>(
        &mut self,
        mut read: impl FnMut(&mut Link) -> Result<T, AskError>,
    ) -> Result<T, Error> {
        for attempt in 1.. {
            match read(self.link()?) {
                Ok(value) => return Ok(value),
                // ENOENT is never a question's own answer: the family has gone or moved.
                Err(error @ (AskError::Broken(_) | AskError::Refused(Errno::ENOENT))) => {
                    tracing::warn!(%error, "the netlink socket is given up");
                    self.give_up();
                    if attempt == 2 {
                        return Err(unavailable::broken(error));
                    }
                }
                Err(AskError::Interrupted) => {
                    return Err(Error::new(
                        Reason::Internal,
                        "other programs change the table faster than it can be read",
                    )
                    .with_hint("try again"));
                }
                Err(AskError::Refused(errno)) => return Err(unavailable::refused(errno)),
            }
        }
        Err(Error::new(Reason::Internal, "no answer"))
    }
}
