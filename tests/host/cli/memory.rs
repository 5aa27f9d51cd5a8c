//! Memory that the daemon uses for listings.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::daemon::Daemon;

#[test]
fn listings_reuse_memory() {
    let daemon = Daemon::start();
    // In small requests: after a large allocation is freed, glibc raises its trim threshold.
    for ten in 0..10 {
        let mut rules = String::new();
        for service in 10 * ten..10 * (ten + 1) {
            rules += &format!("-A -t 10.0.0.{service}:80 -s rr\n");
            for server in 0..100 {
                rules += &format!("-a -t 10.0.0.{service}:80 -r 10.1.0.{server}:80 -m -w 1\n");
            }
        }
        assert_eq!(daemon.run("ipvsadm -R", &rules).code, 0);
    }
    let mut stream = TcpStream::connect(daemon.endpoint.trim_start_matches("http://")).unwrap();
    let mut list = || {
        let request =
            b"GET /v1/services?include=servers,stats,rates HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).unwrap();
        let (mut response, mut buffer) = (Vec::new(), [0; 65536]);
        while !response.ends_with(b"\r\n0\r\n\r\n") {
            let length = stream.read(&mut buffer).unwrap();
            response.extend_from_slice(buffer.get(..length).unwrap());
        }
        assert!(response.len() > 3_000_000);
    };
    for _ in 0..3 {
        list();
    }
    let before = daemon.page_faults();
    for _ in 0..10 {
        list();
    }
    let faults = (daemon.page_faults() - before) / 10;
    // The table alone occupies 350 pages.
    assert!(faults < 50, "{faults} page faults per listing");
}
