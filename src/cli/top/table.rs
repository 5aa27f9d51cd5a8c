//! Rows of figures under their headings.

use ratatui::{
    layout::{Constraint, Rect},
    style::Style,
    text::{Line, Text},
    widgets::{Cell, Row, Table},
};

use super::{
    column::{Column, Figures, Order},
    style::Styles,
    text::shorten,
};

/// The shape of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Width of the names of the directors; 0 without.
    pub director: u16,
    /// Width of the id.
    id: u16,
    /// Width of the hold at the end; 0 without.
    hold: u16,
    styles: Styles,
}

/// The texts of a row that are no figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Labels<'a> {
    pub director: &'a str,
    pub id: &'a str,
    /// In [`Column::Own`].
    pub own: &'a str,
    pub hold: &'a str,
}

/// Width of the column of holds.
const HOLD: u16 = 5;
/// Between columns.
const SPACING: u16 = 1;

// === impl Shape ===

impl Shape {
    /// The shape of a table of this width. `director`: the width of the longest name of a director; 0 without.
    pub(super) fn new(width: u16, director: u16, has_holds: bool, styles: Styles) -> Self {
        let hold = if has_holds { HOLD } else { 0 };
        let mut shape = Self {
            director,
            id: 0,
            hold,
            styles,
        };
        let others = shape.widths().into_iter().map(|width| width + SPACING);
        // Without the spacing of the id's own column, which is the first that is not counted.
        shape.id = width.saturating_sub(others.sum::<u16>() - SPACING);
        shape
    }

    /// The widths of the columns, the id included.
    fn widths(&self) -> Vec<u16> {
        let director = Some(self.director).filter(|width| *width > 0);
        let hold = Some(self.hold).filter(|width| *width > 0);
        let figures = Column::FIGURES.map(Column::width);
        let own = [self.id, Column::Own.width()];
        director
            .into_iter()
            .chain(own)
            .chain(figures)
            .chain(hold)
            .collect()
    }

    /// The headings, in two lines. `own` is that of [`Column::Own`].
    pub(super) fn heading(
        &self,
        id: &'static str,
        own: &'static str,
        order: Order,
    ) -> Row<'static> {
        let style = |column| match column == order.column {
            true => self.styles.sorted(),
            false => self.styles.heading(),
        };
        let cell = |column: Column, [first, second]: [&'static str; 2]| {
            let lines = [
                Line::styled(first, self.styles.heading()),
                Line::styled(second, style(column)),
            ];
            let text = Text::from_iter(lines);
            match column {
                Column::Id => Cell::from(text),
                _ => Cell::from(text.right_aligned()),
            }
        };
        let mut cells = Vec::new();
        if self.director > 0 {
            let lines = [
                Line::default(),
                Line::styled("DIRECTOR", self.styles.heading()),
            ];
            cells.push(Cell::from(Text::from_iter(lines)));
        }
        cells.push(cell(Column::Id, ["", id]));
        cells.push(cell(Column::Own, ["", own]));
        cells.extend(Column::FIGURES.map(|column| cell(column, column.heading())));
        if self.hold > 0 {
            let lines = [Line::default(), Line::styled("HELD", self.styles.heading())];
            cells.push(Cell::from(Text::from_iter(lines)));
        }
        Row::new(cells).height(2)
    }

    /// A row. Without figures, their columns are empty.
    pub(super) fn row(
        &self,
        labels: Labels<'_>,
        figures: Option<&Figures>,
        style: Style,
    ) -> Row<'static> {
        let left = |text: &str, width: u16| {
            let text = self.styles.text(text);
            Cell::from(shorten(&text, width.into(), self.styles.ellipsis()))
        };
        let right = |text: String| Cell::from(Text::from(text).right_aligned());
        let mut cells = Vec::new();
        if self.director > 0 {
            cells.push(left(labels.director, self.director));
        }
        cells.push(left(labels.id, self.id));
        cells.push(right(labels.own.to_owned()));
        cells.extend(
            Column::FIGURES.map(|column| {
                right(figures.map_or_else(String::new, |figures| figures.text(column)))
            }),
        );
        if self.hold > 0 {
            cells.push(left(labels.hold, self.hold).style(self.styles.held()));
        }
        Row::new(cells).style(style)
    }

    /// The rows as a table.
    pub(super) fn table<'a>(&self, rows: Vec<Row<'a>>) -> Table<'a> {
        let widths = self.widths().into_iter().map(Constraint::Length);
        Table::new(rows, widths).column_spacing(SPACING)
    }
}

/// The line at `index` of an area, and what is below it.
pub(super) fn split_line(area: Rect, lines: u16) -> (Rect, Rect) {
    let lines = lines.min(area.height);
    let top = Rect {
        height: lines,
        ..area
    };
    let rest = Rect {
        y: area.y + lines,
        height: area.height - lines,
        ..area
    };
    (top, rest)
}
