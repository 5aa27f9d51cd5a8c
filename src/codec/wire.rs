//! Netlink framing: messages of a datagram, attributes of a message.

use neli::consts::nl::{NlmF, Nlmsg};

use super::uapi;

/// Length of `struct nlmsghdr`.
pub const MESSAGE_HEADER: usize = 16;
/// Length of `struct genlmsghdr`.
pub const GENERIC_HEADER: usize = 4;
/// Length of `struct nlattr`.
pub const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are its number (`NLA_TYPE_MASK`).
const NUMBER: u16 = 0x3fff;

/// The header fields of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Number of the generic netlink family (`nlmsg_type`).
    pub family: u16,
    /// Sequence number, repeated in replies.
    pub seq: u32,
    /// Whether the kernel acknowledges success (`NLM_F_ACK`). It always reports errors.
    pub ack: bool,
}

/// A message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Sequence number of the request.
    pub seq: u32,
    /// Whether the kernel flags the dump as inconsistent (`NLM_F_DUMP_INTR`). IPVS does not set the
    /// flag up to Linux 7.
    pub interrupted: bool,
    /// The content.
    pub kind: Kind<'a>,
}

/// The content of a message.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// `NLMSG_ERROR`: the outcome of a request; 0 or an errno.
    Outcome(i32),
    /// `NLMSG_DONE`: the end of a dump; 0 or an errno.
    Done(i32),
    /// The attributes after the generic netlink header.
    Attributes(&'a [u8]),
}

/// Appends a request to `out`.
pub fn request(
    out: &mut Vec<u8>,
    head: Head,
    dump: bool,
    command: u8,
    attributes: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    let mut flags = NlmF::REQUEST.bits();
    if head.ack {
        flags |= NlmF::ACK.bits();
    }
    if dump {
        flags |= NlmF::DUMP.bits();
    }
    // The length is filled in below.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.family.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&head.seq.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[command, uapi::VERSION, 0, 0]);
    attributes(out);
    // A request has a few hundred bytes.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Appends an attribute. Inlined, because most values have a length known at compile time.
#[inline(always)]
pub fn attribute(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    header(out, number, value.len());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// Appends an attribute with text and a terminating NUL.
pub fn text(out: &mut Vec<u8>, number: u16, value: &str) {
    let with_nul = value.len() + 1;
    header(out, number, with_nul);
    out.extend_from_slice(value.as_bytes());
    out.push(0);
    pad(out, with_nul);
}

#[inline(always)]
fn header(out: &mut Vec<u8>, number: u16, value: usize) {
    let length = u16::try_from(ATTRIBUTE_HEADER + value).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&number.to_ne_bytes());
}

/// Appends the padding after a value of `length` bytes.
#[inline(always)]
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.next_multiple_of(4) - length]);
}

/// Appends a nest: an attribute that contains attributes.
pub fn nest(out: &mut Vec<u8>, number: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(number | NESTED).to_ne_bytes());
    inside(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// The bytes in a datagram of a message with this many bytes of attributes.
pub fn message_len(attributes: usize) -> usize {
    (MESSAGE_HEADER + GENERIC_HEADER + attributes).next_multiple_of(4)
}

/// The messages of a datagram, up to the first malformed one.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            let header: &[u8; MESSAGE_HEADER] = rest.first_chunk()?;
            let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..] = *header;
            let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            let payload = rest.get(MESSAGE_HEADER..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let kind = match Nlmsg::from(u16::from_ne_bytes([t0, t1])) {
                Nlmsg::Noop | Nlmsg::Overrun => continue,
                Nlmsg::Error => Kind::Outcome(errno(payload)?),
                // Some kernels send NLMSG_DONE without an errno.
                Nlmsg::Done => Kind::Done(errno(payload).unwrap_or(0)),
                _ => Kind::Attributes(payload.get(GENERIC_HEADER..)?),
            };
            let flags = NlmF::from_bits_retain(u16::from_ne_bytes([f0, f1]));
            return Some(Message {
                seq: u32::from_ne_bytes([s0, s1, s2, s3]),
                interrupted: flags.contains(NlmF::DUMP_INTR),
                kind,
            });
        }
    })
}

/// The attributes of a message or a nest as `(number, value)`, up to the first malformed one.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let number = u16_at(rest, 2)? & NUMBER;
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get((length + 3) & !3..).unwrap_or_default();
        Some((number, value))
    })
}

/// The positive errno at the start of the payload; 0 for success.
fn errno(payload: &[u8]) -> Option<i32> {
    let code = u32_at(payload, 0)?.cast_signed();
    Some(code.checked_neg().unwrap_or(i32::MAX))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
