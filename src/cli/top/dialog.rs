//! What the user is asked, and the texts of it.

use super::update::{Change, ChangeKind};

/// A question, or a text over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    Help,
    /// The filter is typed. The text is what it was before.
    Filter(String),
    /// The new weight is typed; `from` is the present one of the change.
    Weight {
        change: Change,
        text: String,
    },
    Confirm(Change),
}

/// The keys, with what they do.
pub(super) const KEYS: [(&str, &str); 13] = [
    ("Up Down k j", "select"),
    ("PgUp PgDn", "a page up or down"),
    ("Home End", "the first or the last row"),
    ("Enter", "show the servers of the service"),
    ("Esc", "back to the services; clear the filter"),
    ("Left Right", "the column to sort by"),
    ("r", "reverse the order"),
    ("/", "filter by a part of the id or of the director"),
    ("d", "drain the server"),
    ("u", "end the drain of the server"),
    ("w", "change the weight of the server"),
    ("?", "this help"),
    ("q ^C", "quit"),
];

impl Change {
    /// What is asked before the change is made. `director` is its name.
    pub(super) fn question(&self, director: &str) -> [String; 3] {
        let Self { of, server, kind } = self;
        let what = match kind {
            ChangeKind::Drain => format!("Drain {server}?"),
            ChangeKind::Undrain(_) => format!("End the drain of {server}?"),
            ChangeKind::Weight { from, to } => {
                format!("Change the weight of {server} from {from} to {to}?")
            }
        };
        let effect = match kind {
            ChangeKind::Drain => "It gets no new connections until the drain is ended.".to_owned(),
            ChangeKind::Undrain(id) => format!("All servers of the drain {id} get their weights."),
            ChangeKind::Weight { to: 0, .. } => "It gets no new connections.".to_owned(),
            ChangeKind::Weight { .. } => String::new(),
        };
        [what, format!("in {} on {director}", of.service), effect]
    }

    /// The change as it was made.
    pub(super) fn done(&self) -> String {
        let server = self.server;
        match self.kind {
            ChangeKind::Drain => format!("{server} is drained: it gets no new connections"),
            ChangeKind::Undrain(id) => format!("the drain {id} of {server} has ended"),
            ChangeKind::Weight { to, .. } => format!("{server} has the weight {to}"),
        }
    }
}
