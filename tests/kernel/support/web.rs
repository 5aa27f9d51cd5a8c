//! HTTP servers behind a service, and their clients.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};

use super::Namespace;

/// Where the servers listen, on each address of their namespace.
pub const PORT: u16 = 8080;

/// A connection that is kept for several requests. Its end is a reset, after which the kernel forgets it in 10 seconds
/// instead of 120.
pub struct Http(BufReader<TcpStream>);

impl Http {
    /// Connects in this thread's namespace. Each step may take so long.
    pub fn connect(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&stream, Linger, &at_once)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The address of the server that answers a request.
    pub fn server(&mut self) -> io::Result<String> {
        let stream = self.0.get_mut();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
        let mut lines = (&mut self.0).lines();
        let mut next = || lines.next().unwrap_or(Err(ErrorKind::UnexpectedEof.into()));
        let status = next()?;
        assert_eq!(status, "HTTP/1.1 200 OK");
        while !next()?.is_empty() {}
        next()
    }
}

/// Starts a server in a namespace, which answers with the address that the client has reached.
pub fn serve(namespace: &Namespace) {
    let (ready, listens) = mpsc::channel();
    namespace.spawn(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            // The client may have ended the connection before.
            let Ok(stream) = stream else { continue };
            thread::spawn(|| answer(stream));
        }
    });
    listens.recv().expect("the server does not listen");
}

/// Answers until the client ends the connection.
fn answer(stream: TcpStream) -> Option<()> {
    let address = stream.local_addr().ok()?.ip();
    let mut writer = stream.try_clone().ok()?;
    for line in BufReader::new(stream).lines() {
        let body = format!("{address}\n");
        let length = body.len();
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if line.ok()?.is_empty() {
            writer.write_all(response.as_bytes()).ok()?;
        }
    }
    None
}
