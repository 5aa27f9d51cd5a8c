//! `ipvsctl top`: services and servers with their rates, and keys to drain servers.

mod column;
mod dialog;
mod feed;
mod keys;
mod screen;
mod state;
mod style;
mod table;
mod terminal;
mod text;
mod update;

#[cfg(test)]
mod tests;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::{Duration, Instant},
};

use ratatui::crossterm::event::Event;

use self::{
    feed::Feeds,
    screen::draw,
    state::State,
    style::Styles,
    terminal::Screen,
    update::{Action, Update},
};
use super::{args::TopArgs, error::CliError, options::Options, signals, target::Target};

/// Updates that may wait to be shown. What sends more waits.
const PENDING: usize = 16;
/// Longest time until the screen is drawn again: ages are shown in seconds.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows the screen until the user ends it; returns the exit code.
pub(super) fn run(args: &TopArgs, options: &Options) -> Result<u8, CliError> {
    terminal::check()?;
    let targets = Target::of(options)?;
    let name = |target: &Target| match &target.name {
        Some(name) => name.clone(),
        None => target.client.endpoint().to_string(),
    };
    let interval = Duration::from_secs(args.interval.into());
    let state = State::new(targets.iter().map(name).collect(), interval);
    let (sender, updates) = sync_channel(PENDING);
    let ended = sender.clone();
    signals::at_end(move |signal| {
        let code = u8::try_from(128 + signal as i32).unwrap_or(1);
        let _ = ended.send(Update::End(code));
    })?;
    let feeds = Feeds::new(targets, interval, sender);
    let screen = Screen::open()?;
    feeds.start()?;
    show(
        screen,
        state,
        feeds,
        &updates,
        Styles::of_environment(options.color),
    )
}

/// Shows updates, and does what the keys ask for.
fn show(
    mut screen: Screen,
    mut state: State,
    mut feeds: Feeds,
    updates: &Receiver<Update>,
    styles: Styles,
) -> Result<u8, CliError> {
    loop {
        let now = Instant::now();
        screen
            .terminal
            .draw(|frame| draw(frame, &mut state, styles, now))?;
        let update = match updates.recv_timeout(REDRAW) {
            Ok(update) => update,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(1),
        };
        match update {
            Update::End(code) => return Ok(code),
            Update::Terminal(Event::Key(key)) => match state.key(key) {
                None => {}
                Some(Action::Quit) => return Ok(0),
                Some(Action::Open(shown)) => feeds.show(shown)?,
                Some(Action::Close) => feeds.hide(),
                Some(Action::Change(change)) => feeds.change(change)?,
            },
            Update::Terminal(_) => {}
            update => state.update(update, Instant::now()),
        }
    }
}
