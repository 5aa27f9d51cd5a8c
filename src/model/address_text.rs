//! The text of an address without `fmt`, because a listing has one per real server.

use std::{fmt::Write, net::IpAddr};

use super::FixedBuffer;

/// The text of an address, as its [`Display`](std::fmt::Display) writes it.
#[derive(Clone, Copy, Debug)]
pub struct AddressText(FixedBuffer<MAX_LENGTH>);

/// Bytes of the longest text: 8 groups of 4 digits. An IPv4 address ends with a dot while it is
/// written, and each octet is written as 4 bytes.
const MAX_LENGTH: usize = 40;

/// 0 to 255, each followed by a dot.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [*b"    "; 256];
    let mut number = 0;
    while number < 256 {
        let (hundreds, tens) = (b'0' + number as u8 / 100, b'0' + number as u8 / 10 % 10);
        let digit = b'0' + number as u8 % 10;
        octets[number] = match number {
            0..10 => [digit, b'.', b' ', b' '],
            10..100 => [tens, digit, b'.', b' '],
            _ => [hundreds, tens, digit, b'.'],
        };
        number += 1;
    }
    octets
};

// === impl AddressText ===

impl AddressText {
    /// The text of this address.
    #[inline]
    pub fn new(address: IpAddr) -> Self {
        let mut text = FixedBuffer::new();
        match address {
            IpAddr::V4(v4) => {
                for octet in v4.octets() {
                    let length = 2 + usize::from(octet > 9) + usize::from(octet > 99);
                    text.put_start(&OCTETS[usize::from(octet)], length);
                }
                // The last dot.
                text.pop();
            }
            // Never fails: the longest text fits.
            IpAddr::V6(v6) => drop(write!(text, "{v6}")),
        }
        Self(text)
    }

    /// The text, followed by bytes without a meaning, and its length. Copying an array of fixed size is
    /// a few moves.
    pub fn padded(&self) -> (&[u8; MAX_LENGTH], usize) {
        self.0.padded()
    }

    /// The text, ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.written().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_address_fits() {
        let longest: IpAddr = "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap();
        assert_eq!(
            AddressText::new(longest).as_bytes(),
            longest.to_string().as_bytes()
        );
    }

    proptest! {
        #[test]
        fn an_address_has_the_text_of_its_display(address in any::<IpAddr>()) {
            let text = String::from_utf8_lossy(AddressText::new(address).as_bytes()).into_owned();
            prop_assert_eq!(text, address.to_string());
        }
    }
}
