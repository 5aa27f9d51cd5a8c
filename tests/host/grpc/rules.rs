//! SaveRules, RestoreRules and GetListing.

use ipvsd::{
    kernel::fake::{Fault, On, command},
    proto::v1::{self as pb, restore_rules_response::Event},
};
use tonic::Code;
use tonic_types::StatusExt;

use super::harness::{Daemon, start_daemon, within_timeout};

async fn restore(
    daemon: &mut Daemon,
    parts: Vec<pb::RestoreRulesRequest>,
) -> Result<Vec<Event>, tonic::Status> {
    let events = daemon
        .client
        .restore_rules(tokio_stream::iter(parts))
        .await?;
    let mut events = events.into_inner();
    let mut received = Vec::new();
    while let Some(event) = within_timeout(events.message()).await? {
        received.extend(event.event);
    }
    Ok(received)
}

fn part(text: &str) -> pb::RestoreRulesRequest {
    pb::RestoreRulesRequest {
        text: text.to_owned(),
        ..Default::default()
    }
}

async fn save(daemon: &mut Daemon) -> String {
    let request = pb::SaveRulesRequest::default();
    let mut parts = daemon
        .client
        .save_rules(request)
        .await
        .unwrap()
        .into_inner();
    let mut text = String::new();
    while let Some(part) = within_timeout(parts.message()).await.unwrap() {
        assert!(part.text.ends_with('\n'));
        text += &part.text;
    }
    text
}

#[tokio::test]
async fn a_text_in_parts_is_restored_and_saved() {
    let mut daemon = start_daemon().await;
    let parts = [
        "-A -t 192.0.2.1:80 -s r",
        "r\n-A -t 192.0.2.1:80\n",
        "-A -f 7\n",
    ];
    let events = restore(&mut daemon, parts.map(part).to_vec())
        .await
        .unwrap();
    let Some(Event::Refused(refused)) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!((refused.line, refused.errno.as_str()), (2, "EEXIST"));
    let end = pb::RestoreSummary {
        commands: 3,
        done: 2,
        refused: 1,
        difference: None,
        reconcile_suspended: Vec::new(),
    };
    assert_eq!(events.last(), Some(&Event::End(end)));
    assert_eq!(
        save(&mut daemon).await,
        "-A -t 192.0.2.1:80 -s rr\n-A -f 7 -s wlc\n"
    );
    let first = pb::RestoreRulesRequest {
        clear: Some(true),
        on_error: Some("stop".to_owned()),
        ..part("-A -f 8\n-A -f 8\n-A -f 9\n")
    };
    restore(&mut daemon, vec![first]).await.unwrap();
    assert_eq!(save(&mut daemon).await, "-A -f 8 -s wlc\n");
}

#[tokio::test]
async fn a_long_text_is_saved_in_parts() {
    let mut daemon = start_daemon().await;
    let mut text = String::new();
    for mark in 1..=20_000 {
        text += &format!("-A -f {mark} -s rr\n");
    }
    restore(&mut daemon, vec![part(&text)]).await.unwrap();
    assert_eq!(save(&mut daemon).await, text);
}

#[tokio::test]
async fn an_invalid_text_changes_nothing() {
    let mut daemon = start_daemon().await;
    let faulty = vec![part("-A -f 1\nfoo\n")];
    let status = restore(&mut daemon, faulty).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("lines[2]"), "{status:?}");
    assert_eq!(save(&mut daemon).await, "");
}

#[tokio::test]
async fn an_option_after_the_first_message_is_refused_and_changes_nothing() {
    let mut daemon = start_daemon().await;
    let late = |option: pb::RestoreRulesRequest| vec![part("-A -t 192.0.2.1:80\n"), option];
    let dry_run = pb::RestoreRulesRequest {
        dry_run: true,
        ..Default::default()
    };
    let clear = pb::RestoreRulesRequest {
        clear: Some(true),
        ..Default::default()
    };
    for (option, field) in [(dry_run.clone(), "dry_run"), (clear, "clear")] {
        let error = restore(&mut daemon, late(option)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let violations = error.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    let repeated = vec![dry_run.clone(), dry_run, part("-A -t 192.0.2.1:80\n")];
    restore(&mut daemon, repeated).await.unwrap();
    assert_eq!(save(&mut daemon).await, "");
}

#[tokio::test]
async fn the_table_is_listed_in_columns() {
    let mut daemon = start_daemon().await;
    let text = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -x 9 -y 4\n";
    restore(&mut daemon, vec![part(text)]).await.unwrap();
    let request = pb::GetListingRequest {
        columns: Some("thresholds".to_owned()),
        ..Default::default()
    };
    let mut parts = daemon
        .client
        .get_listing(request)
        .await
        .unwrap()
        .into_inner();
    let mut text = String::new();
    while let Some(part) = within_timeout(parts.message()).await.unwrap() {
        text += &part.text;
    }
    assert!(text.starts_with("IP Virtual Server version 1.2.1 (size=4096)\nProt "));
    let line = "  -> 192.168.10.1:80              9          4          0          0         \n";
    assert!(text.ends_with(line), "{text}");
    for (columns, order, field) in [("all", "kernel", "columns"), ("rate", "up", "order")] {
        let request = pb::GetListingRequest {
            columns: Some(columns.to_owned()),
            order: Some(order.to_owned()),
            ..Default::default()
        };
        let refused = daemon.client.get_listing(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused:?}");
    }
}

#[tokio::test]
async fn a_replacement_reports_the_difference() {
    let mut daemon = start_daemon().await;
    let text = "-A -f 7 -s rr\n-a -f 7 -r 192.168.10.1 -m\n";
    let replace = |text: &str| pb::RestoreRulesRequest {
        replace: true,
        ..part(text)
    };
    for (text, changed, counts) in [
        (text, true, [2, 0, 0, 0]),
        (text, false, [0, 0, 0, 2]),
        ("-A -f 7 -s sh\n-A -f 8\n", true, [1, 1, 1, 0]),
    ] {
        let events = restore(&mut daemon, vec![replace(text)]).await.unwrap();
        let Some(Event::End(end)) = events.last() else {
            panic!("{events:?}");
        };
        let difference = end.difference.unwrap();
        let pb::RestoreDifference {
            created,
            updated,
            deleted,
            unchanged,
            ..
        } = difference;
        assert_eq!(difference.changed, changed);
        assert_eq!([created, updated, deleted, unchanged], counts);
    }
    let both = pb::RestoreRulesRequest {
        clear: Some(true),
        ..replace("-A -f 7\n")
    };
    let refused = restore(&mut daemon, vec![both]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = restore(&mut daemon, vec![replace("")]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_interrupted_restore_says_how_far_it_came() {
    let mut daemon = start_daemon().await;
    let silent = Fault::before(|kernel| {
        if kernel.services().len() == 100 {
            kernel.faults().clear();
            kernel.faults().always(On::Any, Fault::LostReply);
            kernel.faults().always(On::Lookup, Fault::LostReply);
        }
    });
    let faults = daemon.kernel.faults();
    faults.always(On::Command(command::NEW_SERVICE), silent);
    let text: String = (1..=300).map(|n| format!("-A -f {n}\n")).collect();
    let status = restore(&mut daemon, vec![part(&text)]).await.unwrap_err();
    let executed = daemon.kernel.services().len();
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["commands"], "300");
    assert_eq!(metadata["done"], (executed - 1).to_string());
    assert_eq!(metadata["refused"], "0");
    assert_eq!(metadata["unknown_lines"], executed.to_string());
}
