//! Properties of the parser and printer for random tables, words and texts.

use ipvsd::{
    ipvsadm::{CommandLine, Lines, Numeric, Order, parse, write_op, write_rules},
    model::{Op, ServerConfig, ServerKey, ServiceConfig, ServiceEntry, ServiceKey},
};
use proptest::{collection, prelude::*, sample};

use crate::common::tables::{ANY, entry, table};

fn parse_ops(text: &str) -> Vec<Op> {
    Lines::new(text)
        .map(|line| match parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => op,
            other => panic!("{line:?}: {other:?}"),
        })
        .collect()
}

/// The table after these operations. The kernel inserts a new server before the others.
fn apply(ops: Vec<Op>) -> Vec<(ServiceKey, ServiceConfig, Vec<(ServerKey, ServerConfig)>)> {
    let mut table: Vec<(_, _, Vec<_>)> = Vec::new();
    for op in ops {
        match op {
            Op::CreateService(key, config, _) => table.push((key, config, Vec::new())),
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

fn configuration(
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
    fn a_saved_table_is_restored_unchanged(mut entries in table(ANY, 5, 4)) {
        entries.sort_by_key(|entry| entry.service.key);
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Restorable, &Numeric).unwrap();
        let restored = apply(parse_ops(std::str::from_utf8(&text).unwrap()));
        prop_assert_eq!(restored, configuration(&entries));
        // In sorted order, the servers are the same.
        let mut text = Vec::new();
        write_rules(&mut text, &entries, Order::Sorted, &Numeric).unwrap();
        let mut restored = apply(parse_ops(std::str::from_utf8(&text).unwrap()));
        let mut entries = configuration(&entries);
        for (_, _, servers) in restored.iter_mut().chain(&mut entries) {
            servers.sort_by_key(|(key, _)| *key);
        }
        prop_assert_eq!(restored, entries);
    }

    #[test]
    fn a_printed_operation_is_parsed_unchanged(entry in entry(ANY, 4), flip in any::<bool>()) {
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
        prop_assert_eq!(parse_ops(std::str::from_utf8(&text).unwrap()), ops);
    }

    #[test]
    fn parsing_random_words_does_not_panic(words in collection::vec(word(), 0..10)) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let _ = parse("ipvsadm", &words, &Numeric);
    }

    #[test]
    fn parsing_random_text_does_not_panic(text in "(\\PC|[ \\t\\r\\n#-]|-A -t 1.2.3.4:80){0,60}") {
        for line in Lines::new(&text) {
            let _ = parse("ipvsadm", &line.words, &Numeric);
        }
    }
}
