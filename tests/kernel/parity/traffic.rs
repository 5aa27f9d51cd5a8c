//! Listings of connections and counters after traffic.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use super::Pair;
use crate::common::parity::{Comparison, Tally, compare};

const TABLE: &str = "\
-A -u 10.0.0.1:53 -s rr
-a -u 10.0.0.1:53 -r 10.99.0.2:5353 -m
-A -u 10.0.0.1:514 -s rr -p 100 -M 255.255.255.0
-a -u 10.0.0.1:514 -r 10.99.0.3:514 -g -w 2
-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip
-a -u 10.0.0.1:5060 -r 10.99.0.4:5060 -m
";

fn send(from: u16, to: u16, payload: &str) {
    let socket = UdpSocket::bind(("10.99.0.1", from)).unwrap();
    socket
        .send_to(payload.as_bytes(), ("10.0.0.1", to))
        .unwrap();
}

#[test]
fn connections_and_counters_match_ipvsadm() {
    let pair = Pair::new();
    pair.reset(TABLE);
    let call = |id: &str| format!("INVITE sip:a@b SIP/2.0\r\nVia: x\r\nCall-ID: {id}\r\n\r\n");
    for namespace in [&pair.ipvsadm, &pair.ipvsctl] {
        namespace.run(|| {
            for (from, to) in [(4001, 53), (4002, 53), (4003, 514), (4004, 514)] {
                send(from, to, "x");
            }
            send(4005, 5060, &call("short@example.test"));
        });
    }
    let mut tally = Tally::default();
    for cmd in [
        "ipvsadm -Lnc",
        "ipvsadm -Lc",
        "ipvsadm -Lnc --persistent-conn",
        "ipvsadm -Ln",
        "ipvsadm -L",
        "ipvsadm -Ln --stats",
        "ipvsadm -Ln --stats --exact",
        "ipvsadm -Ln --persistent-conn",
        "ipvsadm -Ln --rate",
        "ipvsadm -Z -u 10.0.0.1:53",
        "ipvsadm -Ln --stats",
        "ipvsadm -Z",
        "ipvsadm -Ln --stats",
    ] {
        // The commands run some hundredths of a second apart. Retry: timers or the counters, which the
        // kernel updates every two seconds, may have changed in between.
        let end = Instant::now() + Duration::from_secs(12);
        loop {
            let (expected, actual) = pair.run_both(cmd, "");
            let counted = !cmd.contains("--stats --exact") || expected.stdout.contains(" 2 ");
            let is_equal = compare(cmd, &expected, &actual) == Comparison::Equal && counted;
            if is_equal || Instant::now() > end {
                assert!(
                    !cmd.contains('c') || expected.stdout.len() > 20 || cmd.contains("-Z"),
                    "{expected:?}"
                );
                tally.compare("traffic", cmd, &expected, &actual);
                break;
            }
            thread::sleep(Duration::from_millis(150));
        }
    }
    print!("traffic: ");
    tally.finish();
}
