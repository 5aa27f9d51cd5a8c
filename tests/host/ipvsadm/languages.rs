//! Command lines that the original refuses, and those that it takes.

use ipvsd::ipvsadm::{Lines, parse};

use super::transcript::{Known, scenario, words};

/// Refusals that come from the kernel rather than from the command line.
const FROM_THE_KERNEL: [i64; 2] = [255, 1];

#[test]
fn every_refused_command_line_is_refused_alike() {
    let known = Known::new();
    let mut refused = 0;
    let mut taken = 0;
    for name in [
        "errors",
        "empty-table",
        "schedulers",
        "services-matrix",
        "names",
        "traffic-config",
        "daemons",
        "timeouts",
    ] {
        for step in scenario(name) {
            let words = words(&step.cmd);
            // A refused line of a restore is not the command line.
            let restores = words.iter().any(|word| word == "-R");
            if step.state.is_some() || words[0] != "ipvsadm" || restores {
                continue;
            }
            let words: Vec<_> = words.iter().skip(1).map(String::as_str).collect();
            if step.rc == 139 {
                // Deliberate difference 7: what crashes the original is refused.
                let usage = parse("ipvsadm", &words, &known).unwrap_err();
                assert_eq!(usage.exit_code(), 2, "{}", step.cmd);
                continue;
            }
            match parse("ipvsadm", &words, &known) {
                Err(usage) => {
                    assert_eq!(format!("{usage}\n"), step.err, "{name}: {}", step.cmd);
                    assert_eq!(
                        i64::from(usage.exit_code()),
                        step.rc,
                        "{name}: {}",
                        step.cmd
                    );
                    refused += 1;
                }
                Ok(_) => {
                    let fine = step.rc == 0 || FROM_THE_KERNEL.contains(&step.rc);
                    assert!(fine, "{name}: {} is taken, not {}", step.cmd, step.err);
                    let of_grammar = step.err.starts_with("Try ") || step.err.contains("option");
                    assert!(!of_grammar, "{name}: {} is taken", step.cmd);
                    taken += 1;
                }
            }
        }
    }
    println!("refused {refused}, taken {taken}");
    assert!(refused >= 75 && taken >= 200, "{refused} {taken}");
}

#[test]
fn the_text_of_a_restore_is_divided_alike() {
    let read = |text: &str| {
        let lines: Vec<_> = Lines::new(text).collect();
        lines
            .iter()
            .map(|line| format!("{}:{}", line.number, line.words.join("|")))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(read(""), "");
    assert_eq!(read("\n \n\t\n-C\n"), "4:-C");
    assert_eq!(read("-A -t x\r\n-C\r\n"), "1:-A|-t|x 2:-C");
    assert_eq!(read("ipvsadm -A ipvsadm -t"), "1:-A|-t");
    assert_eq!(read("-A\n-C "), "1:-A 2:-C");
    assert_eq!(read("-A\n-C \t"), "1:-A", "two blanks at the end drop it");
    assert_eq!(read("-A\r-C\n"), "1:-A|-C");
    assert_eq!(read("# x\n"), "1:#|x");
    let long = "r".repeat(5000) + "\n";
    let line = Lines::new(&long).next().unwrap();
    assert_eq!(
        line.words.iter().map(|word| word.len()).collect::<Vec<_>>(),
        [4096, 904]
    );
    let bare: Vec<_> = Lines::without_comments("# x\n-C\n # y\n").collect();
    assert_eq!(bare[0].number, 2);
    assert_eq!(bare[1].words, ["#", "y"]);
}
