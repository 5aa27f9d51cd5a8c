//! `/v1/rules` and `/v1/listing`.

use http::{Method, StatusCode};
use ipvsd::{
    http::HttpOptions,
    kernel::fake::{Fault, On, ServiceId, command},
    server::Limits,
};

use super::daemon::{Daemon, Response};

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wlc -p 60
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 2
";

async fn restore(daemon: &Daemon, query: &str, text: &str) -> Response {
    let path = format!("/v1/rules{query}");
    let headers = [("content-type", "text/plain"), ("x-request-id", "1")];
    daemon.request(Method::POST, &path, &headers, text).await
}

async fn replace(daemon: &Daemon, query: &str, text: &str) -> (StatusCode, serde_json::Value) {
    let path = format!("/v1/rules{query}");
    let headers = [("content-type", "text/plain"), ("x-request-id", "1")];
    let response = daemon.request(Method::PUT, &path, &headers, text).await;
    (
        response.status,
        serde_json::from_slice(&response.body).unwrap(),
    )
}

async fn table(daemon: &Daemon) -> String {
    let response = daemon.get("/v1/rules").await;
    assert_eq!(
        response.headers["content-type"],
        "text/plain; charset=utf-8"
    );
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[tokio::test]
async fn restored_rules_are_saved_sorted_or_restorable() {
    let daemon = Daemon::start().await;
    let response = restore(&daemon, "", TABLE).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&response.body).unwrap(),
        serde_json::json!({"commands": 3, "done": 3, "refused": 0})
    );
    let sorted = table(&daemon).await;
    assert!(sorted.find("10.1:80").unwrap() < sorted.find("10.2:80").unwrap());
    let text = daemon.get("/v1/rules?order=restorable").await.body;
    assert_eq!(text, TABLE);
    let response = restore(&daemon, "?clear=true", TABLE).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(table(&daemon).await, sorted);
    // Not modified since.
    let tag = daemon.get("/v1/rules").await.headers["etag"].clone();
    let headers = [("if-none-match", tag.to_str().unwrap())];
    let response = daemon.get_with_headers("/v1/rules", &headers).await;
    assert_eq!(response.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_invalid_text_changes_nothing_and_every_invalid_line_is_reported() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let before = table(&daemon).await;
    let response = restore(
        &daemon,
        "?clear=true",
        "-C\n-A -t vip:80\nfoo\n-L\n-A -t 1.2.3.4\n",
    )
    .await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|e| e["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["lines[2]", "lines[3]", "lines[4]", "lines[5]"]);
    let response = restore(&daemon, "?dry_run=true", "-C\n").await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(table(&daemon).await, before);
}

#[tokio::test]
async fn commands_refused_by_the_kernel_are_reported_and_on_error_decides_about_the_rest() {
    let daemon = Daemon::start().await;
    let text = "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80\n";
    let response = restore(&daemon, "", text).await;
    assert_eq!(response.status, StatusCode::CONFLICT);
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["reason"], "SERVICE_EXISTS");
    assert_eq!(problem["errno"], "EEXIST");
    assert_eq!(problem["errors"][0]["field"], "lines[2]");
    assert_eq!(table(&daemon).await.lines().count(), 2);
    let response = restore(&daemon, "?clear=true&on_error=stop", text).await;
    assert_eq!(response.status, StatusCode::CONFLICT);
    assert_eq!(table(&daemon).await.lines().count(), 1);
    // As a stream.
    let headers = [
        ("content-type", "text/plain"),
        ("x-request-id", "1"),
        ("accept", "application/x-ndjson"),
    ];
    let response = daemon
        .request(Method::POST, "/v1/rules", &headers, text)
        .await;
    assert_eq!(response.status, StatusCode::OK);
    let events = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(
        events.contains(r#"{"event":"refused","line":1,"#),
        "{events}"
    );
    assert!(events.ends_with("{\"event\":\"end\",\"commands\":3,\"done\":1,\"refused\":2}\n"));
}

#[tokio::test]
async fn texts_have_a_limit_a_media_type_and_the_same_origin() {
    let daemon = Daemon::with(HttpOptions {
        max_body_bytes: 10,
        max_rules_bytes: 200,
        ..Limits::default().http_options()
    })
    .await;
    assert_eq!(restore(&daemon, "", TABLE).await.status, StatusCode::OK);
    let long = TABLE.repeat(3);
    let response = restore(&daemon, "", &long).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    let response = daemon.post("/v1/rules", "-C\n").await;
    assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let from = |origin: &'static str| {
        [
            ("content-type", "text/plain"),
            ("x-request-id", "1"),
            ("origin", origin),
        ]
    };
    let foreign = from("http://example.com");
    let response = daemon
        .request(Method::POST, "/v1/rules", &foreign, "-C\n")
        .await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    for query in ["?order=x", "?clear=maybe", "?on_error=x", "?nosuch=1"] {
        let response = restore(&daemon, query, "-C\n").await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(table(&daemon).await.lines().count(), 3);
}

#[tokio::test]
async fn the_listing_has_the_columns_of_ipvsadm() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let response = daemon.get("/v1/listing").await;
    assert_eq!(
        response.headers["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(
        response.body,
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  192.0.2.1:80 wlc persistent 60\n  \
         -> 192.168.10.1:80              Masq    2      0          0         \n  \
         -> 192.168.10.2:80              Masq    1      0          0         \n"
    );
    let response = daemon
        .get("/v1/listing?columns=thresholds&order=kernel&exact=true")
        .await;
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    let line = "  -> 192.168.10.2:80              9          4          0          0         ";
    assert!(text.lines().any(|other| other == line), "{text}");
    // The kernel lists the newest server first.
    assert!(text.find("10.1:80").unwrap() < text.find("10.2:80").unwrap());
    for bad in ["columns=all", "order=up", "exact=2", "sort=id"] {
        let response = daemon.get(&format!("/v1/listing?{bad}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn the_saved_text_of_a_table_replaces_it_without_a_change() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    daemon.kernel.reset_counts();
    for order in ["sorted", "restorable"] {
        let text = daemon.get(&format!("/v1/rules?order={order}")).await.body;
        let (status, answer) = replace(&daemon, "", std::str::from_utf8(&text).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            answer,
            serde_json::json!({
                "commands": 0, "done": 0, "refused": 0,
                "changed": false, "created": 0, "updated": 0, "deleted": 0, "unchanged": 3,
            })
        );
    }
    assert_eq!(changes(&daemon), 0);
}

/// The commands since the counts were reset that change the table.
fn changes(daemon: &Daemon) -> u64 {
    [
        command::NEW_SERVICE,
        command::SET_SERVICE,
        command::DEL_SERVICE,
        command::NEW_DEST,
        command::SET_DEST,
        command::DEL_DEST,
        command::FLUSH,
    ]
    .iter()
    .map(|number| daemon.kernel.commands(*number))
    .sum()
}

#[tokio::test]
async fn a_replacement_executes_only_the_difference() {
    let daemon = Daemon::start().await;
    restore(
        &daemon,
        "",
        &format!("{TABLE}-A -f 7 -s rr\n-a -f 7 -r 192.168.10.9 -m\n"),
    )
    .await;
    let wanted = "\
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 1
-A -t 192.0.2.2:80 -s wlc
-a -t 192.0.2.1:80 -r 192.168.10.4:80 -m -w 1
-e -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 5
-d -t 192.0.2.1:80 -r 192.168.10.4:80
";
    let before = table(&daemon).await;
    let (status, planned) = replace(&daemon, "?dry_run=true", wanted).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(table(&daemon).await, before, "a dry run changes nothing");
    daemon.kernel.reset_counts();
    let (status, answer) = replace(&daemon, "", wanted).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        serde_json::json!({
            "commands": 5, "done": 5, "refused": 0,
            "changed": true, "created": 2, "updated": 1, "deleted": 3, "unchanged": 1,
        })
    );
    for count in ["commands", "created", "updated", "deleted", "unchanged"] {
        assert_eq!(planned[count], answer[count], "{count}");
    }
    assert_eq!(changes(&daemon), 5);
    assert_eq!(
        table(&daemon).await,
        "-A -t 192.0.2.1:80 -s rr\n\
         -a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 1 -x 9 -y 4\n\
         -a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 5\n\
         -A -t 192.0.2.2:80 -s wlc\n"
    );
}

#[tokio::test]
async fn a_replacement_that_the_kernel_refuses_deletes_nothing() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let (status, problem) = replace(&daemon, "", "-A -t 192.0.2.9:80 -s nosuch\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["field"], "lines[1]");
    let counts = ["commands", "done", "refused"].map(|name| problem[name].as_u64().unwrap());
    assert_eq!(counts, [2, 0, 1]);
    assert_eq!(table(&daemon).await.lines().count(), 3);
}

#[tokio::test]
async fn a_replacement_takes_only_commands_that_make_a_table() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let text = "-A -f 7\n-Z\n--set 1 2 3\n-A -f 7\n-a -f 8 -r 10.0.0.1 -m\n-D -f 9\n\
                --start-daemon master\n-e -f 7 -r 10.0.0.1 -m\n";
    let (status, problem) = replace(&daemon, "", text).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let errors = problem["errors"].as_array().unwrap().iter();
    let fields: Vec<_> = errors
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [2, 3, 4, 5, 6, 7, 8].map(|line| format!("lines[{line}]"))
    );
    assert_eq!(table(&daemon).await.lines().count(), 3);
}

#[tokio::test]
async fn a_text_without_commands_clears_no_table() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    for text in ["", "\n \n"] {
        let (status, problem) = replace(&daemon, "", text).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        let response = restore(&daemon, "?clear=true", text).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST);
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("DELETE /v1/services?confirm="), "{hint}");
        assert!(hint.contains("ipvsctl -C"), "{hint}");
    }
    assert_eq!(table(&daemon).await.lines().count(), 3);
}

