//! HTTP/1 and HTTP/2 on the same port, and the identity of the peer.

use http::Version;
use http_body_util::BodyExt;
use tokio::{io::AsyncWriteExt, net::UnixStream};

use super::harness::*;

#[tokio::test]
async fn http1_is_served() {
    let server = start_server(&test_config(), setup().router);
    let response = server.get("/hello").await;
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("hello"),
        "{response}"
    );
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let server = start_server(&test_config(), setup().router);
    let (mut client, _connection) = server.connect_h2().await;
    let response = in_time(client.send_request(h2_get("/hello")))
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(
        in_time(response.collect()).await.unwrap().to_bytes(),
        "hello"
    );
}

#[tokio::test]
async fn a_fragmented_http2_preface_is_detected() {
    let server = start_server(&test_config(), setup().router);
    let mut stream = server.connect().await;
    for piece in [
        &b"P"[..],
        b"RI * HT",
        b"TP/2.0\r\n\r\nSM\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ] {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut head = [0; 9];
    in_time(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head))
        .await
        .unwrap();
    assert_eq!(head[3], 4, "the server's first frame is SETTINGS");
}

#[tokio::test]
async fn several_requests_share_an_http1_connection() {
    let server = start_server(&test_config(), setup().router);
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(get_keep_alive("/hello").as_bytes())
            .await
            .unwrap();
        assert!(
            read_until(&mut stream, "\r\n\r\nhello")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
}

#[tokio::test]
async fn the_peer_of_a_tcp_client_is_its_address() {
    let server = start_server(&test_config(), setup().router);
    let stream = server.connect().await;
    let address = stream.local_addr().unwrap().to_string();
    let response = exchange(stream, &get_close("/peer")).await;
    assert!(response.ends_with(&address), "{response}");
}

#[tokio::test]
async fn the_peer_of_a_unix_client_is_its_credentials_on_both_protocols() {
    let directory = TempDir::new();
    let (path, address) = directory.socket();
    let mut config = test_config();
    config.listen = vec![address];
    let _server = start_server(&config, setup().router);
    let expected = {
        let user = nix::unistd::geteuid();
        let group = nix::unistd::getegid();
        format!("unix:uid={user},gid={group},pid={}", std::process::id())
    };

    let stream = in_time(UnixStream::connect(&path)).await.unwrap();
    let response = exchange(stream, &get_close("/peer")).await;
    assert!(response.ends_with(&expected), "{response}");

    let (mut client, _connection) = handshake(UnixStream::connect(&path).await.unwrap()).await;
    let response = in_time(client.send_request(h2_get("/peer"))).await.unwrap();
    assert_eq!(
        in_time(response.collect()).await.unwrap().to_bytes(),
        expected
    );
}

#[tokio::test]
async fn a_head_above_the_limit_is_rejected_on_both_protocols() {
    let mut config = test_config();
    config.limits.max_header_bytes = 8192;
    let server = start_server(&config, setup().router);
    let long = "x".repeat(9000);
    let request = format!("GET /hello HTTP/1.1\r\nhost: localhost\r\nlong: {long}\r\n\r\n");
    let response = exchange(server.connect().await, &request).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");

    let (mut client, _connection) = server.connect_h2().await;
    let mut request = h2_get("/hello");
    request.headers_mut().insert("long", long.parse().unwrap());
    let response = in_time(client.send_request(request)).await;
    assert!(response.map_or(true, |response| response.status() == 431));
    // The server still accepts connections.
    assert!(server.get("/hello").await.ends_with("hello"));
}
