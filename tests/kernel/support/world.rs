//! A network of a client, a director and a real server, each in its own namespace.
//!
//! ```text
//! client .2 -- 10.9.0.0/24 fd09::/64 -- .1 director .1 -- 10.1.0.0/24 fd01::/64 -- .11 server
//! ```
//!
//! The director also has the virtual addresses 10.9.0.100 and fd09::100.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::Namespace;

/// The three hosts. The server echoes TCP and UDP on port 80.
pub struct World {
    pub client: Namespace,
    pub director: Namespace,
    pub server: Namespace,
}

const TIMEOUT: Duration = Duration::from_secs(20);

impl World {
    /// Sets up addresses, routes and the server.
    pub fn new() -> Self {
        let [client, director, server] = std::array::from_fn(|_| Namespace::new());
        for namespace in [&client, &director, &server] {
            // Addresses are usable at once.
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
        serve(&server);
        Self {
            client,
            director,
            server,
        }
    }

    /// A connection of the client, after one echo.
    pub fn connect(&self, to: &str) -> TcpStream {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(|| {
            let mut stream = TcpStream::connect_timeout(&to, TIMEOUT).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            echo(&mut stream);
            stream
        })
    }

    /// A datagram of the client, and its echo.
    pub fn ask(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(|| {
            let any: SocketAddr = match to {
                SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(TIMEOUT)).unwrap();
            socket.send_to(b"hello", to).unwrap();
            let mut buffer = [0; 16];
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"hello");
            socket
        })
    }
}

/// Sends data and receives its echo.
pub fn echo(stream: &mut TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
}

fn serve(server: &Namespace) {
    let (ready, listens) = mpsc::channel();
    let started = ready.clone();
    server.spawn(move || {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap();
        started.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                // Until the client closes or resets the connection.
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