#[tokio::test]
async fn a_replacement_makes_up_for_what_another_program_does_meanwhile() {
    let daemon = Daemon::start().await;
    restore(&daemon, "", TABLE).await;
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    let delete = Fault::before(move |kernel| assert!(kernel.remove_service(id)));
    let faults = daemon.kernel.faults();
    faults.once(On::Command(command::SET_SERVICE), delete);
    let text = TABLE.replace("wlc -p 60", "rr");
    let (status, answer) = replace(&daemon, "", &text).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(table(&daemon).await.lines().count(), 3);
    assert!(
        table(&daemon)
            .await
            .starts_with("-A -t 192.0.2.1:80 -s rr\n")
    );
}

#[tokio::test]
async fn an_interrupted_restore_says_how_far_it_came_and_advises_no_plain_retry() {
    for ndjson in [false, true] {
        let daemon = Daemon::start().await;
        let silent = Fault::before(|kernel| {
            if kernel.services().len() == 1500 {
                kernel.faults().clear();
                kernel.faults().always(On::Any, Fault::LostReply);
                kernel.faults().always(On::Lookup, Fault::LostReply);
            }
        });
        let faults = daemon.kernel.faults();
        faults.always(On::Command(command::NEW_SERVICE), silent);
        let text: String = (1..=3000).map(|n| format!("-A -f {n}\n")).collect();
        let accept = if ndjson {
            "application/x-ndjson"
        } else {
            "*/*"
        };
        let headers = [
            ("content-type", "text/plain"),
            ("x-request-id", "1"),
            ("accept", accept),
        ];
        let response = daemon
            .request(Method::POST, "/v1/rules", &headers, &text)
            .await;
        let executed = daemon.kernel.services().len();
        assert_eq!(response.status.is_success(), ndjson);
        assert!(!response.headers.contains_key("retry-after"));
        let body = String::from_utf8(response.body.to_vec()).unwrap();
        let last: serde_json::Value = serde_json::from_str(body.lines().last().unwrap()).unwrap();
        assert_eq!(last["commands"], 3000, "{body}");
        assert_eq!(last["done"], executed - 1);
        assert_eq!(last["refused"], 0);
        assert_eq!(last["unknown_lines"], serde_json::json!([executed]));
        let hint = last["hint"].as_str().unwrap();
        assert!(
            hint.contains("read the table") && hint.contains("do not repeat"),
            "{hint}"
        );
    }
}

