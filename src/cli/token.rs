//! `ipvsctl token`: tokens for the policy of a director. Sends nothing.

use std::io::{self, Write};

use ring::rand::{SecureRandom, SystemRandom};

use super::{args::TokenCommand, error::CliError, input::read_text, output::eprint_text};
use crate::{client::Token, model::Sha256};

/// What every token begins with. Scanners for secrets recognise it.
const PREFIX: &str = "ipvsd_";
/// Random bytes of a token.
const RANDOM: usize = 32;

/// Executes a command.
pub(super) fn run(command: TokenCommand, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        TokenCommand::Create {
            name,
            role,
            expires,
        } => {
            let token = create()?;
            let mut entry = format!(
                "[[token]]\nname = {}\nsha256 = \"{}\"\nrole = \"{}\"",
                toml::Value::String(name),
                Sha256::of(token.as_bytes()),
                role.name()
            );
            if let Some(time) = expires {
                entry += &format!("\nexpires = {time}");
            }
            writeln!(out, "{token}")?;
            // A token that is lost needs no entry.
            out.flush()?;
            eprint_text(&entry);
        }
        TokenCommand::Hash => {
            let text = read_text(io::stdin().lock(), Token::MAX_LENGTH as u64 + 2)
                .map_err(CliError::Input)?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            text.parse::<Token>().map_err(|error| {
                CliError::Input(io::Error::new(io::ErrorKind::InvalidData, error))
            })?;
            writeln!(out, "{}", Sha256::of(text.as_bytes()))?;
        }
    }
    Ok(())
}

/// A new token: the prefix and 256 bits of the system's generator.
fn create() -> Result<String, CliError> {
    let mut random = [0; RANDOM];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| CliError::NoRandomness)?;
    let digits = random.iter().map(|byte| format!("{byte:02x}"));
    Ok(PREFIX.to_owned() + &digits.collect::<String>())
}
