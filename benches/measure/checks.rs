//! What many health checks cost: processor time, memory and descriptors of the daemon. Servers are addresses of
//! 127.0.0.0/8, all of one process that answers at once, or never.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use nix::unistd::{SysconfVar, sysconf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    runtime,
};

use super::{
    daemon::{Daemon, free_port},
    http::Reader,
    sample::{remark, sample},
    table::service_id,
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long, required_unless_present = "serve")]
    ipvsd: Option<PathBuf>,
    /// Servers that are checked.
    #[arg(long, default_value_t = 10_000)]
    checks: u32,
    /// Servers of a service.
    #[arg(long, default_value_t = 100)]
    servers: u32,
    /// Type of the checks.
    #[arg(long, value_enum, default_value = "tcp")]
    kind: Kind,
    /// Seconds between two checks of a server.
    #[arg(long, default_value_t = 2)]
    interval: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The servers accept connections, and do not answer.
    #[arg(long)]
    hang: bool,
    /// Be the servers, until standard input ends.
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Tcp,
    Http,
}

/// Time in which every server has been checked.
const PATIENCE: Duration = Duration::from_secs(60);
const BACKLOG: u32 = 4096;
/// Outcomes of checks.
const ALL: &str = "";

pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.ipvsd {
        Some(_) if options.serve => serve(options.hang),
        None => serve(options.hang),
        Some(ipvsd) => {
            println!("fact\tkernel\t{}", super::lab::release()?);
            let mut servers = Servers::start(options.hang)?;
            let daemon = Daemon::start(ipvsd, "fake", free_port()?)?;
            options.measure(&daemon, servers.port()?)
        }
    }
}

// === impl Options ===

impl Options {
    fn measure(&self, daemon: &Daemon, port: u16) -> anyhow::Result<()> {
        let idle = daemon.usage()?;
        let mut client = Reader::connect(daemon.address)?;
        let services = self.checks.div_ceil(self.servers);
        for service in 0..services {
            let path = format!("/v1/services/{}", service_id(service));
            client.call("PUT", &path, &self.service(service, port))?;
        }
        let begin = Instant::now();
        loop {
            let checked = checked(daemon.address, ALL)?;
            if checked >= f64::from(self.checks) {
                break;
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "{checked} checks in {PATIENCE:?}"
            );
            sleep(Duration::from_millis(500));
        }
        let name = format!("{:?}", self.kind).to_lowercase();
        let report = |what: &str, value| sample(&name, self.checks, what, 1, value);
        let succeeded = checked(daemon.address, "success")?;
        daemon.forget_peak()?;
        let (before, begin, count) = (
            daemon.usage()?,
            Instant::now(),
            checked(daemon.address, ALL)?,
        );
        let mut descriptors = 0;
        while begin.elapsed() < Duration::from_secs(self.seconds) {
            sleep(Duration::from_millis(500));
            descriptors = descriptors.max(daemon.descriptors()?);
        }
        let (after, elapsed) = (daemon.usage()?, begin.elapsed().as_secs_f64());
        let share = |ticks: fn(&Usage) -> f64| (ticks(&after) - ticks(&before)) / elapsed;
        report(
            "checks a second",
            (checked(daemon.address, ALL)? - count) / elapsed,
        );
        let succeeded = checked(daemon.address, "success")? - succeeded;
        report("successes a second", succeeded / elapsed);
        report("processors", share(|usage| usage.user + usage.system));
        report("processors, in user mode", share(|usage| usage.user));
        report("RSS without checks, KiB", idle.resident);
        report("RSS, KiB", after.resident);
        report("peak RSS, KiB", daemon.memory()?.peak);
        report("descriptors, most of all looks", descriptors as f64);
        for line in fs::read_to_string("/proc/net/sockstat")?.lines() {
            if let Some(sockets) = line.strip_prefix("TCP: ") {
                remark(format!("sockets of this machine: {sockets}"));
            }
        }
        Ok(())
    }

    /// The body of a service with its servers.
    fn service(&self, service: u32, port: u16) -> String {
        let first = service * self.servers;
        let last = (first + self.servers).min(self.checks);
        let servers = (first..last).map(|number| {
            let address = Ipv4Addr::from_bits(0x7f01_0001 + number);
            format!(
                r#"{{"address":"{address}","port":{port},"forwarding":"masquerade","weight":1}}"#
            )
        });
        let servers: Vec<_> = servers.collect();
        let (kind, interval) = (format!("{:?}", self.kind).to_lowercase(), self.interval);
        format!(
            r#"{{"scheduler":"rr","servers":[{}],"health_check":{{"type":"{kind}","interval_seconds":{interval}}}}}"#,
            servers.join(",")
        )
    }
}

/// The number of checks that have ended, of all outcomes or of this one.
fn checked(daemon: SocketAddr, outcome: &str) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(daemon)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let counts = text.lines().filter_map(|line| {
        let labels = line.strip_prefix("ipvsd_health_checks_total{")?;
        let (labels, count) = labels.rsplit_once(' ')?;
        count
            .parse::<f64>()
            .ok()
            .filter(|_| labels.contains(outcome))
    });
    Ok(counts.sum())
}

// === what the daemon uses ===

/// What a process has used: seconds of a processor, and KiB.
#[derive(Clone, Copy, Debug)]
struct Usage {
    user: f64,
    system: f64,
    resident: f64,
}

impl Daemon {
    fn usage(&self) -> anyhow::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let fields = stat
            .rsplit_once(") ")
            .context("a strange /proc/PID/stat")?
            .1;
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")? as f64;
        let seconds = |place: usize| {
            let field = fields
                .get(place)
                .and_then(|field| field.parse::<f64>().ok());
            field
                .map(|count| count / ticks)
                .context("a strange /proc/PID/stat")
        };
        Ok(Usage {
            user: seconds(11)?,
            system: seconds(12)?,
            resident: self.memory()?.resident,
        })
    }

    fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id()))?.count())
    }
}

// === the servers ===

/// The process of the servers.
struct Servers(Child);

impl Servers {
    fn start(hangs: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["checks", "--serve"]);
        if hangs {
            command.arg("--hang");
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    fn port(&mut self) -> anyhow::Result<u16> {
        let mut line = String::new();
        let output = self.0.stdout.as_mut().context("no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(hangs: bool) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(|| {
        // The parent has ended.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
                while stream.read(&mut request).await? > 0 {
                    if !hangs {
                        stream.write_all(answer).await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    })
}
