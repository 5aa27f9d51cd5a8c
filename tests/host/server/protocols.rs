//! HTTP/1 and HTTP/2 on the same port, and who is asking.

use http::Version;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::harness::*;

#[tokio::test]
async fn http1_is_answered() {
    let server = start(&patient(), stage().router);
    let answer = server.get("/hello").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_answered_on_the_same_port() {
    let server = start(&patient(), stage().router);
    let (mut client, _connection) = server.connect_h2().await;
    let answer = soon(client.send_request(h2_get("/hello"))).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(soon(answer.collect()).await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn an_http2_preface_in_pieces_is_understood() {
    let server = start(&patient(), stage().router);
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
    soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head))
        .await
        .unwrap();
    assert_eq!(head[3], 4, "the server's first frame is SETTINGS");
}

#[tokio::test]
async fn several_requests_share_an_http1_connection() {
    let server = start(&patient(), stage().router);
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(get_and_keep("/hello").as_bytes())
            .await
            .unwrap();
        assert!(
            listen_for(&mut stream, "\r\n\r\nhello")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
}

#[tokio::test]
async fn a_tcp_client_is_known_by_its_address() {
    let server = start(&patient(), stage().router);
    let stream = server.connect().await;
    let address = stream.local_addr().unwrap().to_string();
    let answer = converse(stream, &get_and_close("/peer")).await;
    assert!(answer.ends_with(&address), "{answer}");
}

#[tokio::test]
async fn a_unix_client_is_known_by_its_credentials_on_both_protocols() {
    let directory = Directory::new();
    let (path, address) = directory.socket();
    let mut config = patient();
    config.listen = vec![address];
    let _server = start(&config, stage().router);
    let ours = {
        let user = nix::unistd::geteuid();
        let group = nix::unistd::getegid();
        format!("unix:uid={user},gid={group},pid={}", std::process::id())
    };

    let stream = soon(UnixStream::connect(&path)).await.unwrap();
    let answer = converse(stream, &get_and_close("/peer")).await;
    assert!(answer.ends_with(&ours), "{answer}");

    let (mut client, _connection) = handshake(UnixStream::connect(&path).await.unwrap()).await;
    let answer = soon(client.send_request(h2_get("/peer"))).await.unwrap();
    assert_eq!(soon(answer.collect()).await.unwrap().to_bytes(), ours);
}

#[tokio::test]
async fn a_head_above_the_limit_is_refused_on_both_protocols() {
    let mut config = patient();
    config.limits.max_header_bytes = 8192;
    let server = start(&config, stage().router);
    let long = "x".repeat(9000);
    let request = format!("GET /hello HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n");
    let answer = converse(server.connect().await, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");

    let (mut client, _connection) = server.connect_h2().await;
    let mut request = h2_get("/hello");
    request.headers_mut().insert("long", long.parse().unwrap());
    let answer = soon(client.send_request(request)).await;
    assert!(answer.map_or(true, |answer| answer.status() == 431));
    // The connection as such survives, or a new one works: the server does.
    assert!(server.get("/hello").await.ends_with("hello"));
}
