//! Listing the connection table.

use std::{net::UdpSocket, thread::sleep, time::Duration, time::Instant};

use anyhow::ensure;

use super::{
    super::{http::Reader, sample::milliseconds, sample::quantile, sample::sample},
    Options, run_command,
};

/// Connections in the table.
const CONNECTIONS: u32 = 60_000;
/// Reads per round, at most; the result is their median.
const READS: usize = 3;
/// After this time no further read is started: the kernel's cost is quadratic, and a slow one takes minutes.
const READING: Duration = Duration::from_secs(60);
/// `limit` of the request: above [`CONNECTIONS`].
const LIST: &str = "/v1/connections?limit=1000000";
const TABLE: &str = "/proc/net/ip_vs_conn";

const SYNC_ID: u8 = 7;
/// Group and port of sync daemons.
const GROUP: &str = "224.0.0.81:8848";
/// Connections in a message, which fits into an Ethernet frame.
const IN_MESSAGE: u32 = 36;
/// Messages between two pauses: the receive buffer of the sync daemon holds about 90.
const BURST: u32 = 32;
const PAUSE: Duration = Duration::from_millis(10);

impl Options {
    pub(super) fn connections(&self) -> anyhow::Result<()> {
        for line in [
            "link add d0 type dummy",
            "addr add 10.5.0.1/24 dev d0",
            "link set d0 up",
            "route add 224.0.0.0/4 dev d0",
        ] {
            run_command("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        let line = format!("--start-daemon backup --mcast-interface d0 --syncid {SYNC_ID}");
        run_command("ipvsadm", &line.split(' ').collect::<Vec<_>>())?;
        synchronise()?;
        let table = std::fs::read_to_string(TABLE)?;
        let found = table.lines().count() - 1;
        ensure!(found == CONNECTIONS as usize, "{found} connections only");

        let daemon = self.daemon()?;
        let mut reader = Reader::connect(daemon.address)?;
        let mut times = ["cat", "http"].map(|name| (name, Vec::new()));
        let reading = Instant::now();
        for read in 0..READS {
            if read > 0 && reading.elapsed() > READING {
                break;
            }
            for (contender, times) in &mut times {
                let begin = Instant::now();
                if *contender == "cat" {
                    run_command("cat", &[TABLE])?;
                } else {
                    let length = reader.read(LIST)?;
                    ensure!(length > 100 * found, "{length} bytes only");
                }
                times.push(milliseconds(begin.elapsed()));
            }
            times.rotate_left(1);
        }
        for (contender, mut times) in times {
            let median = quantile(&mut times, 0.5);
            sample("connections", CONNECTIONS, contender, self.round, median);
        }
        Ok(())
    }
}

/// Creates connections as a master does that synchronises its own.
fn synchronise() -> anyhow::Result<()> {
    let socket = UdpSocket::bind("10.5.0.1:0")?;
    for (number, first) in (0..CONNECTIONS).step_by(IN_MESSAGE as usize).enumerate() {
        let last = (first + IN_MESSAGE).min(CONNECTIONS);
        socket.send_to(&message(first, last), GROUP)?;
        if (number as u32).is_multiple_of(BURST) {
            sleep(PAUSE);
        }
    }
    sleep(PAUSE * 10);
    Ok(())
}

/// A message of version 1: `struct ip_vs_sync_mesg` and `struct ip_vs_sync_v4` of ip_vs_sync.c.
fn message(first: u32, last: u32) -> Vec<u8> {
    /// Length of an entry, which has version 0.
    const ENTRY: u16 = 36;
    /// `IP_VS_TCP_S_ESTABLISHED`.
    const ESTABLISHED: u16 = 1;
    /// Seconds until it expires, longer than a round takes.
    const TIMEOUT: u32 = 900;
    let count = (last - first) as u8;
    let size = 8 + ENTRY * u16::from(count);
    let mut out = vec![0, SYNC_ID];
    out.extend(size.to_be_bytes());
    out.extend([count, 1, 0, 0]);
    for number in first..last {
        out.extend([0, libc::IPPROTO_TCP as u8]);
        out.extend(ENTRY.to_be_bytes());
        out.extend(0_u32.to_be_bytes()); // masquerading
        out.extend(ESTABLISHED.to_be_bytes());
        // Ports of the client, the virtual service and the server.
        for port in [1024 + (number % 50_000) as u16, 80, 80] {
            out.extend(port.to_be_bytes());
        }
        out.extend(0_u32.to_be_bytes()); // no mark
        out.extend(TIMEOUT.to_be_bytes());
        out.extend((0xc612_0000 + number).to_be_bytes()); // 198.18.0.0/15
        out.extend([10, 1, 0, 1]);
        out.extend([10, 128, 0, 1]);
    }
    out
}
