//! Output of `-L` and `-S` for recorded tables. It must equal that of ipvsadm byte for byte.

use std::collections::BTreeMap;

use ipvsd::{
    ipvsadm::{
        CommandLine, List, Names, Numeric, Order, parse, write_connection_header, write_list,
        write_rules, write_sync_daemons, write_timeouts, write_version,
    },
    model::{Rates, ServiceEntry, Stats, SyncDaemon, Timeouts},
};
use serde_json::Value;

use super::transcript::{RecordedNames, Step, scenario, table, words};

/// Whether a step lists another table than the recorded one.
fn lists_other_table(scenario: &str, step: &Step) -> bool {
    let number: u32 = step.name[..3].parse().unwrap();
    match scenario {
        "schedulers" => !(29..=56).contains(&number),
        "services-matrix" => !(69..=117).contains(&number),
        "traffic-lists" => number > 16,
        _ => false,
    }
}

/// The output of a command that reads; `None` for other commands.
fn output(state: &Value, entries: &[ServiceEntry], cmd: &str) -> Option<String> {
    let known = RecordedNames::new();
    let mut words = words(cmd);
    let program = words.remove(0);
    if program == "ipvsadm-save" {
        words.insert(0, "-S".to_owned());
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let info = &state["info"];
    let mut out = Vec::new();
    let names = |numeric: bool| -> &dyn Names { if numeric { &Numeric } else { &known } };
    match parse(&program, &words, &known).ok()? {
        CommandLine::List(List::Table(format)) => {
            let size = u32::try_from(info["conn_tab_size"].as_u64().unwrap_or(4096)).unwrap();
            write_version(&mut out, "1.2.1", size).unwrap();
            write_list(&mut out, entries, format, names(format.numeric)).unwrap();
        }
        CommandLine::List(List::Service(key, format)) => {
            let entry = entries.iter().find(|entry| entry.service.key == key)?;
            let one = std::slice::from_ref(entry);
            write_list(&mut out, one, format, names(format.numeric)).unwrap();
        }
        CommandLine::List(List::Connections { engine_data, .. }) => {
            write_connection_header(&mut out, engine_data).unwrap();
        }
        CommandLine::List(List::Timeouts) => {
            write_timeouts(&mut out, Timeouts::DEFAULT).unwrap();
        }
        CommandLine::List(List::SyncDaemons) => {
            let daemons: Vec<SyncDaemon> = Vec::new();
            write_sync_daemons(&mut out, &daemons).unwrap();
        }
        CommandLine::Save { numeric } => {
            write_rules(&mut out, entries, Order::Sorted, names(numeric)).unwrap();
        }
        _ => return None,
    }
    Some(String::from_utf8(out).unwrap())
}

/// The number of the documented difference in docs/ipvsadm-compatibility.md, if there is one.
fn documented(expected: &str, actual: &str) -> Option<u8> {
    let lines = |text: &str, change: &dyn Fn(&str) -> String| {
        let mut lines: Vec<_> = text.lines().map(change).collect();
        lines.sort();
        lines
    };
    let unsigned = |line: &str| {
        line.replace("FWM  -1 ", "FWM  4294967295 ")
            .replace("FWM  -2147483648 ", "FWM  2147483648 ")
            .replace("-f -1 ", "-f 4294967295 ")
            .replace("-f -2147483648 ", "-f 2147483648 ")
    };
    // Listings with counters pad the name.
    let squeezed = |line: &str| {
        unsigned(line)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let unchanged = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    if lines(expected, &squeezed) == lines(actual, &unchanged) {
        return Some(5);
    }
    let without = |line: &str| {
        let mut kept = Vec::new();
        let mut words = line.split(' ').peekable();
        let persistent = line.contains(" -p ");
        while let Some(word) = words.next() {
            if matches!(word, "-x" | "-y") || word == "-M" && !persistent {
                words.next();
            } else if word == "flag-3" && line.contains(" -s sh ") {
                kept.push("");
            } else {
                kept.push(word);
            }
        }
        kept.join(" ")
    };
    (lines(expected, &|line| unsigned(line)) == lines(actual, &without)).then_some(6)
}

#[test]
fn recorded_listings_match_ipvsadm() {
    let mut compared = 0;
    let mut different: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for name in [
        "empty-table",
        "schedulers",
        "services-matrix",
        "traffic-lists",
    ] {
        let steps = scenario(name);
        let state = steps.iter().find_map(|step| step.state.clone()).unwrap();
        let entries = table(&state);
        for step in steps.iter().filter(|step| step.state.is_none()) {
            if lists_other_table(name, step) || step.rc != 0 {
                continue;
            }
            let Some(actual) = output(&state, &entries, &step.cmd) else {
                continue;
            };
            compared += 1;
            if actual != step.out {
                let number = documented(&step.out, &actual).unwrap_or_else(|| {
                    panic!(
                        "{name}/{}: {}\n{}\nactual:\n{actual}",
                        step.name, step.cmd, step.out
                    )
                });
                different.entry(number).or_default().push(step.name.clone());
            }
        }
    }
    let documented: usize = different.values().map(Vec::len).sum();
    println!("compared {compared}, different as documented {documented}: {different:?}");
    assert!(compared >= 115, "{compared}");
}

/// The counters and rates that were injected into every service or server of the recording.
fn injected(env: &str, key: &str) -> (Stats, Rates) {
    let line = env.lines().find_map(|line| line.strip_prefix(key));
    let numbers: Vec<u64> = line
        .unwrap()
        .split(',')
        .map(|n| n.parse().unwrap())
        .collect();
    let [
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        cps,
        inpps,
        outpps,
        inbps,
        outbps,
    ] = numbers.try_into().unwrap();
    (
        Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        },
        Rates {
            connections: cps,
            packets_in: inpps,
            packets_out: outpps,
            bytes_in: inbps,
            bytes_out: outbps,
        },
    )
}

#[test]
fn counters_of_any_size_match_ipvsadm() {
    // Documented difference 4: ipvsadm keeps 32 bits of these counters of a server.
    let wrap = |n: u64| n & 0xffff_ffff;
    let (mut compared, mut wrapped) = (0, 0);
    for step in scenario("big-counters") {
        if !step.env.contains("FAKE_SVC=") {
            continue;
        }
        let state: Value = serde_json::json!({"info": {}, "services": [{
            "af": "inet", "protocol": 6, "addr": "10.0.0.1", "port": 80, "sched": "rr",
            "netmask": "255.255.255.255",
            "dests": [{"addr": "10.1.1.2", "port": 80, "weight": 1}],
        }]});
        let mut entries = table(&state);
        (entries[0].service.stats, entries[0].service.rates) = injected(&step.env, "FAKE_SVC=");
        let (stats, rates) = injected(&step.env, "FAKE_DEST=");
        let server = &mut entries[0].servers[0];
        (server.stats, server.rates) = (
            Stats {
                connections: wrap(stats.connections),
                packets_in: wrap(stats.packets_in),
                packets_out: wrap(stats.packets_out),
                ..stats
            },
            Rates {
                connections: wrap(rates.connections),
                packets_in: wrap(rates.packets_in),
                packets_out: wrap(rates.packets_out),
                bytes_in: wrap(rates.bytes_in),
                bytes_out: wrap(rates.bytes_out),
            },
        );
        wrapped += usize::from((server.stats, server.rates) != (stats, rates));
        compared += 1;
        let printed = output(&state, &entries, &step.cmd).unwrap();
        assert_eq!(printed, step.out, "{}", step.name);
    }
    println!("compared {compared}, of them {wrapped} with counters above 32 bits");
    assert!(compared > 80, "{compared}");
}
