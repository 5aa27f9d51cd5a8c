//! The sysctls of IPVS: their types, ranges and defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// Type and range of a sysctl.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Int,
    /// Seconds that the kernel stores in timer ticks.
    Seconds,
    Range(i32, i32),
    /// The mode of a defence: 0 to 3. While memory is not low, the kernel stores 2 as 1.
    Defence,
    PowerOfTwo,
    /// An unsigned 64-bit number.
    Long,
    /// Two numbers; the first is less than the second, or the second is 0.
    Threshold,
    /// Seconds that exist only while the scheduler's module is loaded.
    OfScheduler(&'static str),
}

/// A sysctl: name, kind and default.
type Sysctl = (&'static str, Kind, &'static str);

/// The sysctls of Debian's 6.1 kernel. It is built without CONFIG_IP_VS_DEBUG, so it has no
/// `debug_level`.
const SYSCTLS: &[Sysctl] = &[
    ("amemthresh", Kind::Int, "1024"),
    ("am_droprate", Kind::Int, "10"),
    ("drop_entry", Kind::Defence, "0"),
    ("drop_packet", Kind::Defence, "0"),
    ("secure_tcp", Kind::Defence, "0"),
    ("conntrack", Kind::Int, "0"),
    ("snat_reroute", Kind::Int, "1"),
    ("sync_version", Kind::Range(0, 1), "1"),
    ("sync_ports", Kind::PowerOfTwo, "1"),
    ("sync_persist_mode", Kind::Int, "0"),
    ("sync_qlen_max", Kind::Long, "15456"),
    ("sync_sock_size", Kind::Int, "0"),
    ("cache_bypass", Kind::Int, "0"),
    ("expire_nodest_conn", Kind::Int, "0"),
    ("expire_quiescent_template", Kind::Int, "0"),
    ("sloppy_tcp", Kind::Int, "0"),
    ("sloppy_sctp", Kind::Int, "0"),
    ("nat_icmp_send", Kind::Int, "0"),
    ("backup_only", Kind::Int, "0"),
    ("schedule_icmp", Kind::Int, "0"),
    ("ignore_tunneled", Kind::Int, "0"),
    ("sync_threshold", Kind::Threshold, "3\t50"),
    ("sync_refresh_period", Kind::Seconds, "0"),
    ("sync_retries", Kind::Range(0, 3), "0"),
    ("pmtu_disc", Kind::Int, "1"),
    ("conn_reuse_mode", Kind::Int, "1"),
    ("run_estimation", Kind::Int, "1"),
    ("lblc_expiration", Kind::OfScheduler("lblc"), "86400"),
    ("lblcr_expiration", Kind::OfScheduler("lblcr"), "86400"),
];

/// The sysctls that have been written.
#[derive(Debug, Default)]
pub(super) struct Sysctls {
    written: BTreeMap<&'static str, String>,
}

/// The sysctl with this name, given the loaded modules.
fn find(name: &str, modules: &BTreeSet<&'static str>) -> io::Result<&'static Sysctl> {
    SYSCTLS
        .iter()
        .find(|sysctl| match sysctl.1 {
            Kind::OfScheduler(module) => sysctl.0 == name && modules.contains(module),
            _ => sysctl.0 == name,
        })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Sysctls {
    pub(super) fn read(&self, name: &str, modules: &BTreeSet<&'static str>) -> io::Result<String> {
        let (name, _, default) = find(name, modules)?;
        let value = self.written.get(name).map_or(*default, String::as_str);
        Ok(format!("{value}\n"))
    }

    pub(super) fn write(
        &mut self,
        name: &str,
        text: &str,
        modules: &BTreeSet<&'static str>,
        hz: u32,
    ) -> io::Result<()> {
        let (name, kind, default) = find(name, modules)?;
        let current = self.written.get(name).map_or(*default, String::as_str);
        let value = kind
            .parse(text, current, hz)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        self.written.insert(name, value);
        Ok(())
    }
}

impl Kind {
    /// The content of the file after `text` was written to it; `None` if the kernel rejects it.
    fn parse(self, text: &str, current: &str, hz: u32) -> Option<String> {
        let mut words = text.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<i32>().ok();
        match self {
            Kind::Int => Some(number()?.to_string()),
            Kind::Seconds | Kind::OfScheduler(_) => number()
                .filter(|given| i64::from(*given) * i64::from(hz) <= i64::from(i32::MAX))
                .map(|given| given.to_string()),
            Kind::Range(least, most) => number()
                .filter(|given| (least..=most).contains(given))
                .map(|given| given.to_string()),
            Kind::Defence => number()
                .filter(|given| (0..=3).contains(given))
                .map(|given| if given == 2 { 1 } else { given }.to_string()),
            Kind::PowerOfTwo => number()
                .filter(|given| *given > 0 && given.count_ones() == 1)
                .map(|given| given.to_string()),
            Kind::Long => Some(words.next()?.parse::<u64>().ok()?.to_string()),
            Kind::Threshold => {
                let first = number()?;
                // A single number keeps the second one.
                let second = match words.next() {
                    Some(word) => word.parse().ok()?,
                    None => current.split_ascii_whitespace().nth(1)?.parse().ok()?,
                };
                let fits = first >= 0 && second >= 0 && (first < second || second == 0);
                fits.then(|| format!("{first}\t{second}"))
            }
        }
    }
}
