//! Parses the recorded command lines. Errors and exit codes must be those of ipvsadm.

use ipvsd::ipvsadm::{Lines, parse};

use super::transcript::{RecordedNames, scenario, words};

/// Exit codes of command lines that the kernel rejects.
const KERNEL_ERRORS: [i64; 2] = [255, 1];

#[test]
fn recorded_command_lines_are_rejected_as_by_ipvsadm() {
    let known = RecordedNames::new();
    let mut rejected = 0;
    let mut accepted = 0;
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
            // The errors of a restore are not those of its command line.
            let is_restore = words.iter().any(|word| word == "-R");
            if step.state.is_some() || words[0] != "ipvsadm" || is_restore {
                continue;
            }
            let words: Vec<_> = words.iter().skip(1).map(String::as_str).collect();
            if step.rc == 139 {
                // Documented difference 7: ipvsadm crashes.
                let error = parse("ipvsadm", &words, &known).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{}", step.cmd);
                continue;
            }
            match parse("ipvsadm", &words, &known) {
                Err(error) => {
                    assert_eq!(format!("{error}\n"), step.err, "{name}: {}", step.cmd);
                    assert_eq!(
                        i64::from(error.exit_code()),
                        step.rc,
                        "{name}: {}",
                        step.cmd
                    );
                    rejected += 1;
                }
                Ok(_) => {
                    let valid = step.rc == 0 || KERNEL_ERRORS.contains(&step.rc);
                    assert!(valid, "{name}: {}: expected {}", step.cmd, step.err);
                    let is_parse_error =
                        step.err.starts_with("Try ") || step.err.contains("option");
                    assert!(
                        !is_parse_error,
                        "{name}: {}: expected {}",
                        step.cmd, step.err
                    );
                    accepted += 1;
                }
            }
        }
    }
    println!("rejected {rejected}, accepted {accepted}");
    assert!(rejected >= 75 && accepted >= 200, "{rejected} {accepted}");
}

#[test]
fn the_input_of_restore_is_split_as_by_ipvsadm() {
    let split = |text: &str| {
        let lines: Vec<_> = Lines::new(text).collect();
        lines
            .iter()
            .map(|line| format!("{}:{}", line.number, line.words.join("|")))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(split(""), "");
    assert_eq!(split("\n \n\t\n-C\n"), "4:-C");
    assert_eq!(split("-A -t x\r\n-C\r\n"), "1:-A|-t|x 2:-C");
    assert_eq!(split("ipvsadm -A ipvsadm -t"), "1:-A|-t");
    assert_eq!(split("-A\n-C "), "1:-A 2:-C");
    assert_eq!(
        split("-A\n-C \t"),
        "1:-A",
        "two blanks at the end drop the line"
    );
    assert_eq!(split("-A\r-C\n"), "1:-A|-C");
    assert_eq!(split("# x\n"), "1:#|x");
    let long = "r".repeat(5000) + "\n";
    let line = Lines::new(&long).next().unwrap();
    assert_eq!(
        line.words.iter().map(|word| word.len()).collect::<Vec<_>>(),
        [4096, 904]
    );
    let long = "-Z ".repeat(100_000) + "\n";
    let line = Lines::new(&long).next().unwrap();
    assert_eq!(line.words.len(), 1024, "memory of a line is bounded");
    let lines: Vec<_> = Lines::without_comments("# x\n-C\n # y\n").collect();
    assert_eq!(lines[0].number, 2);
    assert_eq!(lines[1].words, ["#", "y"]);
}
