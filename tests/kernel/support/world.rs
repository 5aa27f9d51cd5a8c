//! A client, a director and a server, each in a namespace of its own, and what they send.
//!
//! ```text
//! client .2 -- 10.9.0.0/24 fd09::/64 -- .1 director .1 -- 10.1.0.0/24 fd01::/64 -- .11 server
//! ```
//!
//! The director has the virtual addresses 10.9.0.100 and fd09::100, too.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::Namespace;

/// The three of them. The server echoes what it gets at port 80, by TCP and UDP.
pub struct World {
    pub client: Namespace,
    pub director: Namespace,
    pub server: Namespace,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    /// With addresses, routes and a server that listens.
    pub fn new() -> Self {
        let [client, director, server] = std::array::from_fn(|_| Namespace::new());
        for namespace in [&client, &director, &server] {
            // An address may be used at once.
            for which in ["all", "default"] {
                namespace.sysctl(&format!("net/ipv6/conf/{which}/accept_dad"), "0");
            }
        }
        client.link("net", &director, "outside");
        director.link("inside", &server, "net");
        for line in ["10.9.0.2/24 dev net", "fd09::2/64 dev net nodad"] {
            client.ip(&format!("addr add {line}"));
        }
        for line in [
            "10.9.0.1/24 dev outside",
            "10.9.0.100/32 dev outside",
            "fd09::1/64 dev outside nodad",
            "fd09::100/128 dev outside nodad",
            "10.1.0.1/24 dev inside",
            "fd01::1/64 dev inside nodad",
        ] {
            director.ip(&format!("addr add {line}"));
        }
        for line in ["10.1.0.11/24 dev net", "fd01::11/64 dev net nodad"] {
            server.ip(&format!("addr add {line}"));
        }
        client.ip("link set net up");
        director.ip("link set outside up");
        director.ip("link set inside up");
        server.ip("link set net up");
        server.ip("route add default via 10.1.0.1");
        server.ip("route add default via fd01::1");
        director.sysctl("net/ipv4/ip_forward", "1");
        director.sysctl("net/ipv6/conf/all/forwarding", "1");
        echo(&server);
        Self {
            client,
            director,
            server,
        }
    }

    /// A connection of the client that has been answered once.
    pub fn connect(&self, to: &str) -> TcpStream {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(|| {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            say(&mut stream);
            stream
        })
    }

    /// A datagram of the client that is answered.
    pub fn ask(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(|| {
            let any: SocketAddr = match to {
                SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(b"hello", to).unwrap();
            let mut buffer = [0; 16];
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"hello");
            socket
        })
    }
}

/// Says something and hears it again.
pub fn say(stream: &mut TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
}

fn echo(server: &Namespace) {
    let (ready, listens) = mpsc::channel();
    let started = ready.clone();
    server.spawn(move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap();
        started.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                // Until the client has gone, however it went.
                drop(std::io::copy(&mut reader, &mut stream));
            });
        }
    });
    server.spawn(move || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    for _ in 0..2 {
        listens.recv().expect("the server does not listen");
    }
}
