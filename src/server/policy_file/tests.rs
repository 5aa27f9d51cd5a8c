use super::{super::input_file::tests::TempPath, *};

fn fault(path: &TempPath) -> String {
    let error = load(Some(&path.0)).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn a_policy_that_is_no_regular_file_is_refused() {
    let path = TempPath::new();
    path.make_fifo();
    let expected = format!(
        "cannot read the policy {}: not a regular file",
        path.0.display()
    );
    assert_eq!(fault(&path), expected);
}

#[test]
fn a_policy_that_others_can_write_is_refused() {
    let path = TempPath::new();
    path.write("");
    load(Some(&path.0)).unwrap();
    path.set_mode(0o664);
    let shown = path.0.display();
    let error = fault(&path);
    assert!(error.contains(&format!("chmod go-w {shown}")), "{error}");
    path.set_mode(0o644);
    if path.give_away() {
        let error = fault(&path);
        assert!(error.contains(&format!("chown root {shown}")), "{error}");
    }
}

#[test]
fn overflow_ids_are_those_of_the_system() {
    let shown = fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap();
    assert_eq!(shown.trim(), SystemAccounts.overflow_user().to_string());
    assert_eq!(overflow_id("/nonexistent"), 65534);
}
