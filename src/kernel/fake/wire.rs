//! Netlink bytes as the kernel reads and writes them: headers, attributes, attribute policies.
//!
//! Written by hand and apart from the project's own codec on purpose: two implementations of one
//! format that agree are worth more than one that agrees with itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A positive errno, as the kernel's functions return it with the sign turned.
pub(super) type Errno = i32;

/// Size of `struct nlmsghdr`.
pub(super) const NLMSG_HEADER: usize = 16;
/// Size of `struct genlmsghdr`.
pub(super) const GENL_HEADER: usize = 4;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
/// Message types below this one are control messages, which the kernel skips.
pub(super) const NLMSG_MIN_TYPE: u16 = 0x10;

pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_MULTI: u16 = 0x2;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_ECHO: u16 = 0x8;
pub(super) const NLM_F_CAPPED: u16 = 0x100;
/// `NLM_F_ROOT | NLM_F_MATCH`: both bits make a dump.
pub(super) const NLM_F_DUMP: u16 = 0x300;

/// The type bits of an attribute header, without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One message of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`: the family.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The whole message with its header, as failed requests are echoed.
    pub(super) bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes the first message off `datagram`. None where the kernel stops reading one: too short
    /// for a header, or a length that is not true.
    pub(super) fn take(datagram: &mut &'a [u8]) -> Option<Message<'a>> {
        let length = read_u32(datagram.get(..4)?)? as usize;
        if datagram.len() < NLMSG_HEADER || length < NLMSG_HEADER {
            return None;
        }
        let bytes = datagram.get(..length)?;
        *datagram = datagram.get(align(length)..).unwrap_or_default();
        Some(Message {
            kind: read_u16(&bytes[4..])?,
            flags: read_u16(&bytes[6..])?,
            sequence: read_u32(&bytes[8..])?,
            bytes,
        })
    }

    /// The generic-netlink header as (command, reserved field).
    pub(super) fn genl(&self) -> Option<(u8, u16)> {
        let header = self.bytes.get(NLMSG_HEADER..NLMSG_HEADER + GENL_HEADER)?;
        Some((header[0], read_u16(&header[2..])?))
    }

    /// The attributes behind the generic-netlink header.
    pub(super) fn attributes(&self) -> &'a [u8] {
        self.bytes
            .get(NLMSG_HEADER + GENL_HEADER..)
            .unwrap_or_default()
    }

    pub(super) fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }
}

/// What the kernel's policy asks of one attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Policy {
    /// Not used with this kernel interface: no check.
    Any,
    /// A number of at least so many bytes. Longer ones are cut silently.
    Number(usize),
    /// A NUL-terminated string of at most so many characters.
    Text(usize),
    /// At most so many bytes.
    Binary(usize),
    /// Empty, or long enough for one attribute header.
    Nested,
}

impl Policy {
    fn check(self, payload: &[u8]) -> Result<(), Errno> {
        match self {
            Policy::Any => Ok(()),
            Policy::Number(size) => ok_or(payload.len() >= size, libc::ERANGE),
            Policy::Binary(size) => ok_or(payload.len() <= size, libc::ERANGE),
            Policy::Nested => ok_or(payload.is_empty() || payload.len() >= 4, libc::ERANGE),
            Policy::Text(size) => {
                let looked_at = payload.len().min(size + 1);
                ok_or(payload[..looked_at].contains(&0), libc::EINVAL)?;
                let length = payload.len() - usize::from(payload.last() == Some(&0));
                ok_or(length <= size, libc::ERANGE)
            }
        }
    }
}

fn ok_or(holds: bool, errno: Errno) -> Result<(), Errno> {
    if holds { Ok(()) } else { Err(errno) }
}

/// Parsed attributes by number. Of duplicates the last one counts, as in the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes<'a> {
    slots: [Option<&'a [u8]>; 16],
}

impl<'a> Attributes<'a> {
    /// Parses `bytes` by `policy`, whose index is the attribute number less one. Unknown numbers
    /// and trailing rubbish are ignored: these commands are as old as lenient parsing.
    pub(super) fn parse(mut bytes: &'a [u8], policy: &[Policy]) -> Result<Self, Errno> {
        let mut parsed = Self::default();
        while let Some((number, payload)) = take_attribute(&mut bytes) {
            let Some(index) = usize::from(number).checked_sub(1) else {
                continue;
            };
            let (Some(rule), Some(slot)) = (policy.get(index), parsed.slots.get_mut(index)) else {
                continue;
            };
            rule.check(payload)?;
            *slot = Some(payload);
        }
        Ok(parsed)
    }

