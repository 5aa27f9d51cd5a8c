//! What the client sends, and problems of other servers.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread::JoinHandle,
    time::Duration,
};

use ipvsd::{
    client::{
        Client, ClientError, ClientOptions, DeleteOptions, Endpoint, Include, ProblemReason,
        RestoreRequest, ServerPatch, ServiceSpec, WriteOptions,
    },
    model::Field,
};

use super::{allow_missing, delete, outcome, server, server_spec, service, setup, write};

/// A server that answers one request with each of `responses`, and returns the heads of the
/// requests.
fn scripted(responses: &'static [&str]) -> (Endpoint, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let respond = |response: &&str| {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            stream.get_mut().write_all(response.as_bytes()).unwrap();
            head
        };
        responses.iter().map(respond).collect()
    });
    (endpoint.parse().unwrap(), server)
}

#[test]
fn reads_may_be_as_old_as_the_client_accepts() {
    let (endpoint, server) = scripted(&[
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nage: 3\r\n\r\n\
          {\"tcp_seconds\":1,\"tcp_fin_seconds\":2,\"udp_seconds\":3}",
    ]);
    let options = ClientOptions {
        max_age: Duration::from_secs(5),
        ..ClientOptions::default()
    };
    let client = Client::with_options(endpoint, options).unwrap();
    let timeouts = client.timeouts().unwrap();
    assert_eq!(timeouts.age, Duration::from_secs(3));
    let heads = server.join().unwrap();
    assert!(heads[0].contains("\r\ncache-control: max-age=5\r\n"));
}

#[test]
fn dry_runs_are_requested_by_query() {
    const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let (endpoint, server) = scripted(&[DONE, DONE]);
    let client = Client::new(endpoint).unwrap();
    let options = WriteOptions {
        dry_run: true,
        ..write()
    };
    client.zero(&options).unwrap();
    let options = DeleteOptions {
        dry_run: true,
        ..allow_missing()
    };
    client.delete_service(service(), &options).unwrap();
    let heads = server.join().unwrap();
    let first_lines: Vec<_> = heads
        .iter()
        .filter_map(|head| head.lines().next())
        .collect();
    assert_eq!(
        first_lines,
        [
            "POST /v1/zero?dry_run=true HTTP/1.1",
            "DELETE /v1/services/tcp-192.0.2.1-80?allow_missing=true&dry_run=true HTTP/1.1",
        ]
    );
}

#[test]
fn dry_runs_change_nothing_and_return_the_resulting_state() {
    let (_daemon, client) = setup();
    let dry_write = WriteOptions {
        dry_run: true,
        ..write()
    };
    let dry_delete = DeleteOptions {
        dry_run: true,
        ..delete()
    };
    let mut spec = ServiceSpec::new(service());
    let planned = client.create_service(&spec, &dry_write).unwrap();
    assert_eq!(outcome(&planned), (true, true));
    assert_eq!(planned.value.service.config, spec.config);
    assert_eq!(client.services(Include::default(), false).unwrap(), []);

    spec.servers = Some(vec![server_spec(1, 1)]);
    let created = client.create_service(&spec, &write()).unwrap();
    let patch = ServerPatch {
        weight: Field::Set(7),
        ..ServerPatch::default()
    };
    let planned = client.update_server(service(), server(1), &patch, &dry_write);
    let planned = planned.unwrap();
    assert_eq!(outcome(&planned), (false, true));
    assert_eq!(planned.value.config.weight, 7);
    client
        .delete_server(service(), server(1), &dry_delete)
        .unwrap();
    client.delete_service(service(), &dry_delete).unwrap();
    assert_eq!(client.clear_services(1, &dry_write).unwrap(), 1);
    let request = RestoreRequest {
        text: b"-A -t 192.0.2.2:80\n".to_vec(),
        dry_run: true,
        ..RestoreRequest::default()
    };
    assert!(client.restore(request).unwrap().all(|event| event.is_ok()));
    let read = client.service(service(), Include::default()).unwrap();
    assert_eq!(read.etag, created.etag);
    assert_eq!(client.services(Include::default(), false).unwrap().len(), 1);
}

#[test]
fn problems_of_other_servers_and_newer_daemons_are_recognised() {
    let (endpoint, _server) = scripted(&[
        "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>",
        "HTTP/1.1 418 New\r\n\r\n{\"reason\":\"NEW\",\"detail\":\"because\",\"other\":1}",
    ]);
    let client = Client::new(endpoint).unwrap();
    let error = client.info().unwrap_err();
    assert!(matches!(error, ClientError::NotIpvsd { status, .. } if status == 502));
    let error = client.info().unwrap_err();
    assert_eq!(
        (error.reason(), error.to_string()),
        (None, "because".to_owned())
    );
    let problem = error.problem().unwrap();
    assert_eq!(problem.reason, ProblemReason::Unknown("NEW".to_owned()));
}
