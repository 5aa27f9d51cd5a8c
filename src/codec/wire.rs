//! Netlink framing: messages in a datagram, attributes in a message.

use neli::consts::nl::{NlmF, Nlmsg};

/// Length of `struct nlmsghdr`.
pub const MESSAGE_HEADER: usize = 16;
/// Length of `struct genlmsghdr`.
pub const GENERIC_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
/// What of an attribute's type is its number (`NLA_TYPE_MASK`).
const NUMBER: u16 = 0x3fff;

/// Commands of the IPVS family (`IPVS_CMD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the kernel's names")]
pub enum Command {
    NewService = 1,
    SetService = 2,
    DelService = 3,
    GetService = 4,
    NewDest = 5,
    SetDest = 6,
    DelDest = 7,
    GetDest = 8,
    NewDaemon = 9,
    DelDaemon = 10,
    GetDaemon = 11,
    SetConfig = 12,
    GetConfig = 13,
    GetInfo = 15,
    Zero = 16,
    Flush = 17,
}

/// Name of the IPVS family.
pub const FAMILY: &str = "IPVS";
/// Version in the generic header (`IPVS_GENL_VERSION`); the kernel ignores it.
pub const VERSION: u8 = 1;

/// What goes before the attributes of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Number of the family (`nlmsg_type`).
    pub family: u16,
    /// Sequence number, which the answer repeats.
    pub seq: u32,
    /// Whether success is answered too (`NLM_F_ACK`); failure always is.
    pub ack: bool,
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Sequence number of the request that it answers.
    pub seq: u32,
    /// Whether the kernel says that a dump was interrupted (`NLM_F_DUMP_INTR`). IPVS never does,
    /// up to Linux 7; a later one may.
    pub interrupted: bool,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The outcome of a request, or the end of a dump: 0 or an errno.
    Outcome(i32),
    /// The end of a dump.
    Done(i32),
    /// Attributes, after the generic header.
    Attributes(&'a [u8]),
}

/// Appends a whole request to `out`.
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
    // The length comes last.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.family.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&head.seq.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[command, VERSION, 0, 0]);
    attributes(out);
    // A request is a few hundred bytes: see the longest in encode.rs.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Appends an attribute. Nearly all values have a length that the compiler knows.
#[inline(always)]
pub fn attribute(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    header(out, number, value.len());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// Appends text with its NUL.
pub fn text(out: &mut Vec<u8>, number: u16, value: &str) {
    let with_nul = value.len() + 1;
    header(out, number, with_nul);
    out.extend_from_slice(value.as_bytes());
    out.push(0);
    pad(out, with_nul);
}

#[inline(always)]
fn header(out: &mut Vec<u8>, number: u16, of: usize) {
    let length = u16::try_from(ATTRIBUTE_HEADER + of).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&number.to_ne_bytes());
}

/// After a value of so many bytes.
#[inline(always)]
fn pad(out: &mut Vec<u8>, of: usize) {
    out.extend_from_slice(&[0; 3][..of.next_multiple_of(4) - of]);
}

/// Appends an attribute that holds others.
pub fn nest(out: &mut Vec<u8>, number: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(number | NESTED).to_ne_bytes());
    inside(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// The messages of a datagram, up to the first that is malformed.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            let length = u32_at(rest, 0)? as usize;
            if length < MESSAGE_HEADER || length > rest.len() {
                return None;
            }
            let (message, after) = (&rest[..length], length.next_multiple_of(4));
            rest = rest.get(after..).unwrap_or_default();
            let payload = &message[MESSAGE_HEADER..];
            let kind = match Nlmsg::from(u16_at(message, 4)?) {
                Nlmsg::Noop | Nlmsg::Overrun => continue,
                Nlmsg::Error => Kind::Outcome(errno(payload)?),
                // Kernels have sent ends without a code.
                Nlmsg::Done => Kind::Done(errno(payload).unwrap_or(0)),
                _ => Kind::Attributes(payload.get(GENERIC_HEADER..)?),
            };
            let flags = NlmF::from_bits_retain(u16_at(message, 6)?);
            return Some(Message {
                seq: u32_at(message, 8)?,
                interrupted: flags.contains(NlmF::DUMP_INTR),
                kind,
            });
        }
    })
}

/// The attributes of a message or of a nest, as `(number, value)`, up to the first that is
/// malformed.
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

/// The positive errno that begins the payload; 0 for success.
fn errno(payload: &[u8]) -> Option<i32> {
    let told = u32_at(payload, 0)?.cast_signed();
    Some(told.checked_neg().unwrap_or(i32::MAX))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
