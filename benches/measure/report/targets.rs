//! The targets.

use super::{
    KERNELS, NOTHING,
    part::{Part, Samples, number},
    verdict, words,
};

/// A measurement and its limit.
pub struct Target {
    pub work: &'static str,
    ours: Samples,
    /// What it is compared with; `None` for a limit of the value itself.
    base: Option<Samples>,
    limit: fn(part: &str) -> Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    /// Takes at most this many times as long as the baseline.
    AtMost(f64),
    /// Is at least this many times as fast as the baseline.
    Faster(f64),
    /// Reaches at least this part of the baseline's rate.
    AtLeast(f64),
    /// Takes at most this much longer than the baseline, in ms.
    Beyond(f64),
    /// Occupies at most this many MiB; the samples are KiB.
    Mebibytes(f64),
    /// No limit; shown as times as long, or times as fast.
    Show,
    ShowFaster,
}

/// Interfaces of ipvsd that load a table, and those that list it.
const LOADERS: [&str; 5] = [
    "http-rules",
    "grpc-rules",
    "ipvsctl",
    "http-put",
    "grpc-replace",
];
const LISTERS: [&str; 3] = ["http", "grpc", "ipvsctl"];

/// All targets.
pub fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |work, ours: (_, _), base: (_, _), size, limit| {
        targets.push(Target {
            work,
            ours: Samples::new(ours.0, ours.1, size),
            base: Some(Samples::new(base.0, base.1, size)),
            limit,
        });
    };
    const LARGE: &str = "1000x100";
    for ours in LOADERS {
        let work = "load";
        let limit = match ours {
            "ipvsctl" => |_: &str| Limit::AtMost(2.0),
            _ => |part: &str| Limit::AtMost(if part == "tcg" { 1.5 } else { 3.0 }),
        };
        add(work, ("fill", ours), ("fill", "raw-packed"), LARGE, limit);
        add(work, ("fill", ours), ("fill", "ipvsadm"), LARGE, |part| {
            Limit::Faster(if part == "tcg" { 9.0 } else { 35.0 })
        });
        add(work, ("fill", ours), ("fill", "keepalived"), LARGE, |_| {
            Limit::ShowFaster
        });
    }
    for ours in LISTERS {
        let work = "list with counters and rates";
        add(work, ("list", ours), ("list", "ipvsadm"), LARGE, |_| {
            Limit::Faster(3.0)
        });
        let limit = match ours {
            "http" => |part: &str| Limit::AtMost(if part == "tcg" { 1.6 } else { 1.15 }),
            "grpc" => |part: &str| Limit::AtMost(if part == "tcg" { 2.0 } else { 1.4 }),
            _ => |_: &str| Limit::AtMost(1.6),
        };
        add(work, ("list", ours), ("list", "raw"), LARGE, limit);
    }
    for (ours, minimum) in [("http", "nothing-http"), ("grpc", "nothing-grpc")] {
        let work = "one change, kept connection, p50";
        for size in ["1x1", "100x10", LARGE] {
            add(
                work,
                ("change p50", ours),
                ("change p50", "raw"),
                size,
                |_| Limit::Show,
            );
        }
        add(
            work,
            ("change p50", ours),
            ("change p50", minimum),
            "100x10",
            match ours {
                "http" => |_| Limit::AtMost(1.5),
                _ => |_| Limit::AtMost(1.4),
            },
        );
        add(
            work,
            ("change p50", minimum),
            ("change p50", "raw"),
            "100x10",
            |_| Limit::Show,
        );
    }
    for ours in ["http", "grpc"] {
        let work = "1000 changes, 64 clients";
        add(
            work,
            ("changes", ours),
            ("changes", "ipvsadm"),
            "100x10",
            |_| Limit::ShowFaster,
        );
    }
    add(
        "1000 changes, 64 clients",
        ("changes", "http"),
        ("changes", "nothing-http"),
        "100x10",
        |_| Limit::AtMost(1.4),
    );
    add(
        "1000 changes, 64 clients",
        ("changes", "nothing-http"),
        ("changes", "ipvsadm"),
        "100x10",
        |_| Limit::ShowFaster,
    );
    add(
        "1000 processes that each add a server",
        ("changes", "ipvsctl"),
        ("changes", "ipvsadm"),
        "100x10",
        |_| Limit::AtMost(0.6),
    );
    add(
        "one change beside a client that lists everything, p99",
        ("beside p99", "listed"),
        ("beside p99", "alone"),
        "1000x10",
        |_| Limit::AtMost(4.0),
    );
    const MILLION: &str = "10000x100";
    add(
        "load a million servers",
        ("fill", "http-rules"),
        ("fill", "raw-packed"),
        MILLION,
        |_| Limit::AtMost(1.5),
    );
    for ours in ["http", "grpc"] {
        let work = "list a million servers";
        add(work, ("list", ours), ("list", "raw"), MILLION, |_| {
            Limit::AtMost(1.15)
        });
    }
    add(
        "list 60,000 connections",
        ("connections", "http"),
        ("connections", "cat"),
        "60000",
        |_| Limit::AtMost(2.0),
    );
    for ours in ["write", "readyz"] {
        let work = "during a restore of 70,000 servers of one service, p99";
        let base = ("contended p99", "command");
        add(work, ("contended p99", ours), base, "1x70000", |_| {
            Limit::Beyond(50.0)
        });
    }
    for ours in ["http-changed", "http-all"] {
        let work = "replace a table by one that differs in 1 %";
        let limit = |_: &str| Limit::Faster(10.0);
        add(
            work,
            ("replace", ours),
            ("fill", "http-rules"),
            LARGE,
            limit,
        );
        add(work, ("replace", ours), ("fill", "http-put"), LARGE, limit);
    }
    let work = "apply a declared table that differs in 1 %, and dump it";
    add(work, ("apply", "http"), ("apply", "raw"), LARGE, |_| {
        Limit::AtMost(1.5)
    });
    for (ours, least) in [
        ("poll http", 0.7),
        ("poll http 304", 0.85),
        ("poll grpc", 0.7),
        ("get one", 0.6),
    ] {
        let work = match ours {
            "poll http" => "pollers, `max-age=1`, HTTP",
            "poll http 304" => "pollers, `max-age=1`, `If-None-Match`, HTTP",
            "poll grpc" => "pollers, `max-age=1`, gRPC",
            _ => "one service, no caching, 64 clients, HTTP",
        };
        let limit = match least {
            0.6 => |_: &str| Limit::AtLeast(0.6),
            0.85 => |_: &str| Limit::AtLeast(0.85),
            _ => |_: &str| Limit::AtLeast(0.7),
        };
        add(work, (ours, "ipvsd"), (ours, "nothing"), "100x10", limit);
    }
    for ours in ["http", "grpc"] {
        targets.push(Target {
            work: "one change, kept connection, p50",
            ours: Samples::new("change p50", ours, LARGE),
            base: Some(Samples::new("change p50", ours, "1x1")),
            limit: |_| Limit::AtMost(1.1),
        });
    }
    let mut add_memory = |work, ours: (_, _), size, limit| {
        targets.push(Target {
            work,
            ours: Samples::new(ours.0, ours.1, size),
            base: None,
            limit,
        });
    };
    add_memory("idle RSS", ("rss", "idle"), MILLION, |_| {
        Limit::Mebibytes(14.0)
    });
    for ours in ["http", "grpc"] {
        let work = "RSS over idle while listing a million servers";
        add_memory(work, ("rss over idle", ours), MILLION, |_| {
            Limit::Mebibytes(64.0)
        });
    }
    let work = "RSS over idle a minute after listing a million servers";
    let after = ("rss over idle", "minute-after");
    add_memory(work, after, MILLION, |_| Limit::Mebibytes(20.0));
    let work = "peak RSS while listing 1,000,000 connections";
    let peak = ("connections peak", "http");
    add_memory(work, peak, "1000000", |_| Limit::Mebibytes(32.0));
    targets
}

