//! The targets of the measurements in a kernel.

use super::{Part, verdict};

/// A ratio and its limit.
pub struct Target {
    pub work: &'static str,
    /// Work and contender of the samples, and of the baseline.
    pub ours: (&'static str, &'static str),
    pub base: (&'static str, &'static str),
    pub size: &'static str,
    limit: fn(part: &str) -> Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    /// Takes at most this many times as long as the baseline.
    AtMost(f64),
    /// Is at least this many times as fast as the baseline.
    Faster(f64),
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
    let mut add = |work: &'static str, ours, base, size, limit| {
        targets.push(Target {
            work,
            ours,
            base,
            size,
            limit,
        });
    };
    const LARGE: &str = "1000x100";
    for ours in LOADERS {
        let work = "load";
        add(
            work,
            ("fill", ours),
            ("fill", "raw-packed"),
            LARGE,
            |part| Limit::AtMost(if part == "tcg" { 1.5 } else { 3.0 }),
        );
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
        add(work, ("list", ours), ("list", "raw"), LARGE, |_| {
            Limit::AtMost(1.6)
        });
    }
    for (ours, minimum) in [("http", "nothing-http"), ("grpc", "nothing-grpc")] {
        let work = "one change, kept connection, p50";
        for size in ["1x1", "100x10", LARGE] {
            add(
                work,
                ("change p50", ours),
                ("change p50", "raw"),
                size,
                |part| match part {
                    "tcg" => Limit::AtMost(3.0),
                    _ => Limit::Show,
                },
            );
        }
        add(
            work,
            ("change p50", ours),
            ("change p50", minimum),
            "100x10",
            |_| Limit::Show,
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
            |_| Limit::Faster(100.0),
        );
    }
    add(
        "1000 changes, 64 clients",
        ("changes", "nothing-http"),
        ("changes", "ipvsadm"),
        "100x10",
        |_| Limit::ShowFaster,
    );
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
    targets
}

// === impl Target ===

impl Target {
    /// The cell of the table for a kernel.
    pub fn cell(&self, part: &Part) -> String {
        let limit = (self.limit)(&part.name);
        let Some(ratio) = part.ratio(self.ours, self.base, Some(self.size)) else {
            return "–".to_owned();
        };
        let (shown, met, target) = match limit {
            Limit::AtMost(most) => (ratio, ratio.median <= most, format!("≤ {most}")),
            Limit::Faster(least) => {
                let faster = ratio.inverse();
                (faster, faster.median >= least, format!("≥ {least} faster"))
            }
            // In the same direction as the rows around it.
            Limit::Show => return format!("{} ×", ratio.text()),
            Limit::ShowFaster => return format!("{} × faster", ratio.inverse().text()),
        };
        format!("{} ×{}", shown.text(), verdict(met, &target))
    }
}
