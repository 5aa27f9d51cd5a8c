//! What the threads report to the screen, and what it asks of them.

use ratatui::crossterm::event::Event;

use crate::{
    client::{ServiceFrame, StatsFrame},
    model::{HoldId, Server, ServerKey, ServiceKey},
};

/// Something has happened.
#[derive(Debug)]
pub(super) enum Update {
    /// A key, or a new size of the terminal.
    Terminal(Event),
    /// Figures of a director, by its index; or why there are none.
    Frame(usize, Result<StatsFrame, String>),
    /// Figures of the service that is shown with its servers; or why there are none.
    Service(Shown, Result<ServiceFigures, String>),
    /// What has become of a change.
    Changed(Result<String, String>),
    /// The program is to end, with this exit code.
    End(u8),
}

/// A service of a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Index of the director.
    pub director: usize,
    pub service: ServiceKey,
}

/// A service with its servers, as the stream has it, and as it is configured.
#[derive(Clone, Debug)]
pub(super) struct ServiceFigures {
    pub frame: ServiceFrame,
    pub servers: Vec<Server>,
}

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Show the servers of a service.
    Open(Shown),
    /// Show the services again.
    Close,
    Change(Change),
}

/// A change of a server, which the user has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub of: Shown,
    pub server: ServerKey,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Drain,
    /// End this drain.
    Undrain(HoldId),
    Weight {
        from: u32,
        to: u32,
    },
}
