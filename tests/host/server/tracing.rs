//! Traces: their ids in the log, and their spans in a collector.

use std::io::{Read, Write};

use serde_json::Value;

use super::process::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const SERVICE: &str = r#"{"protocol":"tcp","address":"192.0.2.1","port":80,"scheduler":"rr"}"#;

/// The status of the response to a request over HTTP/1.1, with these headers.
fn send(process: &Process, line: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let length = body.len();
    let mut request = format!(
        "{line} HTTP/1.1\r\nhost: director.example:4787\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let mut stream = process.connect();
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1);
    status
        .unwrap_or_else(|| panic!("{response:?}"))
        .parse()
        .unwrap()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// The span of a request in the log, of the line that has this text.
fn logged(process: &Process, text: &str) -> Value {
    let line: Value = serde_json::from_str(&process.wait_for(text)).unwrap();
    line["span"].clone()
}

#[test]
fn a_traceparent_is_in_the_log_without_an_export() {
    let config = "allowed_hosts = [\"director.example\"]\n[log]\nformat = \"json\"\n";
    let process = Process::start(config);
    let parent = traceparent("00");
    let headers = [("traceparent", parent.as_str()), ("x-request-id", "r-1")];
    assert_eq!(send(&process, "GET /nowhere", &headers, ""), 404);
    let span = logged(&process, "r-1");
    assert_eq!(span["trace_id"], TRACE, "{span}");
    assert_eq!(span.get("span_id"), None, "{span}");
    // Invalid ones are ignored, and so are several.
    let invalid = [("traceparent", "00-1-2-3"), ("x-request-id", "r-2")];
    assert_eq!(send(&process, "GET /nowhere", &invalid, ""), 404);
    let twice = [
        ("traceparent", parent.as_str()),
        ("traceparent", &parent),
        ("x-request-id", "r-3"),
    ];
    assert_eq!(send(&process, "GET /nowhere", &twice, ""), 404);
    for id in ["r-2", "r-3"] {
        let span = logged(&process, id);
        assert_eq!(span.get("trace_id"), None, "{span}");
    }
}

#[cfg(feature = "otel")]
mod exported {
    use std::{
        fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command, time::Instant,
    };

    use hyper_util::rt::TokioIo;
    use ipvsd::proto::v1::{self as pb, ipvs_service_client::IpvsServiceClient};
    use tokio::net::UnixStream;
    use tonic::{
        Code, Request,
        client::Grpc,
        transport::{Channel, Endpoint},
    };
    use tonic_prost::ProstCodec;

    use super::{
        super::{
            harness::{DEADLINE, TempDir},
            tracing_receiver::Receiver,
        },
        *,
    };

    /// Starts the daemon with this in `[tracing]`, and exports soon.
    fn start(receiver: &str, tracing: &str) -> Process {
        start_with(receiver, tracing, |command| command)
    }

    fn start_with(
        receiver: &str,
        tracing: &str,
        with: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Process {
        let config = format!(
            "allowed_hosts = [\"director.example\"]\n[log]\nformat = \"json\"\nfilter = \"debug\"\n\
             [tracing]\nexport = true\nendpoint = \"{receiver}\"\n{tracing}"
        );
        let mut process = Process::spawn(&config, |command| {
            let command = command.env("OTEL_BSP_SCHEDULE_DELAY", "20");
            with(command).stderr(std::process::Stdio::piped())
        });
        process.read_log();
        process.wait_for("listening");
        process
    }

    async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    async fn grpc(process: &Process) -> Channel {
        let path = process.socket.clone();
        let connect = move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        };
        let endpoint = Endpoint::from_static("http://director.example");
        let channel = endpoint.connect_with_connector(tower::service_fn(connect));
        channel.await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_over_http_has_a_span_with_its_parts() {
        let mut receiver = Receiver::start().await;
        let directory = TempDir::new();
        let headers = directory.0.join("headers");
        fs::write(
            &headers,
            "# of the collector\nX-Api-Key: collector-secret\n",
        )
        .unwrap();
        fs::set_permissions(&headers, fs::Permissions::from_mode(0o600)).unwrap();
        let state = directory.0.join("state");
        let process = start_with(
            &receiver.url,
            &format!(
                "protocol = \"grpc\"\nheaders_file = {headers:?}\nresource_attributes = [\"deployment.environment.name=test\"]\n"
            ),
            |command| command.env("IPVSD_STATE_DIR", &state),
        );
        let parent = traceparent("01");
        let process = blocking(move || {
            let headers = [
                ("traceparent", parent.as_str()),
                ("tracestate", "vendor=1"),
                ("x-request-id", "r-1"),
                ("idempotency-key", "key-1"),
                ("user-agent", "test/1"),
                ("cookie", "session=client-secret"),
            ];
            let line = "POST /v1/services?dry_run=false";
            assert_eq!(send(&process, line, &headers, SERVICE), 201);
            process
        })
        .await;

        let server = receiver.span("POST /v1/services").await;
        assert_eq!(
            (server.trace_id().as_str(), server.parent().as_str()),
            (TRACE, CALLER)
        );
        assert_eq!(server.span.kind, 2, "SERVER");
        assert_eq!(server.span.trace_state, "vendor=1");
        assert!(!server.is_failed());
        for (name, value) in [
            ("ipvsd.request_id", "r-1"),
            ("http.request.method", "POST"),
            ("http.route", "/v1/services"),
            ("url.path", "/v1/services"),
            ("http.response.status_code", "201"),
            ("network.protocol.version", "1.1"),
            ("network.transport", "unix"),
            ("server.address", "director.example"),
            ("server.port", "4787"),
            ("user_agent.original", "test/1"),
        ] {
            assert_eq!(server.attribute(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(server.of_resource("service.name").as_deref(), Some("ipvsd"));
        assert_eq!(
            server.of_resource("deployment.environment.name").as_deref(),
            Some("test")
        );
        assert_eq!(
            server.of_resource("service.version").as_deref(),
            Some(env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(server.headers["x-api-key"], "collector-secret");

        for name in ["executor queue", "kernel write", "store commit"] {
            let part = receiver.span(name).await;
            assert_eq!(part.trace_id(), TRACE, "{name}");
            assert_eq!(part.parent(), server.id(), "{name}");
            assert!(part.is_within(&server), "{name}: {part:?} {server:?}");
            assert!(!part.is_failed(), "{name}");
        }
        let write = receiver.span("kernel write").await;
        for (name, value) in [
            ("ipvsd.operation", "create_service"),
            ("ipvsd.commands.done", "1"),
            ("ipvsd.commands.rejected", "0"),
            ("ipvsd.dry_run", "false"),
        ] {
            assert_eq!(write.attribute(name).as_deref(), Some(value), "{name}");
        }

        let span = logged(&process, "\"message\":\"write\"");
        assert_eq!(span["trace_id"], TRACE, "{span}");
        assert_eq!(span["span_id"], server.id().as_str(), "{span}");
        assert_eq!(span["request_id"], "r-1", "{span}");
        // Neither queries nor credentials leave the daemon.
        let all = format!(
            "{:?}",
            receiver
                .all()
                .iter()
                .map(|one| &one.span)
                .collect::<Vec<_>>()
        );
        for secret in ["dry_run=", "client-secret", "collector-secret", "key-1"] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_span_has_the_commands_of_a_transaction_and_its_errors() {
        let mut receiver = Receiver::start().await;
        let process = start(&receiver.url, "protocol = \"grpc\"\n");
        let process = blocking(move || {
            let service = SERVICE.replace('}', r#","servers":[{"address":"10.0.0.1","port":80},{"address":"10.0.0.2","port":80}]}"#);
            assert_eq!(send(&process, "POST /v1/services", &[], &service), 201);
            let missing = "DELETE /v1/services/tcp-192.0.2.9-80";
            assert_eq!(send(&process, missing, &[], ""), 404);
            assert_eq!(send(&process, "GET /v1/services", &[], ""), 200);
            process
        })
        .await;
        let created = receiver.span("kernel write").await;
        assert_eq!(
            created.attribute("ipvsd.commands.done").as_deref(),
            Some("3")
        );
        let root = receiver.span("POST /v1/services").await;
        assert_eq!(root.parent(), "");

        let server = receiver.span("DELETE /v1/services/{service}").await;
        assert!(!server.is_failed(), "404 is no error of the server");
        assert_eq!(
            server.attribute("http.response.status_code").as_deref(),
            Some("404")
        );
        let server_id = server.span.span_id.clone();
        let failed = receiver
            .find("kernel write", |span| span.parent_span_id == server_id)
            .await;
        assert!(failed.is_failed());
        assert_eq!(
            failed.attribute("error.type").as_deref(),
            Some("SERVICE_NOT_FOUND")
        );
        let message = &failed.span.status.as_ref().unwrap().message;
        assert!(message.is_empty(), "{message}");

        let server = receiver.span("GET /v1/services").await;
        let read = receiver.span("kernel read").await;
        assert_eq!(read.parent(), server.id());
        assert!(read.attribute("ipvsd.query").is_some());
        drop(process);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_of_grpc_have_spans_over_http() {
        let mut receiver = Receiver::start().await;
        // The variable has the protocol, because the configuration has none.
        let process = start_with(
            &receiver.url,
            "service_name = \"director-1\"\n",
            |command| command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        );
        let channel = grpc(&process).await;
        let mut client = IpvsServiceClient::new(channel.clone());
        let mut request = Request::new(pb::GetInfoRequest::default());
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", traceparent("01").parse().unwrap());
        metadata.insert("x-request-id", "r-7".parse().unwrap());
        client.get_info(request).await.unwrap();
        let server = receiver.span("ipvsd.v1.IpvsService/GetInfo").await;
        assert_eq!(
            (server.trace_id().as_str(), server.parent().as_str()),
            (TRACE, CALLER)
        );
        for (name, value) in [
            ("ipvsd.request_id", "r-7"),
            ("rpc.system.name", "grpc"),
            ("rpc.method", "ipvsd.v1.IpvsService/GetInfo"),
            ("rpc.response.status_code", "OK"),
            ("network.protocol.version", "2"),
            ("server.address", "director.example"),
        ] {
            assert_eq!(server.attribute(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(
            server.of_resource("service.name").as_deref(),
            Some("director-1")
        );
        assert_eq!(logged(&process, "r-7")["trace_id"], TRACE);

        // What is the client's fault is no error of the span.
        let missing = pb::GetServiceRequest {
            id: "tcp-192.0.2.9-80".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            client.get_service(missing).await.unwrap_err().code(),
            Code::NotFound
        );
        let server = receiver.span("ipvsd.v1.IpvsService/GetService").await;
        assert_eq!(
            server.attribute("rpc.response.status_code").as_deref(),
            Some("NOT_FOUND")
        );
        assert!(!server.is_failed());
        assert_eq!(server.parent(), "");

        // What the server does not have is one.
        let mut any = Grpc::new(channel);
        any.ready().await.unwrap();
        let codec = ProstCodec::<pb::GetInfoRequest, pb::GetInfoRequest>::default();
        let path = "/ipvsd.v1.IpvsService/Unknown".parse().unwrap();
        let request = Request::new(pb::GetInfoRequest::default());
        let error = any.unary(request, path, codec).await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
        let server = receiver.span("_OTHER").await;
        assert!(server.is_failed());
        for (name, value) in [
            ("error.type", "UNIMPLEMENTED"),
            ("rpc.method", "_OTHER"),
            ("rpc.method_original", "/ipvsd.v1.IpvsService/Unknown"),
        ] {
            assert_eq!(server.attribute(name).as_deref(), Some(value), "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_decision_of_the_caller_is_followed() {
        let mut receiver = Receiver::start().await;
        let process = start(
            &receiver.url,
            "protocol = \"http/protobuf\"\nsample_ratio = 0\n",
        );
        let process = blocking(move || {
            for (path, parent) in [
                ("/v1/info", None),
                ("/v1/timeouts", Some(traceparent("00"))),
                ("/v1/services", Some("00-invalid".to_owned())),
                ("/v1/settings", Some(traceparent("01"))),
            ] {
                let headers = parent.as_deref().map(|parent| ("traceparent", parent));
                let headers: Vec<_> = headers.into_iter().collect();
                assert_eq!(send(&process, &format!("GET {path}"), &headers, ""), 200);
            }
            process
        })
        .await;
        receiver.span("GET /v1/settings").await;
        let traces = receiver
            .all()
            .into_iter()
            .map(|received| received.trace_id());
        assert!(traces.into_iter().all(|trace| trace == TRACE));
        // A trace that is not recorded has ids in the log.
        let info = logged(&process, "/v1/info");
        assert_eq!(info["trace_id"].as_str().map(str::len), Some(32), "{info}");
        assert_eq!(logged(&process, "/v1/timeouts")["trace_id"], TRACE);
    }

    /// Sends requests, of which each is answered although nothing is exported; returns what was counted.
    fn overload(process: &Process) -> String {
        for _ in 0..30 {
            let start = Instant::now();
            assert_eq!(send(process, "GET /v1/info", &[], ""), 200);
            assert!(
                start.elapsed() < DEADLINE / 4,
                "a request waited for the collector"
            );
        }
        process.request("GET", "/metrics")
    }

    fn dropped(metrics: &str) -> u64 {
        let name = "ipvsd_trace_spans_total{result=\"dropped\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_collector_delays_nothing_and_what_is_lost_is_counted() {
        for protocol in ["grpc", "http/protobuf"] {
            let mut receiver = Receiver::slow().await;
            let tracing = format!("protocol = {protocol:?}\nmax_queue_spans = 4\n");
            let process = start_with(&receiver.url, &tracing, |command| {
                command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
            });
            let (process, metrics) = blocking(move || {
                let metrics = overload(&process);
                (process, metrics)
            })
            .await;
            assert!(dropped(&metrics) > 0, "{metrics}");
            // When it answers, what has waited arrives.
            receiver.release.add_permits(1000);
            receiver.next().await;
            // One line, although many were lost.
            process.signal("TERM");
            let lines = blocking(move || process.lines_until("draining")).await;
            let about = lines
                .iter()
                .filter(|line| line.contains("spans of traces were lost"));
            assert_eq!(about.count(), 1, "{lines:#?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dead_collector_delays_nothing_and_not_the_end() {
        for protocol in ["grpc", "http/protobuf"] {
            // It accepts connections, in the backlog of the kernel, and never answers.
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", silent.local_addr().unwrap());
            let tracing = format!("protocol = {protocol:?}\nmax_queue_spans = 4\n");
            let mut process = start_with(&url, &tracing, |command| {
                command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
            });
            blocking(move || {
                assert!(dropped(&overload(&process)) > 0);
                process.signal("TERM");
                // DEADLINE is less than the time that a request to the collector may take.
                assert!(process.wait().success());
                process.wait_for("spans of traces were not exported before the end");
            })
            .await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_is_exported_at_the_end() {
        let mut receiver = Receiver::start().await;
        let mut process = start_with(&receiver.url, "", |command| {
            // Longer than the test.
            command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        });
        blocking(move || {
            assert_eq!(send(&process, "GET /v1/info", &[], ""), 200);
            process.signal("TERM");
            assert!(process.wait().success());
        })
        .await;
        receiver.span("GET /v1/info").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_is_reached_over_tls() {
        for protocol in ["grpc", "http/protobuf"] {
            let (mut receiver, certificate) = Receiver::encrypted().await;
            let directory = TempDir::new();
            let ca = directory.0.join("ca.pem");
            fs::write(&ca, certificate).unwrap();
            let process = start(
                &receiver.url,
                &format!("protocol = {protocol:?}\nca = {ca:?}\n"),
            );
            let process = blocking(move || {
                assert_eq!(send(&process, "GET /v1/info", &[], ""), 200);
                process
            })
            .await;
            receiver.span("GET /v1/info").await;
            drop(process);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let directory = TempDir::new();
        let headers = directory.0.join("headers");
        fs::write(&headers, "Authorization: Bearer a\nsecret without a name\n").unwrap();
        fs::set_permissions(&headers, fs::Permissions::from_mode(0o600)).unwrap();
        let check = |config: &str, variable: (&str, &str)| {
            let file = directory.0.join("ipvsd.toml");
            fs::write(&file, format!("[tracing]\nexport = true\n{config}")).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
                .env_clear()
                .env(variable.0, variable.1)
                .args(["--dev", "--kernel", "fake", "--check-config", "--config"])
                .arg(&file)
                .output()
                .unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        let file = format!("headers_file = {headers:?}\n");
        for (config, variable, expected) in [
            (file.as_str(), ("A", "b"), ":2: expected \"Name: value\""),
            (
                "headers_file = \"/nonexistent\"\n",
                ("A", "b"),
                "tracing.headers_file: cannot read /nonexistent",
            ),
            (
                &file,
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://192.0.2.1:4317"),
                "without encryption",
            ),
            (
                "",
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
                "OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL",
            ),
            (
                "",
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
                "expected grpc or http/protobuf",
            ),
            (
                "",
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
                "milliseconds from 1 to 60000",
            ),
            (
                "ca = \"/nonexistent\"\nendpoint = \"https://127.0.0.1:1\"\n",
                ("A", "b"),
                "tracing.ca: ",
            ),
        ] {
            let (status, error) = check(config, variable);
            assert_eq!(status, Some(2), "{config} {error}");
            assert!(error.contains(expected), "{config} {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(check("", ("A", "b")), (Some(0), String::new()));
    }
}
