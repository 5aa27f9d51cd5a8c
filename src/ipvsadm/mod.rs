//! The language of ipvsadm: command lines in, listings out. Pure: what a name means is asked of a
//! [`Resolver`], text goes to any `io::Write`.
//!
//! The command line, `-R`, `POST /v1/rules` and `RestoreRules` all read through [`parse`]; `-S`,
//! `GET /v1/rules` and `SaveRules` all write through [`save`].

mod address;
mod columns;
mod compat;
mod connections;
mod error;
mod input;
mod lexer;
mod list;
mod names;
mod number;
mod option;
mod parse;
mod refusal;
mod save;
mod sort;
mod status;
mod value;

pub use connections::{ConnectionLine, write_connection, write_connection_header};
pub use error::{Checked, Usage, WordFault};
pub use input::{Line, Lines, WORD_MAX};
pub use lexer::OwnOption;
pub use list::{ListFormat, ListMode, write_list, write_version};
pub use names::{Names, Numeric, Resolver, WellKnownPorts};
pub use option::option_names;
pub use parse::{CommandLine, List, Parsed, parse, parse_with};
pub use refusal::refusal_text;
pub use save::{write_op, write_rules};
pub use sort::Order;
pub use status::{write_sync_daemons, write_timeouts};
