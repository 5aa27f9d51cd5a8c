//! Small files: settings.

use super::*;

fn path(name: &str) -> String {
    format!("sys/net/ipv4/vs/{name}")
}

fn file(name: &str, text: &str) -> (String, String) {
    (path(name), text.to_owned())
}

#[tokio::test]
async fn files_are_read_as_they_are_and_missing_ones_are_none() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let paths = vec![
        path("sync_threshold"),
        path("nonsense"),
        "net/ip_vs_stats".to_owned(),
    ];
    let texts = executor
        .read_files(paths, Duration::ZERO, later())
        .await
        .unwrap();
    assert_eq!(texts[0].as_deref(), Some("3\t50\n"));
    assert_eq!(texts[1], None);
    assert!(texts[2].as_deref().unwrap().contains("Total"));
}

#[tokio::test]
async fn what_files_said_is_told_to_those_who_accept_it_until_an_own_write() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let read = async |max_age| {
        let paths = vec![path("drop_entry")];
        let texts = executor.read_files(paths, max_age, later()).await.unwrap();
        texts.into_iter().flatten().next().unwrap()
    };
    assert_eq!(read(LONG).await, "0\n");
    kernel.set_file(&path("drop_entry"), "1\n");
    assert_eq!(read(LONG).await, "0\n");
    assert_eq!(read(Duration::ZERO).await, "1\n");
    assert_eq!(read(LONG).await, "0\n");
    let files = vec![file("drop_packet", "1")];
    executor.write_files(files, later()).await.unwrap();
    assert_eq!(read(LONG).await, "1\n");
}

#[tokio::test]
async fn files_before_one_that_is_refused_get_back_what_they_had() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    executor
        .write_files(vec![file("drop_entry", "3")], later())
        .await
        .unwrap();
    let files = vec![
        file("drop_entry", "1"),
        file("sync_threshold", "7 70"),
        // No power of 2.
        file("sync_ports", "3"),
        file("drop_packet", "1"),
    ];
    let error = executor.write_files(files, later()).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidArgument);
    assert_eq!(error.errno, Some(Errno::EINVAL));
    assert_eq!(error.violations[0].field, "sync_ports");
    let paths = ["drop_entry", "sync_threshold", "sync_ports", "drop_packet"].map(path);
    let texts = executor
        .read_files(paths.to_vec(), Duration::ZERO, later())
        .await
        .unwrap();
    let texts: Vec<_> = texts.into_iter().flatten().collect();
    assert_eq!(texts, ["3\n", "3\t50\n", "1\n", "0\n"]);
}

#[tokio::test]
async fn a_setting_that_the_kernel_does_not_have_is_named() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let files = vec![file("est_nice", "1")];
    let error = executor.write_files(files, later()).await.unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedByKernel);
    assert_eq!(error.violations[0].field, "est_nice");
}
