//! Draws the screen.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::Line,
    widgets::{Block, Clear, Paragraph, Row, Widget, Wrap},
};

use super::{
    column::Figures,
    dialog::{Dialog, KEYS},
    state::{Detail, Director, State},
    style::Styles,
    table::{Labels, Shape, split_line},
    text::{age, count, cut, shorten},
};
use crate::{cli::escape::escape, client::TotalsFrame, model::HoldKind};

/// The smallest terminal in which ids of IPv4 services and the help can be read.
const MIN_WIDTH: u16 = 72;
const MIN_HEIGHT: u16 = 18;
/// Width of the longest director's name that is shown as it is.
const MAX_NAME: usize = 12;

/// The screen while it is drawn.
struct Screen<'a, 'b> {
    frame: &'a mut Frame<'b>,
    styles: Styles,
    now: Instant,
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, styles: Styles, now: Instant) {
    let area = frame.area();
    let mut screen = Screen { frame, styles, now };
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        let text = format!("ipvsctl top needs a terminal of {MIN_WIDTH}x{MIN_HEIGHT} characters");
        let text = Paragraph::new(text).wrap(Wrap { trim: true });
        screen.frame.render_widget(text, area);
        return;
    }
    let (title, rest) = split_line(area, 1);
    let (body, status) = split_line(rest, rest.height - 1);
    screen.title(title, state);
    match state.detail.take() {
        Some(mut detail) => {
            screen.service(body, state, &mut detail);
            state.detail = Some(detail);
        }
        None => screen.services(body, state),
    }
    screen.status(status, state);
    match &state.dialog {
        Some(Dialog::Help) => screen.help(body),
        Some(Dialog::Confirm(change)) => {
            let name = state.directors.get(change.of.director);
            let name = escape(name.map_or("", |director| &director.name));
            let [what, place, effect] = change.question(&name);
            let lines = [what, place, effect, "y: yes   n: no".to_owned()];
            let lines = lines.into_iter().filter(|line| !line.is_empty());
            screen.popup(body, " Confirm ", lines.collect());
        }
        Some(Dialog::Filter(_) | Dialog::Weight { .. }) | None => {}
    }
}

// === impl Screen ===

impl Screen<'_, '_> {
    fn line(&mut self, area: Rect, text: &str, style: Style) {
        let text = self.styles.text(text);
        let text = cut(&text, area.width.into(), self.styles.ellipsis());
        self.frame.render_widget(Line::styled(text, style), area);
    }

    fn title(&mut self, area: Rect, state: &State) {
        let keys = format!("every {} s   ?: help   q: quit", state.interval.as_secs());
        let width = usize::from(area.width).saturating_sub(keys.len() + 1);
        let name = |index| {
            let director: Option<&Director> = state.directors.get(index);
            escape(director.map_or("", |director| &director.name))
        };
        let mut what = "ipvsctl top: ".to_owned();
        let place = match (&state.detail, state.directors.len()) {
            (Some(detail), _) => {
                what += &format!("{} on ", detail.shown.service);
                name(detail.shown.director)
            }
            (None, 1) => name(0),
            (None, count) => format!("{count} directors"),
        };
        // The id before the name of the director.
        let left = width.saturating_sub(what.len());
        what += &shorten(&place, left, self.styles.ellipsis());
        let what = shorten(&what, width, self.styles.ellipsis());
        self.line(
            area,
            &format!("{what:width$} {keys}"),
            self.styles.heading(),
        );
    }

