//! What a health check asks a DNS server, and which answers are a success.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    key::serde_as_text,
    word::{word_enum, words},
};

word_enum! {
    /// The type of a query.
    QueryType {
        /// IPv4 address.
        A = "A",
        /// IPv6 address.
        Aaaa = "AAAA",
        /// Canonical name.
        Cname = "CNAME",
        /// Mail exchange.
        Mx = "MX",
        /// Name server.
        Ns = "NS",
        /// Name of an address.
        Ptr = "PTR",
        /// Start of a zone of authority.
        Soa = "SOA",
        /// Location of a service.
        Srv = "SRV",
        /// Text.
        Txt = "TXT",
    }
}

word_enum! {
    /// The protocol of a query.
    Transport {
        /// One datagram, and one in return.
        Udp = "udp",
        /// A connection.
        Tcp = "tcp",
    }
}

/// Response codes of DNS: `NOERROR,NXDOMAIN`. In order, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcodes(u16);

/// The text is not a list of response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one or several of NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP and REFUSED, separated by commas"
)]
pub struct InvalidRcodes;

// === impl Rcodes ===

impl Rcodes {
    /// Those that a query can be answered with, by their number (RFC 1035, section 4.1.1).
    const NAMES: [&str; 6] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
    ];

    /// NOERROR.
    pub const USUAL: Self = Self(1);

    /// Whether a code is among them.
    pub fn contains(self, code: u8) -> bool {
        code < 16 && self.0 >> code & 1 == 1
    }

    /// The name of a code.
    pub fn name(code: u8) -> String {
        match Self::NAMES.get(usize::from(code)) {
            Some(name) => (*name).to_owned(),
            None => format!("RCODE{code}"),
        }
    }
}

impl fmt::Display for Rcodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().zip(0..);
        let names = names.filter(|(_, code)| self.contains(*code));
        for (index, (name, _)) in names.enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl FromStr for Rcodes {
    type Err = InvalidRcodes;

    fn from_str(text: &str) -> Result<Self, InvalidRcodes> {
        text.split(',').try_fold(Self(0), |Self(codes), part| {
            let mut names = Self::NAMES.iter();
            let code = names.position(|name| *name == part.trim());
            code.map(|code| Self(codes | 1 << code))
                .ok_or(InvalidRcodes)
        })
    }
}

serde_as_text!(Rcodes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_codes_are_in_order_and_once() {
        for (text, shown) in [
            ("NOERROR", "NOERROR"),
            ("NXDOMAIN, NOERROR,NXDOMAIN", "NOERROR,NXDOMAIN"),
            ("REFUSED", "REFUSED"),
        ] {
            let codes: Rcodes = text.parse().unwrap();
            assert_eq!(codes.to_string(), shown);
        }
        let some: Rcodes = "NOERROR,NXDOMAIN".parse().unwrap();
        let found = [0, 1, 2, 3, 15, 16, 255].map(|code| some.contains(code));
        assert_eq!(found, [true, false, false, true, false, false, false]);
        assert_eq!(Rcodes::USUAL.to_string(), "NOERROR");
        assert_eq!(Rcodes::name(2), "SERVFAIL");
        assert_eq!(Rcodes::name(9), "RCODE9");
        for text in [
            "",
            "noerror",
            "NOERROR,",
            "0",
            "NOERROR NXDOMAIN",
            "BADVERS",
        ] {
            assert!(text.parse::<Rcodes>().is_err(), "{text}");
        }
    }
}
