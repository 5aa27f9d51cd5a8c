//! Properties of the language over random tables, words and texts.

use ipvsd::{
    ipvsadm::{CommandLine, Lines, Numeric, Order, parse, write_op, write_rules},
    model::{Op, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey},
};
use proptest::{collection, prelude::*, sample};

use crate::common::tables::{ANY, entry, table};

fn ops_of(text: &str) -> Vec<Op> {
    Lines::new(text)
        .map(|line| match parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => op,
            other => panic!("{line:?}: {other:?}"),
        })
        .collect()
}

/// What the kernel would have after these, which puts a new server before the others.
fn carry_out(ops: Vec<Op>) -> Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)> {
    let mut table: Vec<(_, _, Vec<_>)> = Vec::new();
    for op in ops {
        match op {
            Op::CreateService(key, config) => table.push((key, config, Vec::new())),
            Op::CreateServer(key, server, config) => {
                let place = table.iter().position(|(k, ..)| *k == key).unwrap();
                table[place].2.insert(0, (server, config));
            }
            other => panic!("{other:?}"),
        }
    }
    table.sort_by_key(|(key, ..)| *key);
    table
}

fn bare(
    entries: &[ServiceEntry],
) -> Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)> {
    entries
        .iter()
        .map(|entry| {
            let servers = entry.servers.iter().map(|s| (s.key, s.config)).collect();
            (entry.service.key, entry.service.config, servers)
        })
        .collect()
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "-[A-Za-z0-9=]{0,4}",
        sample::select(vec![
            "--set",
            "--start-daemon",
            "master",
            "--sctp-service",
            "--tun-type",
            "gue",
            "--tun-port",
            "--tun-csum",
            "--pe",
            "--timeout",
            "--daemon",
            "--stats",
            "--",
            "-",
            "--=",
            "--weight=",
            "-b",
            ",",
            "sh-port",
            "-A",
            "-a",
            "-e",
            "-E",
            "-L",
            "-R",
            "-t",
            "-r",
            "-f",
            "-6",
            "-p",
            "1.2.3.4:80",
            "[2001:db8::1]:80",
            "[::1",
            "[",
            "]",
            ":",
            "[]:",
            "0x7f.1",
            "1",
            "é",
            "-é",
            "--é",
            "-té",
            "4294967295",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_saved_table_is_restored_as_it_was(mut entries in table(ANY, 5, 4)) {
        entries.sort_by_key(|entry| entry.service.key);
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Restorable, &Numeric).unwrap();
        let restored = carry_out(ops_of(std::str::from_utf8(&text).unwrap()));
        prop_assert_eq!(restored, bare(&entries));
        // Sorted, it has the same servers.
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Sorted, &Numeric).unwrap();
        let mut restored = carry_out(ops_of(std::str::from_utf8(&text).unwrap()));
        let mut entries = bare(&entries);
        for (_, _, servers) in restored.iter_mut().chain(&mut entries) {
            servers.sort_by_key(|(key, _)| *key);
        }
        prop_assert_eq!(restored, entries);
    }

    #[test]
    fn every_operation_is_read_as_it_was_written(entry in entry(ANY, 4), flip in any::<bool>()) {
        let key = entry.service.key;
        let mut ops = vec![
            if flip { Op::SetService(key, entry.service.config) } else { Op::DeleteService(key) },
            if flip { Op::ZeroService(key) } else { Op::Clear },
        ];
        for server in &entry.servers {
            ops.push(match flip {
                true => Op::SetServer(key, server.key, server.config),
                false => Op::DeleteServer(key, server.key),
            });
        }
        let mut text = Vec::new();
        for op in &ops {
            write_op(&mut text, op).unwrap();
        }
        prop_assert_eq!(ops_of(std::str::from_utf8(&text).unwrap()), ops);
    }

    #[test]
    fn no_words_make_it_panic(words in collection::vec(word(), 0..10)) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let _ = parse("ipvsadm", &words, &Numeric);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[ \\t\\r\\n#-]|-A -t 1.2.3.4:80){0,60}") {
        for line in Lines::new(&text) {
            let _ = parse("ipvsadm", &line.words, &Numeric);
        }
    }
}
