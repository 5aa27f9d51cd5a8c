//! ipvsadm's command language: parses command lines, prints listings. Pure: names are resolved by a
//! [`Resolver`] or [`Names`], text is written to an `io::Write`.
//!
//! The command line, `-R`, `POST /v1/rules` and `RestoreRules` share [`parse`]; `-S`,
//! `GET /v1/rules` and `SaveRules` share [`write_rules`].

mod address;
mod columns;
mod compat;
mod connections;
mod errno;
mod error;
mod input;
mod lexer;
mod list;
mod names;
mod number;
mod option;
mod option_names;
mod option_table;
mod parse;
mod save;
mod sort;
mod status;
mod synopsis;
mod value;

pub use connections::{ConnectionLine, write_connection, write_connection_header};
pub use errno::errno_message;
pub use error::{OptionError, ParseError, ParseResult};
pub use input::{Line, Lines};
pub use lexer::{ExtraOption, ExtraValue};
pub use list::{ListFormat, ListMode, write_list, write_version};
pub use names::{Names, Numeric, Resolver, WellKnownPorts};
pub use option_table::{Argument, OPTIONS, OptionSpec};
pub use parse::{CommandLine, List, Parsed, parse, parse_with};
pub use save::{service_option, write_op, write_rules};
pub use sort::Order;
pub use status::{write_sync_daemons, write_timeouts};
pub use synopsis::{service_synopsis, synopses};
