//! Texts of health checks that are sent to servers, and their validation.

use super::{Violation, key::parse_address};

/// Longest path in bytes.
pub const MAX_PATH: usize = 1024;
/// Longest domain name in bytes, without the final dot.
pub const MAX_NAME: usize = 253;
/// Longest host in bytes.
pub const MAX_HOST: usize = 255;

pub(super) fn check_path(path: &str) -> Result<(), Violation> {
    let max = MAX_PATH;
    let is_valid = path.starts_with('/')
        && path.len() <= max
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"#<>`".contains(&byte));
    match is_valid {
        true => Ok(()),
        false => Err(Violation::new(
            "path",
            format!(
                "{path:?} is not a path: \"/\" and up to {max} visible ASCII characters without \"#\", \"<\", \">\" and \"`\"; encode \
                 others as %XX"
            ),
        )),
    }
}

pub(super) fn check_host(host: &str) -> Result<(), Violation> {
    let max = MAX_HOST;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
    let has_form = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            address.parse::<std::net::Ipv6Addr>().is_ok() && is_port
        }
        None => {
            let (name, port) = host.split_once(':').unwrap_or((host, "0"));
            !name.is_empty() && !name.contains(['[', ']']) && is_port(port)
        }
    };
    match has_form && host.len() <= max && host.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(Violation::new(
            "host",
            format!(
                "{host:?} is not a host: a DNS name or address of up to {max} characters, if need be with a port"
            ),
        )),
    }
}

pub(super) fn check_sni(name: &str) -> Result<(), Violation> {
    match parse_address(name).is_none() && is_domain(name) {
        true => Ok(()),
        false => Err(Violation::new("sni", format!("{name:?} is not a DNS name"))),
    }
}

/// A domain name without the final dot, of the characters that are usual.
pub(super) fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len())
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}
