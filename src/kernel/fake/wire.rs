//! Netlink messages as the kernel reads and writes them: headers, attributes, attribute policies.
//!
//! Independent of [`codec`](crate::codec) except for the attribute numbers, so that a test of the
//! codec against the simulator finds errors that are symmetric in encoding and decoding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::codec::uapi::{daemon, dest, svc, top};

/// A positive errno.
pub(super) type Errno = i32;

/// Size of `struct nlmsghdr`.
pub(super) const NLMSG_HEADER: usize = 16;
/// Size of `struct genlmsghdr`.
pub(super) const GENL_HEADER: usize = 4;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
/// Lower message types are control messages, which the kernel does not execute.
pub(super) const NLMSG_MIN_TYPE: u16 = 0x10;

pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_MULTI: u16 = 0x2;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_ECHO: u16 = 0x8;
pub(super) const NLM_F_CAPPED: u16 = 0x100;
/// `NLM_F_ROOT | NLM_F_MATCH`; both bits are required.
pub(super) const NLM_F_DUMP: u16 = 0x300;

/// The number in an attribute's type, without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A message of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`: the number of the family.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The whole message with its header, which the acknowledgement of an error contains.
    pub(super) bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Removes the first message from `datagram`. `None` if the kernel would stop here: the rest is
    /// too short for a header, or the length is invalid.
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

    /// The generic netlink header as (command, reserved field).
    pub(super) fn genl(&self) -> Option<(u8, u16)> {
        let header = self.bytes.get(NLMSG_HEADER..NLMSG_HEADER + GENL_HEADER)?;
        Some((header[0], read_u16(&header[2..])?))
    }

    /// The attributes after the generic netlink header.
    pub(super) fn attributes(&self) -> &'a [u8] {
        self.bytes
            .get(NLMSG_HEADER + GENL_HEADER..)
            .unwrap_or_default()
    }

    pub(super) fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }
}

/// The kernel's policy of an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Policy {
    /// No check.
    Any,
    /// A number of at least this many bytes. Further bytes are ignored.
    Number(usize),
    /// A NUL-terminated string of at most this many characters.
    Text(usize),
    /// At most this many bytes.
    Binary(usize),
    /// Empty, or at least one attribute header.
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
                let checked = payload.len().min(size + 1);
                ok_or(payload[..checked].contains(&0), libc::EINVAL)?;
                let length = payload.len() - usize::from(payload.last() == Some(&0));
                ok_or(length <= size, libc::ERANGE)
            }
        }
    }
}

fn ok_or(holds: bool, errno: Errno) -> Result<(), Errno> {
    if holds { Ok(()) } else { Err(errno) }
}

/// Number of attributes of the largest nest.
const MOST: usize = {
    let nests = [top::MAX, svc::MAX, dest::MAX, daemon::MAX];
    let (mut most, mut i) = (0, 0);
    while i < nests.len() {
        if nests[i] > most {
            most = nests[i];
        }
        i += 1;
    }
    most as usize
};

/// Parsed attributes by number; of duplicates the last, as in the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes<'a> {
    slots: [Option<&'a [u8]>; MOST],
}

impl<'a> Attributes<'a> {
    /// Parses `bytes` with the policies of the attributes 1 to `N`. Ignores unknown numbers and
    /// trailing bytes, because these commands use the kernel's lenient parser.
    pub(super) fn parse<const N: usize>(
        mut bytes: &'a [u8],
        policy: &[Policy; N],
    ) -> Result<Self, Errno> {
        const { assert!(N <= MOST, "a slot for each attribute") };
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

    /// The attribute as a nest. EINVAL if it is absent or invalid.
    pub(super) fn nest<const N: usize>(
        &self,
        number: u16,
        policy: &[Policy; N],
    ) -> Result<Attributes<'a>, Errno> {
        let payload = self.get(number).ok_or(libc::EINVAL)?;
        Attributes::parse(payload, policy).map_err(|_| libc::EINVAL)
    }

    pub(super) fn get(&self, number: u16) -> Option<&'a [u8]> {
        let index = usize::from(number).checked_sub(1)?;
        self.slots.get(index).copied().flatten()
    }

    pub(super) fn has(&self, number: u16) -> bool {
        self.get(number).is_some()
    }

    pub(super) fn u8(&self, number: u16) -> Option<u8> {
        self.get(number)?.first().copied()
    }

    pub(super) fn u16(&self, number: u16) -> Option<u16> {
        read_u16(self.get(number)?)
    }

    pub(super) fn u32(&self, number: u16) -> Option<u32> {
        read_u32(self.get(number)?)
    }

    /// A port, in network order.
    pub(super) fn port(&self, number: u16) -> Option<u16> {
        Some(u16::from_be(self.u16(number)?))
    }

    /// An address of the family. Missing bytes are 0; for IPv4, bytes after the fourth are
    /// ignored.
    pub(super) fn address(&self, number: u16, ipv6: bool) -> Option<IpAddr> {
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

    /// A string up to the first NUL. Invalid UTF-8 is replaced; no known name contains any.
    pub(super) fn text(&self, number: u16) -> Option<String> {
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

/// A writer of a datagram with one or more messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Whether padding attributes align 64-bit numbers to 8 bytes.
    padded: bool,
}

/// The offset of a message or nest whose length is not known yet.
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

    pub(super) fn u64(&mut self, number: u16, value: u64, padding: u16) {
        if self.padded && self.bytes.len().is_multiple_of(8) {
            self.attribute(padding, &[]);
        }
        self.attribute(number, &value.to_ne_bytes());
    }

    pub(super) fn text(&mut self, number: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(number, &bytes);
    }

    /// An address as 16 bytes; IPv4 in the first four.
    pub(super) fn address(&mut self, number: u16, address: IpAddr) {
        let mut full = [0; 16];
        match address {
            IpAddr::V4(address) => full[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => full = address.octets(),
        }
        self.attribute(number, &full);
    }
}

/// Rounds up to the alignment of netlink, 4 bytes.
pub(super) fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn read_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?))
}

pub(super) fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}