// === impl Target ===

impl Target {
    /// The table, the contender and the baseline.
    pub fn describe(&self) -> [String; 3] {
        let size = |samples: &Samples| samples.size.replace('x', "×");
        let base = self.base.map_or_else(
            || "–".to_owned(),
            |base| match base.size == self.ours.size {
                true => words(base.contender).to_owned(),
                false => format!("{}, {}", words(base.contender), size(&base)),
            },
        );
        [
            size(&self.ours),
            words(self.ours.contender).to_owned(),
            base,
        ]
    }

    /// The cell of the table for a part of the run.
    pub fn cell(&self, part: &Part) -> String {
        if KERNELS.contains(&part.name.as_str()) == self.is_on_fake_kernel() {
            return NOTHING.to_owned();
        }
        let measured = self.measured(part);
        measured.unwrap_or_else(|| "**not measured**".to_owned())
    }

    fn is_on_fake_kernel(&self) -> bool {
        matches!(
            self.ours.work,
            "poll http" | "poll http 304" | "poll grpc" | "get one" | "connections peak"
        )
    }

    /// The result and whether it meets the limit.
    fn measured(&self, part: &Part) -> Option<String> {
        let limit = (self.limit)(&part.name);
        let Some(base) = self.base else {
            let kib = part.spread(self.ours.work, Some(self.ours.size), self.ours.contender)?;
            let mib = kib.scaled(1.0 / 1024.0);
            let verdict = match limit {
                Limit::Mebibytes(most) => verdict(mib.median <= most, &format!("≤ {most} MiB")),
                _ => String::new(),
            };
            return Some(format!("{} MiB{verdict}", mib.text()));
        };
        if let Limit::Beyond(most) = limit {
            let beyond = part.compared(self.ours, base, |ours, base| ours - base)?;
            let verdict = verdict(beyond.median <= most, &format!("≤ {most} ms beyond"));
            let base = part.spread(base.work, Some(base.size), base.contender)?;
            return Some(format!(
                "{} ms beyond {} ms{verdict}",
                beyond.text(),
                number(base.median)
            ));
        }
        let ratio = part.compared(self.ours, base, |ours, base| ours / base)?;
        let (shown, met, target) = match limit {
            Limit::AtMost(most) => (ratio, ratio.median <= most, format!("≤ {most}")),
            Limit::AtLeast(least) => {
                let verdict = verdict(ratio.median >= least, &format!("≥ {least}"));
                return Some(format!("{}{verdict}", ratio.text()));
            }
            Limit::Faster(least) => {
                let faster = ratio.inverse();
                (faster, faster.median >= least, format!("≥ {least} faster"))
            }
            // In the same direction as the rows around it.
            Limit::ShowFaster => return Some(format!("{} × faster", ratio.inverse().text())),
            Limit::Show | Limit::Beyond(_) | Limit::Mebibytes(_) => {
                return Some(format!("{} ×", ratio.text()));
            }
        };
        Some(format!("{} ×{}", shown.text(), verdict(met, &target)))
    }
}
