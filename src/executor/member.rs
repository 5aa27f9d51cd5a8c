//! Servers of services, as the holds and the fallback servers know them.

use crate::model::{ServerKey, ServiceKey};

/// A server of a service.
pub type Member = (ServiceKey, ServerKey);

/// Members of all holds at most: about 10 MB.
pub const MAX_HELD: usize = 65_536;
