//! The table that all contenders load, in the format of each: services 10.1.x.y:80 over TCP, each
//! with the same masqueraded servers 10.128.x.y:80.

use std::{
    fmt::{self, Write},
    net::Ipv4Addr,
    str::FromStr,
};

use bytes::Bytes;

/// Services × servers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    pub services: u32,
    pub servers: u32,
}

pub const PORT: u16 = 80;

pub fn service_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a01_0000 + number)
}

pub fn server_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a80_0000 + number)
}

pub fn service_id(number: u32) -> String {
    format!("tcp-{}-{PORT}", service_address(number))
}

pub fn server_id(number: u32) -> String {
    format!("{}-{PORT}", server_address(number))
}

/// A server as JSON.
pub fn server_json(number: u32, weight: u32) -> String {
    let address = server_address(number);
    format!(
        r#"{{"address":"{address}","port":{PORT},"forwarding":"masquerade","weight":{weight}}}"#
    )
}

// === impl Size ===

impl Size {
    /// Objects in the kernel; each takes one command.
    pub fn commands(self) -> u32 {
        self.services * (self.servers + 1)
    }

    /// For `ipvsadm -R`.
    pub fn rules(self) -> String {
        self.rules_of(|_| 1)
    }

    /// The same, with a weight for each service.
    pub fn rules_of(self, weight: impl Fn(u32) -> u32) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            let address = service_address(service);
            let weight = weight(service);
            // Writing to a string does not fail.
            let _ = writeln!(text, "-A -t {address}:{PORT} -s rr");
            for server in 0..self.servers {
                let server = server_address(server);
                let _ = writeln!(
                    text,
                    "-a -t {address}:{PORT} -r {server}:{PORT} -m -w {weight}"
                );
            }
        }
        text
    }

    /// The body of `PUT /v1/services/{id}`; it is the same for all services.
    pub fn service_json(self, weight: u32) -> Bytes {
        let servers: Vec<_> = (0..self.servers)
            .map(|number| server_json(number, weight))
            .collect();
        format!(r#"{{"scheduler":"rr","servers":[{}]}}"#, servers.join(",")).into()
    }

    /// keepalived's configuration, without health checks.
    pub fn keepalived(self) -> String {
        let mut text = "global_defs {\n    checker_priority 0\n}\n".to_owned();
        for service in 0..self.services {
            let _ = writeln!(
                text,
                "virtual_server {} {PORT} {{\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP",
                service_address(service)
            );
            for server in 0..self.servers {
                let _ = writeln!(
                    text,
                    "    real_server {} {PORT} {{\n        weight 1\n    }}",
                    server_address(server)
                );
            }
            text.push_str("}\n");
        }
        text
    }
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('x').and_then(|(services, servers)| {
            Some(Self {
                services: services.parse().ok().filter(|n| (1..=65_536).contains(n))?,
                servers: servers.parse().ok().filter(|n| (1..=100_000).contains(n))?,
            })
        });
        parsed.ok_or_else(|| anyhow::anyhow!("{text:?} is no size such as 100x10"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.services, self.servers)
    }
}
