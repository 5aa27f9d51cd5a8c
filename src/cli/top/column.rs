//! The columns of figures, and the order of rows.

use std::cmp::Ordering;

use super::text::{approximate, count, rate};
use crate::client::{RatesFrame, ServerFrame, ServiceFrame, TotalsFrame};

/// A column. The first is the id, the second what only this kind of rows has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    /// Servers of a service, weight of a server.
    Own,
    Active,
    Inactive,
    Connections,
    PacketsIn,
    PacketsOut,
    BytesIn,
    BytesOut,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub column: Column,
    pub is_descending: bool,
}

/// The figures of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub own: u64,
    pub active: u64,
    pub inactive: u64,
    pub rates: Option<RatesFrame>,
}

// === impl Column ===

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Id,
        Self::Own,
        Self::Active,
        Self::Inactive,
        Self::Connections,
        Self::PacketsIn,
        Self::PacketsOut,
        Self::BytesIn,
        Self::BytesOut,
    ];

    /// The columns of figures that services and servers have.
    pub(super) const FIGURES: [Self; 7] = [
        Self::Active,
        Self::Inactive,
        Self::Connections,
        Self::PacketsIn,
        Self::PacketsOut,
        Self::BytesIn,
        Self::BytesOut,
    ];

    /// The two lines of the heading.
    pub(super) fn heading(self) -> [&'static str; 2] {
        match self {
            Self::Id | Self::Own => ["", ""],
            Self::Active => ["", "ACTIVE"],
            Self::Inactive => ["", "INACT"],
            Self::Connections => ["", "CONN/S"],
            Self::PacketsIn => ["PKT/S", "IN"],
            Self::PacketsOut => ["PKT/S", "OUT"],
            Self::BytesIn => ["B/S", "IN"],
            Self::BytesOut => ["B/S", "OUT"],
        }
    }

    /// For the line below the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Own => "servers or weight",
            Self::Active => "active connections",
            Self::Inactive => "inactive connections",
            Self::Connections => "connections/s",
            Self::PacketsIn => "packets/s in",
            Self::PacketsOut => "packets/s out",
            Self::BytesIn => "bytes/s in",
            Self::BytesOut => "bytes/s out",
        }
    }

    /// Width in characters; the id has the rest of the line.
    pub(super) fn width(self) -> u16 {
        match self {
            Self::Id => 0,
            Self::Own => 7,
            Self::Active | Self::Inactive | Self::Connections => 6,
            _ => 5,
        }
    }
}

// === impl Order ===

impl Default for Order {
    fn default() -> Self {
        Self {
            column: Column::Connections,
            is_descending: true,
        }
    }
}

impl Order {
    /// The order by the next column, within the ends: the highest figures first, but ids as in the alphabet.
    pub(super) fn beside(self, right: bool) -> Self {
        let at = Column::ALL.iter().position(|column| *column == self.column);
        let at = at.unwrap_or(0);
        let at = if right { at + 1 } else { at.saturating_sub(1) };
        match Column::ALL.get(at) {
            Some(&column) if column != self.column => Self {
                column,
                is_descending: column != Column::Id,
            },
            _ => self,
        }
    }

    /// Compares rows; those that are equal in the column, by their ids.
    pub(super) fn compare<T: Ord>(&self, a: (&T, &Figures), b: (&T, &Figures)) -> Ordering {
        let by_id = a.0.cmp(b.0);
        let by_column = match self.column {
            Column::Id => by_id,
            column => a.1.number(column).total_cmp(&b.1.number(column)),
        };
        let ordered = match self.is_descending {
            true => by_column.reverse(),
            false => by_column,
        };
        ordered.then(by_id)
    }
}

// === impl Figures ===

impl Figures {
    /// The number in a column, for comparisons.
    fn number(&self, column: Column) -> f64 {
        match column {
            Column::Id => 0.0,
            Column::Own => approximate(self.own),
            Column::Active => approximate(self.active),
            Column::Inactive => approximate(self.inactive),
            // Unknown rates are less than known ones.
            column => self.rate(column).unwrap_or(-1.0),
        }
    }

    fn rate(&self, column: Column) -> Option<f64> {
        let rates = self.rates?;
        Some(match column {
            Column::PacketsIn => rates.packets_in,
            Column::PacketsOut => rates.packets_out,
            Column::BytesIn => rates.bytes_in,
            Column::BytesOut => rates.bytes_out,
            _ => rates.connections,
        })
    }

    /// The text in one of [`Column::FIGURES`].
    pub(super) fn text(&self, column: Column) -> String {
        match column {
            Column::Active => count(self.active),
            Column::Inactive => count(self.inactive),
            column => rate(self.rate(column)),
        }
    }
}

impl From<&TotalsFrame> for Figures {
    fn from(totals: &TotalsFrame) -> Self {
        Self {
            own: totals.server_count,
            active: totals.active_connections,
            inactive: totals.inactive_connections,
            rates: totals.rates,
        }
    }
}

impl From<&ServiceFrame> for Figures {
    fn from(service: &ServiceFrame) -> Self {
        Self {
            own: service.server_count,
            active: service.active_connections,
            inactive: service.inactive_connections,
            rates: service.rates,
        }
    }
}

impl From<&ServerFrame> for Figures {
    fn from(server: &ServerFrame) -> Self {
        Self {
            own: server.weight.into(),
            active: server.active_connections,
            inactive: server.inactive_connections,
            rates: server.rates,
        }
    }
}