    /// The attribute as a nest, with any fault of its content answered by EINVAL.
    pub(super) fn nest(&self, number: usize, policy: &[Policy]) -> Result<Attributes<'a>, Errno> {
        let payload = self.get(number).ok_or(libc::EINVAL)?;
        Attributes::parse(payload, policy).map_err(|_| libc::EINVAL)
    }

    pub(super) fn get(&self, number: usize) -> Option<&'a [u8]> {
        self.slots.get(number.checked_sub(1)?).copied().flatten()
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.get(number).is_some()
    }

    pub(super) fn u8(&self, number: usize) -> Option<u8> {
        self.get(number)?.first().copied()
    }

    pub(super) fn u16(&self, number: usize) -> Option<u16> {
        read_u16(self.get(number)?)
    }

    pub(super) fn u32(&self, number: usize) -> Option<u32> {
        read_u32(self.get(number)?)
    }

    /// A port, which travels in network order.
    pub(super) fn port(&self, number: usize) -> Option<u16> {
        Some(u16::from_be(self.u16(number)?))
    }

    /// An address of the family: the bytes given, filled up with zeros, and for IPv4 no more than
    /// the first four.
    pub(super) fn address(&self, number: usize, ipv6: bool) -> Option<IpAddr> {
        let given = self.get(number)?;
        let mut full = [0; 16];
        for (to, from) in full.iter_mut().zip(given) {
            *to = *from;
        }
        Some(if ipv6 {
            IpAddr::V6(Ipv6Addr::from(full))
        } else {
            IpAddr::V4(Ipv4Addr::new(full[0], full[1], full[2], full[3]))
        })
    }

    /// A C string: up to the first NUL. Bytes that are no UTF-8 are replaced, which no name that
    /// is known has.
    pub(super) fn text(&self, number: usize) -> Option<String> {
        let bytes = self.get(number)?;
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

fn take_attribute<'a>(bytes: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::from(read_u16(bytes)?);
    let number = read_u16(bytes.get(2..)?)? & NLA_TYPE_MASK;
    let payload = bytes.get(4..length)?;
    *bytes = bytes.get(align(length)..).unwrap_or_default();
    Some((number, payload))
}

/// A datagram under construction: one or more messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Whether 64-bit numbers are put on 8-byte boundaries by filler attributes.
    padded: bool,
}

/// The start of a message or nest whose length is not known yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open(usize);

impl Writer {
    pub(super) fn new(padded: bool) -> Self {
        Self {
            bytes: Vec::new(),
            padded,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn message(&mut self, kind: u16, flags: u16, sequence: u32, port: u32) -> Open {
        let start = Open(self.bytes.len());
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        self.raw(&port.to_ne_bytes());
        start
    }

    pub(super) fn close_message(&mut self, open: Open) {
        let length = (self.bytes.len() - open.0) as u32;
        self.bytes[open.0..open.0 + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn nest(&mut self, number: u16) -> Open {
        let start = Open(self.bytes.len());
        self.raw(&[0; 2]);
        self.raw(&number.to_ne_bytes());
        start
    }

    pub(super) fn close_nest(&mut self, open: Open) {
        let length = (self.bytes.len() - open.0) as u16;
        self.bytes[open.0..open.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn attribute(&mut self, number: u16, payload: &[u8]) {
        let open = self.nest(number);
        self.raw(payload);
        self.close_nest(open);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    pub(super) fn u16(&mut self, number: u16, value: u16) {
        self.attribute(number, &value.to_ne_bytes());
    }

    pub(super) fn u32(&mut self, number: u16, value: u32) {
        self.attribute(number, &value.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, number: u16, value: u64, filler: u16) {
        if self.padded && self.bytes.len().is_multiple_of(8) {
            self.attribute(filler, &[]);
        }
        self.attribute(number, &value.to_ne_bytes());
    }

    pub(super) fn text(&mut self, number: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(number, &bytes);
    }

    /// An address in its 16-byte form: IPv4 in the first four bytes.
    pub(super) fn address(&mut self, number: u16, address: IpAddr) {
        let mut full = [0; 16];
        match address {
            IpAddr::V4(address) => full[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => full = address.octets(),
        }
        self.attribute(number, &full);
    }
}

/// Rounds up to netlink's boundary of 4 bytes.
pub(super) fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn read_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?))
}

pub(super) fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}