    /// The directors and their services.
    fn services(&mut self, area: Rect, state: &mut State) {
        let name = |director: &Director| escape(&director.name).chars().count();
        let names = state.directors.iter().map(name).max().unwrap_or(0);
        let width = match state.directors.len() {
            0 | 1 => 0,
            _ => u16::try_from(names.clamp(8, MAX_NAME)).unwrap_or(8),
        };
        let shape = Shape::new(area.width, width, false, self.styles);
        let mut rows = vec![shape.heading("SERVICE", "SERVERS", state.services.order)];
        let most = usize::from(area.height / 3).max(1);
        let shown = state.directors.iter().take(most);
        rows.extend(shown.map(|director| self.totals(&shape, director, state)));
        let height = u16::try_from(rows.len() + 1).unwrap_or(area.height);
        let (head, rest) = split_line(area, height);
        self.frame.render_widget(shape.table(rows), head);
        let rest = self.notes(rest, notes(state, self.styles, self.now));
        let keys = state.keys();
        let (range, selected) = state.services.show(&keys, rest.height.into());
        let rows = state.rows();
        let place = range.start;
        let visible = rows.get(range).unwrap_or_default();
        let rows = visible.iter().enumerate().map(|(index, row)| {
            let (shown, figures, service) = row;
            let director = state.directors.get(shown.director);
            let age = director.and_then(|one| one.latest.age(state.interval, self.now));
            let style = match (place + index == selected, age) {
                (true, _) => self.styles.selected(),
                (false, Some(_)) => self.styles.old(),
                (false, None) => Style::new(),
            };
            let own = format!(
                "{}/{}",
                count(service.available_server_count),
                count(service.server_count)
            );
            let labels = Labels {
                director: &escape(director.map_or("", |director| &director.name)),
                id: &shown.service.to_string(),
                own: &own,
                hold: "",
            };
            shape.row(labels, Some(figures), style)
        });
        let table = shape.table(rows.collect());
        self.frame.render_widget(table, rest);
    }

    /// The sums of a director.
    fn totals(&self, shape: &Shape, director: &Director, state: &State) -> Row<'static> {
        let frame = director.latest.figures.as_ref();
        let totals = frame.map(|frame| &frame.totals);
        let id = match totals {
            Some(TotalsFrame {
                service_count: 1, ..
            }) => "total of 1 service".to_owned(),
            Some(totals) => format!("total of {} services", count(totals.service_count)),
            None => "no figures yet".to_owned(),
        };
        let labels = Labels {
            director: &escape(&director.name),
            id: &id,
            own: &totals.map_or_else(String::new, |totals| count(totals.server_count)),
            hold: "",
        };
        let style = match director.latest.age(state.interval, self.now) {
            Some(_) => self.styles.old(),
            None => self.styles.heading(),
        };
        let figures = totals.map(Figures::from);
        shape.row(labels, figures.as_ref(), style)
    }

    /// Writes what is wrong; returns the area below.
    fn notes(&mut self, area: Rect, notes: Vec<String>) -> Rect {
        let most = usize::from(area.height / 3).max(1);
        let hidden = notes.len().saturating_sub(most);
        let mut rest = area;
        for note in notes.into_iter().take(most) {
            let (line, below) = split_line(rest, 1);
            self.line(line, &note, self.styles.failure());
            rest = below;
        }
        if hidden > 0 {
            let (line, below) = split_line(rest, 1);
            self.line(line, &format!("! and {hidden} more"), self.styles.failure());
            rest = below;
        }
        split_line(rest, 1).1
    }

    /// A service with its servers.
    fn service(&mut self, area: Rect, state: &State, detail: &mut Detail) {
        let shape = Shape::new(area.width, 0, true, self.styles);
        let heading = shape.heading("SERVER", "WEIGHT", detail.servers.order);
        let mut rows = vec![heading];
        let old = detail.latest.age(state.interval, self.now);
        if let Some(figures) = &detail.latest.figures {
            let service = &figures.frame;
            let labels = Labels {
                id: &format!("total of {} servers", count(service.server_count)),
                ..Labels::default()
            };
            rows.push(shape.row(labels, Some(&Figures::from(service)), self.styles.heading()));
        }
        let height = u16::try_from(rows.len() + 1).unwrap_or(area.height);
        let (head, rest) = split_line(area, height);
        self.frame.render_widget(shape.table(rows), head);
        let note = note(&detail.latest.error, old, detail.latest.figures.is_some());
        let note = note.map(|note| format!("! {note}"));
        let rest = self.notes(rest, note.into_iter().collect());
        let keys = detail.keys();
        let (range, selected) = detail.servers.show(&keys, rest.height.into());
        let place = range.start;
        let rows = detail.rows();
        let visible = rows.get(range).unwrap_or_default();
        let rows = visible.iter().enumerate().map(|(index, row)| {
            let style = match (place + index == selected, old) {
                (true, _) => self.styles.selected(),
                (false, Some(_)) => self.styles.old(),
                (false, None) => Style::new(),
            };
            let labels = Labels {
                director: "",
                id: &row.frame.id.to_string(),
                own: &row.weight().to_string(),
                hold: match row.hold() {
                    Some(HoldKind::Drain) => "drain",
                    Some(HoldKind::Ramp) => "ramp",
                    Some(HoldKind::Health) => "health",
                    Some(HoldKind::Manual) => "manual",
                    None => "",
                },
            };
            shape.row(labels, Some(&row.figures), style)
        });
        let table = shape.table(rows.collect());
        self.frame.render_widget(table, rest);
    }

    /// The last line: what is typed, what has become of a change, or the order.
    fn status(&mut self, area: Rect, state: &State) {
        let (text, style) = match (&state.dialog, &state.message) {
            (Some(Dialog::Filter(_)), _) => (format!("filter: {}_", state.filter), Style::new()),
            (Some(Dialog::Weight { change, text }), _) => (
                format!("weight of {}: {text}_", change.server),
                Style::new(),
            ),
            (_, Some(Ok(text))) => (escape(text), self.styles.success()),
            (_, Some(Err(text))) => (escape(text), self.styles.failure()),
            (_, None) => (self.order(state), Style::new()),
        };
        self.line(area, &text, style);
    }

    fn order(&self, state: &State) -> String {
        let order = match &state.detail {
            Some(detail) => detail.servers.order,
            None => state.services.order,
        };
        let direction = if order.is_descending {
            "descending"
        } else {
            "ascending"
        };
        let mut text = format!("by {}, {direction}", order.column.name());
        if state.detail.is_some() {
            text += "   d: drain   u: end drain   w: weight   Esc: back";
        } else if !state.filter.is_empty() {
            let (shown, all) = (state.rows().len(), state.service_count());
            text += &format!("   filter {:?}: {shown} of {all} services", state.filter);
        }
        text
    }

    fn help(&mut self, area: Rect) {
        let lines = KEYS.map(|(keys, text)| format!("{keys:<12}{text}"));
        self.popup(area, " Keys ", lines.to_vec());
    }

    /// Writes lines in a box in the middle.
    fn popup(&mut self, area: Rect, title: &'static str, lines: Vec<String>) {
        let width = lines.iter().map(|line| line.chars().count()).max();
        let width = u16::try_from(width.unwrap_or(0) + 4).unwrap_or(area.width);
        let height = u16::try_from(lines.len() + 2).unwrap_or(area.height);
        let (width, height) = (width.min(area.width), height.min(area.height));
        let popup = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 2,
            width,
            height,
        };
        let lines = lines
            .iter()
            .map(|line| self.styles.text(&format!(" {line}")));
        let lines: Vec<_> = lines.map(Line::from).collect();
        let block = Block::bordered()
            .border_set(self.styles.border())
            .title(title);
        Clear.render(popup, self.frame.buffer_mut());
        self.frame
            .render_widget(Paragraph::new(lines).block(block), popup);
    }
}