#[tokio::test]
async fn one_refused_command_is_was_and_two_were() {
    let daemon = Daemon::start().await;
    let response = restore(&daemon, "", "-A -f 1\n-A -f 1\n").await;
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    let expected = "1 of 2 commands was executed, 1 was refused; first error: ";
    assert!(detail.starts_with(expected), "{detail}");
}

#[tokio::test]
async fn a_weight_that_the_kernel_accepts_is_saved_and_restored() {
    let daemon = Daemon::start().await;
    let text = "-A -t 192.0.2.1:80 -s wlc\n\
                -a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 100000\n\
                -a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 2147483647\n";
    assert_eq!(restore(&daemon, "", text).await.status, StatusCode::OK);
    assert_eq!(table(&daemon).await, text);
    assert_eq!(
        restore(&daemon, "?clear=true", text).await.status,
        StatusCode::OK
    );
    let (status, answer) = replace(&daemon, "", text).await;
    assert_eq!(
        (status, &answer["changed"]),
        (StatusCode::OK, &false.into())
    );
    let body = daemon.get("/v1/services/tcp-192.0.2.1-80").await.body;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let response = daemon.put("/v1/services/tcp-192.0.2.1-80", &body).await;
    assert_eq!(response.status, StatusCode::OK);
    let heavy = text.replace("2147483647", "2147483648");
    let response = restore(&daemon, "?clear=true", &heavy).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert_eq!(table(&daemon).await, text);
}
