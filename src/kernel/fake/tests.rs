//! The simulator compared with recordings of a real kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod dumps;
mod errnos;
mod faults;
mod hostile;
mod proc;
mod values;
mod wire;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{command::*, *};
use crate::kernel::{Kernel, RecvBuffers, Transport};

const FAMILY: u16 = 28;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

/// Attributes of a service.
const AF: u16 = 1;
const PORT: u16 = 4;

/// A nest: attributes by number.
#[derive(Clone, Debug)]
struct Nest {
    number: u16,
    attributes: BTreeMap<u16, Vec<u8>>,
}

impl Nest {
    fn with(mut self, number: u16, payload: impl AsRef<[u8]>) -> Self {
        self.attributes.insert(number, payload.as_ref().to_vec());
        self
    }

    fn u32(self, number: u16, value: u32) -> Self {
        self.with(number, value.to_ne_bytes())
    }

    fn u16(self, number: u16, value: u16) -> Self {
        self.with(number, value.to_ne_bytes())
    }

    fn without(mut self, number: u16) -> Self {
        self.attributes.remove(&number);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut inner = Vec::new();
        for (number, payload) in &self.attributes {
            inner.extend(attribute(*number, payload));
        }
        attribute(self.number, &inner)
    }

    /// The nest followed by another one.
    fn and(&self, other: &Nest) -> Vec<u8> {
        [self.bytes(), other.bytes()].concat()
    }
}

fn attribute(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(number.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn empty(number: u16) -> Nest {
    Nest {
        number,
        attributes: BTreeMap::new(),
    }
}

/// All attributes of the service TCP 10.0.0.1:80 with scheduler rr.
fn svc() -> Nest {
    empty(1)
        .u16(AF, 2)
        .u16(2, 6)
        .with(3, [10, 0, 0, 1])
        .with(PORT, [0, 80])
        .with(6, b"rr\0")
        .with(7, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
        .u32(8, 0)
        .with(9, [0xff; 4])
}

/// All attributes of the service TCP [2001:db8::1]:80.
fn svc6() -> Nest {
    let address: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    svc().u16(AF, 10).with(3, address.octets()).u32(9, 128)
}

/// All attributes of a fwmark service.
fn mark(mark: u32) -> Nest {
    svc().without(2).without(3).without(4).u32(5, mark)
}

/// All attributes of the real server 10.1.1.2:80, masquerading, weight 1.
fn dest() -> Nest {
    let nest = empty(2).with(1, [10, 1, 1, 2]).with(2, [0, 80]).u16(11, 2);
    (3..=6).fold(nest, |nest, number| {
        nest.u32(number, u32::from(number == 4))
    })
}

fn request(command: u8, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    message(FAMILY, command, flags | REQUEST, sequence, attributes)
}

fn message(family: u16, command: u8, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = (20 + attributes.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(family.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// Receives a datagram; `None` if there is none.
fn receive(socket: &mut dyn Transport) -> Option<Vec<u8>> {
    match receive_up_to(socket, 65536, Duration::ZERO) {
        Ok(datagram) => Some(datagram),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
        Err(error) => panic!("{error}"),
    }
}

/// Receives one datagram into a buffer of `size` bytes.
fn receive_up_to(socket: &mut dyn Transport, size: usize, wait: Duration) -> io::Result<Vec<u8>> {
    let mut buffers = RecvBuffers::new(1, size);
    socket.receive(&mut buffers, wait)?;
    Ok(buffers.datagrams().flatten().copied().collect())
}

/// The messages of a datagram.
fn messages(mut datagram: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let length = u32::from_ne_bytes(datagram[..4].try_into().unwrap()) as usize;
        let (first, rest) = datagram.split_at(length);
        messages.push(first.to_vec());
        datagram = rest;
    }
    messages
}

fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes(message[4..6].try_into().unwrap())
}

/// The sequence number and the code of an NLMSG_ERROR or NLMSG_DONE.
fn acknowledgement(message: &[u8]) -> (u32, i32) {
    assert!(matches!(kind(message), 2 | 3), "{message:?}");
    (
        u32::from_ne_bytes(message[8..12].try_into().unwrap()),
        i32::from_ne_bytes(message[16..20].try_into().unwrap()),
    )
}

/// Sends one command. Returns its data messages or the errno.
fn execute(
    socket: &mut dyn Transport,
    command: u8,
    flags: u16,
    attributes: &[u8],
) -> Result<Vec<Vec<u8>>, i32> {
    socket
        .send(&request(command, flags | ACK, 7, attributes))
        .unwrap();
    replies(socket)
}

/// Receives the replies to one command.
fn replies(socket: &mut dyn Transport) -> Result<Vec<Vec<u8>>, i32> {
    let mut data = Vec::new();
    while let Some(datagram) = receive(socket) {
        for message in messages(&datagram) {
            match kind(&message) {
                2 | 3 => {
                    let (_, code) = acknowledgement(&message);
                    return if code == 0 { Ok(data) } else { Err(-code) };
                }
                _ => data.push(message),
            }
        }
    }
    panic!("no end after {} messages", data.len());
}

fn dump(socket: &mut dyn Transport, command: u8, attributes: &[u8]) -> Vec<Vec<u8>> {
    execute(socket, command, DUMP, attributes).unwrap()
}

/// Resolves a family by name. Returns its number or the errno.
fn resolve(socket: &mut dyn Transport, name: &str) -> Result<u16, i32> {
    let name = [name.as_bytes(), b"\0"].concat();
    socket
        .send(&message(16, 3, REQUEST | ACK, 1, &attribute(2, &name)))
        .unwrap();
    let reply = replies(socket)?;
    Ok(find(&reply[0][20..], 1)
        .map(|id| u16::from_ne_bytes(id.try_into().unwrap()))
        .unwrap())
}

/// The value of an attribute.
fn find(mut bytes: &[u8], number: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes(bytes[..2].try_into().unwrap()));
        if u16::from_ne_bytes(bytes[2..4].try_into().unwrap()) == number {
            return Some(&bytes[4..length]);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// The value of an attribute in the nest of a service, a real server or a sync daemon.
fn inner(message: &[u8], number: u16) -> Option<&[u8]> {
    find(&message[24..], number)
}

fn inner_u32(message: &[u8], number: u16) -> u32 {
    u32::from_ne_bytes(inner(message, number).unwrap().try_into().unwrap())
}

/// Adds a service with this number of real servers, from 10.1.0.0:80 on.
fn fill(kernel: &FakeKernel, servers: u32) -> ServiceId {
    let id = ServiceId::tcp("10.0.0.1:80".parse().unwrap());
    kernel.add_service(Service::new(id));
    for number in 0..servers {
        assert!(kernel.add_destination(id, Destination::new(server(number))));
    }
    id
}

fn server(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0a01_0000 + number).into(), 80)
}

/// The index of each real server in a dump.
fn servers(dump: &[Vec<u8>]) -> Vec<u32> {
    let number = |address: &[u8]| u32::from_be_bytes(address[..4].try_into().unwrap());
    dump.iter()
        .map(|message| number(inner(message, 1).unwrap()) - 0x0a01_0000)
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex
        .trim()
        .bytes()
        .map(|byte| (byte as char).to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