/// What is wrong with the figures of the directors.
fn notes(state: &State, styles: Styles, now: Instant) -> Vec<String> {
    let mut notes = Vec::new();
    for director in &state.directors {
        let latest = &director.latest;
        let age = latest.age(state.interval, now);
        // The only one is named in the title.
        let name = match state.directors.len() {
            1 => String::new(),
            _ => shorten(&escape(&director.name), MAX_NAME, styles.ellipsis()) + ": ",
        };
        if let Some(note) = note(&latest.error, age, latest.figures.is_some()) {
            notes.push(format!("! {name}{note}"));
        }
        let figures = latest.figures.as_ref();
        if figures.is_some_and(|frame| !frame.estimation) {
            notes.push(format!(
                "! {name}the kernel does not refresh the counters of services (run_estimation)"
            ));
        }
    }
    notes
}

/// What is wrong with figures: that they are old, or missing, and why.
fn note(
    error: &Option<String>,
    old: Option<std::time::Duration>,
    has_figures: bool,
) -> Option<String> {
    let error = error.as_deref().map(escape);
    match (error, old) {
        (Some(error), Some(old)) => Some(format!("figures {} old: {error}", age(old))),
        (Some(error), None) if !has_figures => Some(format!("no figures: {error}")),
        (Some(error), None) => Some(error),
        (None, Some(old)) => Some(format!("figures {} old", age(old))),
        (None, None) => None,
    }
}
