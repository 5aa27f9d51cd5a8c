//! What the keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    dialog::Dialog,
    state::{Detail, List, State},
    update::{Action, Change, ChangeKind, Shown},
};
use crate::model::{HoldKind, ServerConfig, ServerKey};

/// Longest filter in characters.
const MAX_FILTER: usize = 100;
/// Longest weight in digits.
const MAX_DIGITS: usize = 5;

// === impl State ===

impl State {
    /// Handles a key; returns what it asks for.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind != KeyEventKind::Press {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
        }
        self.message = None;
        match self.dialog.take() {
            Some(dialog) => self.dialog_key(dialog, key.code),
            None => self.table_key(key.code),
        }
    }

    /// The dialog is closed unless it is set again.
    fn dialog_key(&mut self, dialog: Dialog, code: KeyCode) -> Option<Action> {
        match dialog {
            Dialog::Help => {}
            Dialog::Filter(before) => {
                match code {
                    KeyCode::Enter => return None,
                    KeyCode::Esc => {
                        self.filter = before;
                        return None;
                    }
                    code => edit(&mut self.filter, code, MAX_FILTER, |c| !c.is_control()),
                }
                self.dialog = Some(Dialog::Filter(before));
            }
            Dialog::Weight { change, mut text } => match code {
                KeyCode::Esc => {}
                KeyCode::Enter => self.confirm_weight(change, &text),
                code => {
                    edit(&mut text, code, MAX_DIGITS, |c| c.is_ascii_digit());
                    self.dialog = Some(Dialog::Weight { change, text });
                }
            },
            Dialog::Confirm(change) => match code {
                KeyCode::Char('y' | 'Y') => return Some(Action::Change(change)),
                KeyCode::Char('n' | 'N') | KeyCode::Esc => {}
                // A key that was typed too early must not be an answer.
                _ => self.dialog = Some(Dialog::Confirm(change)),
            },
        }
        None
    }

    fn confirm_weight(&mut self, change: Change, text: &str) {
        let max = ServerConfig::MAX_WEIGHT;
        let ChangeKind::Weight { from, .. } = change.kind else {
            return;
        };
        match text.parse() {
            Ok(to) if to == from => {
                self.message = Some(Err(format!("the weight is {from} already")));
            }
            Ok(to) if to <= max => {
                let kind = ChangeKind::Weight { from, to };
                self.dialog = Some(Dialog::Confirm(Change { kind, ..change }));
            }
            _ => self.message = Some(Err(format!("a weight is a number from 0 to {max}"))),
        }
    }

    fn table_key(&mut self, code: KeyCode) -> Option<Action> {
        match code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') => self.dialog = Some(Dialog::Help),
            KeyCode::Char('/') if self.detail.is_none() => {
                self.dialog = Some(Dialog::Filter(self.filter.clone()));
            }
            KeyCode::Enter if self.detail.is_none() => {
                let shown = self.services.selected(&self.keys())?;
                self.detail = Some(Detail::new(shown));
                return Some(Action::Open(shown));
            }
            KeyCode::Esc | KeyCode::Backspace => {
                if self.detail.take().is_some() {
                    return Some(Action::Close);
                }
                self.filter.clear();
            }
            KeyCode::Char(letter @ ('d' | 'u' | 'w')) => self.ask(letter),
            code => match &mut self.detail {
                Some(detail) => {
                    let keys = detail.keys();
                    list_key(&mut detail.servers, &keys, code);
                }
                None => {
                    let keys = self.keys();
                    list_key(&mut self.services, &keys, code);
                }
            },
        }
        None
    }

    /// The services in their order.
    pub(super) fn keys(&self) -> Vec<Shown> {
        self.rows().into_iter().map(|(shown, ..)| shown).collect()
    }

    /// Asks about a change of the selected server.
    fn ask(&mut self, letter: char) {
        match self.dialog_of(letter) {
            Ok(dialog) => self.dialog = Some(dialog),
            Err(message) => self.message = Some(Err(message.to_owned())),
        }
    }

    fn dialog_of(&self, letter: char) -> Result<Dialog, &'static str> {
        let detail = self.detail.as_ref();
        let detail = detail.ok_or("open a service with Enter, and select a server first")?;
        let rows = detail.rows();
        let keys: Vec<ServerKey> = rows.iter().map(|row| row.frame.id).collect();
        let selected = detail.servers.selected(&keys);
        let row = rows.iter().find(|row| Some(row.frame.id) == selected);
        let row = row.ok_or("the service has no servers")?;
        let change = |kind| Change {
            of: detail.shown,
            server: row.frame.id,
            kind,
        };
        match letter {
            'd' if row.hold() == Some(HoldKind::Drain) => {
                Err("the server is drained already; u ends the drain")
            }
            'd' => Ok(Dialog::Confirm(change(ChangeKind::Drain))),
            'u' => {
                let holds = row.server.and_then(|server| server.holds.as_deref());
                let mut holds = holds.unwrap_or_default().iter();
                let drain = holds.find(|hold| hold.kind == HoldKind::Drain);
                let drain = drain.ok_or("the server has no drain")?;
                Ok(Dialog::Confirm(change(ChangeKind::Undrain(drain.id))))
            }
            _ => {
                let from = row.weight();
                Ok(Dialog::Weight {
                    change: change(ChangeKind::Weight { from, to: from }),
                    text: String::new(),
                })
            }
        }
    }
}

/// Edits a text of one line.
fn edit(text: &mut String, code: KeyCode, max: usize, accepts: impl Fn(char) -> bool) {
    match code {
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(c) if accepts(c) && text.chars().count() < max => text.push(c),
        _ => {}
    }
}

/// Selects a row, or the order.
fn list_key<K: Copy + PartialEq>(list: &mut List<K>, keys: &[K], code: KeyCode) {
    let page = list.page();
    match code {
        KeyCode::Up | KeyCode::Char('k') => list.move_by(-1, keys),
        KeyCode::Down | KeyCode::Char('j') => list.move_by(1, keys),
        KeyCode::PageUp => list.move_by(-page, keys),
        KeyCode::PageDown => list.move_by(page, keys),
        KeyCode::Home => list.move_by(isize::MIN, keys),
        KeyCode::End => list.move_by(isize::MAX, keys),
        KeyCode::Left | KeyCode::Char('<') => list.order = list.order.beside(false),
        KeyCode::Right | KeyCode::Char('>') => list.order = list.order.beside(true),
        KeyCode::Char('r') => list.order.is_descending = !list.order.is_descending,
        _ => {}
    }
}
