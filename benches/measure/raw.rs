//! The baseline: IPVS over raw netlink with as few bytes and calls as possible, and no code of ipvsd.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, bail, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};

use super::table::{PORT, Size, server_address, service_address};

/// A socket to IPVS.
pub struct Raw {
    socket: OwnedFd,
    family: u16,
    seq: u32,
    out: Vec<u8>,
    inbox: Vec<u8>,
}

/// How commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One command per send, acknowledged before the next.
    Single,
    /// [`BATCH`] commands per send; success is acknowledged for the last one only.
    Packed,
}

/// Commands in a batch; more are not faster.
const BATCH: usize = 100;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

const NEW_SERVICE: u8 = 1;
const GET_SERVICE: u8 = 4;
const NEW_DEST: u8 = 5;
const SET_DEST: u8 = 6;
const GET_DEST: u8 = 8;
const FLUSH: u8 = 17;

fn attribute(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(number.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The attributes that identify a service, and those that a new one needs.
fn service(number: u32, new: bool) -> Vec<u8> {
    let mut inner = Vec::new();
    attribute(&mut inner, 1, &(libc::AF_INET as u16).to_ne_bytes());
    attribute(&mut inner, 2, &(libc::IPPROTO_TCP as u16).to_ne_bytes());
    attribute(&mut inner, 3, &service_address(number).octets());
    attribute(&mut inner, 4, &PORT.to_be_bytes());
    if new {
        attribute(&mut inner, 6, b"rr\0");
        attribute(&mut inner, 7, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        attribute(&mut inner, 8, &0u32.to_ne_bytes());
        attribute(&mut inner, 9, &[0xff; 4]);
    }
    let mut outer = Vec::new();
    attribute(&mut outer, 0x8001, &inner);
    outer
}

fn server(of: u32, number: u32, weight: u32) -> Vec<u8> {
    let mut inner = Vec::new();
    attribute(&mut inner, 1, &server_address(number).octets());
    attribute(&mut inner, 2, &PORT.to_be_bytes());
    attribute(&mut inner, 11, &(libc::AF_INET as u16).to_ne_bytes());
    attribute(&mut inner, 3, &0u32.to_ne_bytes());
    attribute(&mut inner, 4, &weight.to_ne_bytes());
    attribute(&mut inner, 5, &0u32.to_ne_bytes());
    attribute(&mut inner, 6, &0u32.to_ne_bytes());
    let mut outer = service(of, false);
    attribute(&mut outer, 0x8002, &inner);
    outer
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(
        bytes.get(place..place + 2)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(
        bytes.get(place..place + 4)?.try_into().ok()?,
    ))
}

// === impl Raw ===

impl Raw {
    pub fn open() -> anyhow::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )?;
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
        let mut raw = Self {
            socket,
            family: libc::GENL_ID_CTRL as u16,
            seq: 0,
            out: Vec::new(),
            inbox: vec![0; 64 << 10],
        };
        let mut name = Vec::new();
        attribute(&mut name, 2, b"IPVS\0");
        raw.push(3, REQUEST | ACK, &name); // CTRL_CMD_GETFAMILY
        let mut family = None;
        raw.exchange(|message| {
            let mut rest = message.get(20..).unwrap_or_default();
            while let (Some(length), Some(number)) = (u16_at(rest, 0), u16_at(rest, 2)) {
                if number == 1 {
                    family = u16_at(rest, 4);
                }
                rest = rest
                    .get(usize::from(length.max(4)).next_multiple_of(4)..)
                    .unwrap_or_default();
            }
        })?;
        raw.family = family.context("no IPVS in this kernel")?;
        Ok(raw)
    }

    /// Loads a table into an empty namespace.
    pub fn fill(&mut self, size: Size, mode: Mode) -> anyhow::Result<()> {
        let mut waiting = 0;
        let mut step = |raw: &mut Self, command, attributes: &[u8], last: bool| {
            waiting += 1;
            let end = last || mode == Mode::Single || waiting == BATCH;
            raw.push(
                command,
                if end { REQUEST | ACK } else { REQUEST },
                attributes,
            );
            if end {
                waiting = 0;
                raw.exchange(|_| ())?;
            }
            anyhow::Ok(())
        };
        for number in 0..size.services {
            step(self, NEW_SERVICE, &service(number, true), false)?;
            for other in 0..size.servers {
                let last = number + 1 == size.services && other + 1 == size.servers;
                step(self, NEW_DEST, &server(number, other, 1), last)?;
            }
        }
        Ok(())
    }

    pub fn add_server(&mut self, of: u32, number: u32) -> anyhow::Result<()> {
        self.push(NEW_DEST, REQUEST | ACK, &server(of, number, 1));
        self.exchange(|_| ())
    }

    pub fn set_weight(&mut self, of: u32, number: u32, weight: u32) -> anyhow::Result<()> {
        self.push(SET_DEST, REQUEST | ACK, &server(of, number, weight));
        self.exchange(|_| ())
    }

    /// Dumps everything; returns the numbers of services and servers.
    pub fn dump(&mut self) -> anyhow::Result<(u32, u32)> {
        let mut services = Vec::new();
        self.push(GET_SERVICE, REQUEST | DUMP, &[]);
        self.exchange(|message| services.push(message.get(20..).unwrap_or_default().to_vec()))?;
        let mut servers = 0;
        for service in &services {
            // The reply names the server.
            let name = u16_at(service, 0).and_then(|length| service.get(..length.into()));
            self.push(
                GET_DEST,
                REQUEST | DUMP,
                name.context("a service without a name")?,
            );
            self.exchange(|_| servers += 1)?;
        }
        Ok((services.len() as u32, servers))
    }

    /// The number of servers of a service; 0 if it does not exist.
    pub fn servers_of(&mut self, number: u32) -> anyhow::Result<u32> {
        let mut servers = 0;
        self.push(GET_DEST, REQUEST | DUMP, &service(number, false));
        self.exchange(|_| servers += 1)?;
        Ok(servers)
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.push(FLUSH, REQUEST | ACK, &[]);
        self.exchange(|_| ())
    }

    fn push(&mut self, command: u8, flags: u16, attributes: &[u8]) {
        self.seq += 1;
        self.out
            .extend((20 + attributes.len() as u32).to_ne_bytes());
        self.out.extend(self.family.to_ne_bytes());
        self.out.extend(flags.to_ne_bytes());
        self.out.extend(self.seq.to_ne_bytes());
        self.out.extend(0u32.to_ne_bytes());
        self.out.extend([command, 1, 0, 0]);
        self.out.extend(attributes);
    }

    /// Sends the pushed messages and reads until the reply to the last one.
    fn exchange(&mut self, mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let fd = self.socket.as_raw_fd();
        let sent = send(fd, &self.out, MsgFlags::empty())?;
        ensure!(sent == self.out.len(), "sent {sent} bytes only");
        self.out.clear();
        loop {
            let length = recv(fd, &mut self.inbox, MsgFlags::empty())?;
            let mut rest = self.inbox.get(..length).unwrap_or_default();
            while let (Some(length), Some(kind), Some(seq)) =
                (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8))
            {
                let length = length.max(16) as usize;
                let message = rest.get(..length).context("a message that was cut")?;
                match kind {
                    // NLMSG_ERROR, also used for acknowledgements, and NLMSG_DONE
                    2 | 3 => {
                        let errno = u32_at(message, 16).unwrap_or(0).cast_signed();
                        if errno != 0 {
                            bail!("{}", std::io::Error::from_raw_os_error(-errno));
                        }
                        if seq == self.seq {
                            return Ok(());
                        }
                    }
                    _ => each(message),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}
