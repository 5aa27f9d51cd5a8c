//! Entity tags, preconditions, ages.

use http::Method;
use ipvsd::kernel::fake::{Counters, ServiceId, command};

use super::daemon::Daemon;

const SERVICE: &str = "/v1/services/tcp-192.0.2.1-80";

fn traffic(connections: u64) -> Counters {
    Counters {
        connections,
        ..Counters::default()
    }
}

fn service() -> ServiceId {
    ServiceId::tcp("192.0.2.1:80".parse().unwrap())
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so_in_304_without_a_body() {
    let daemon = Daemon::with_service().await;
    for path in [
        SERVICE,
        "/v1/services",
        "/v1/services?include=none",
        "/v1/services/tcp-192.0.2.1-80/servers",
        "/v1/services/tcp-192.0.2.1-80/servers/10.0.0.1-80",
        "/v1/timeouts",
        "/v1/sync-daemons",
        "/v1/settings",
        "/v1/info",
        "/v1/stats",
    ] {
        let read = daemon.get(path).await.expect(200);
        assert_eq!(read.header("cache-control"), "no-cache", "{path}");
        assert_eq!(read.header("age"), "0", "{path}");
        let tag = read.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        for tags in [
            tag.clone(),
            format!("\"x\", {tag}"),
            format!("W/{tag}"),
            "*".to_owned(),
        ] {
            let reply = daemon
                .get_with(path, &[("if-none-match", &tags)])
                .await
                .expect(304);
            assert!(reply.body.is_empty());
            assert_eq!(reply.header("etag"), tag);
        }
        daemon
            .get_with(path, &[("if-none-match", "\"x\"")])
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_read_notices_counters_only_where_it_shows_them() {
    let daemon = Daemon::with_service().await;
    let paths = ["/v1/services", "/v1/services?include=servers,stats"];
    let mut tags = Vec::new();
    for path in paths {
        tags.push(daemon.get(path).await.header("etag").to_owned());
    }
    assert!(daemon.kernel.set_counters(service(), traffic(7)));
    daemon
        .get_with(paths[0], &[("if-none-match", &tags[0])])
        .await
        .expect(304);
    let reply = daemon
        .get_with(paths[1], &[("if-none-match", &tags[1])])
        .await
        .expect(200);
    assert_eq!(reply.json()["services"][0]["stats"]["connections"], 7);
}

#[tokio::test]
async fn a_write_goes_through_though_counters_have_moved_but_not_over_another_write() {
    let daemon = Daemon::with_service().await;
    let tag = daemon
        .get(&format!("{SERVICE}?include=servers,stats"))
        .await;
    let tag = tag.header("etag").to_owned();
    assert!(daemon.kernel.set_counters(service(), traffic(7)));
    let patch = |tag: String, body: &'static str| {
        let daemon = &daemon;
        async move {
            let headers = [("if-match", tag.as_str())];
            daemon.send(Method::PATCH, SERVICE, &headers, body).await
        }
    };
    let reply = patch(tag.clone(), r#"{"scheduler":"lc"}"#)
        .await
        .expect(200);
    let reply_old = patch(tag, r#"{"scheduler":"sed"}"#).await;
    reply_old.problem(412, "REVISION_MISMATCH");

    // The tag of a write's answer, the bare field of its body, and that of a read without servers.
    patch(reply.header("etag").to_owned(), "{}")
        .await
        .expect(200);
    let etag = reply.json()["etag"].as_str().unwrap().to_owned();
    patch(etag.clone(), "{}").await.expect(200);
    patch(format!("\"x\", \"{etag}\""), "{}").await.expect(200);
    let bare = daemon.get(&format!("{SERVICE}?include=none")).await;
    patch(bare.header("etag").to_owned(), "{}")
        .await
        .expect(200);

    patch("\"x\"".to_owned(), "{}")
        .await
        .problem(412, "REVISION_MISMATCH");
    patch(format!("W/\"{etag}\""), "{}")
        .await
        .refuses("if-match");
    patch("*".to_owned(), "{}").await.expect(200);
}

#[tokio::test]
async fn put_can_be_made_to_create_only_or_to_replace_only() {
    let daemon = Daemon::with_service().await;
    let new = "/v1/services/tcp-192.0.2.1-81";
    let put = |path: &'static str, header: &'static str| {
        let daemon = &daemon;
        async move { daemon.send(Method::PUT, path, &[(header, "*")], "{}").await }
    };
    put(new, "if-match").await.problem(412, "REVISION_MISMATCH");
    put(SERVICE, "if-none-match")
        .await
        .problem(412, "REVISION_MISMATCH");
    put(new, "if-none-match").await.expect(201);
    put(new, "if-match").await.expect(200);
    let both = [("if-match", "*"), ("if-none-match", "*")];
    daemon
        .send(Method::PUT, new, &both, "{}")
        .await
        .refuses("if-none-match");
}

#[tokio::test]
async fn a_deletion_takes_a_precondition_too() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVICE}/servers/10.0.0.1-80");
    let tag = daemon.get(&path).await.header("etag").to_owned();
    daemon.patch(&path, r#"{"weight":9}"#).await.expect(200);
    let delete = |tag: String| {
        let (daemon, path) = (&daemon, &path);
        async move {
            daemon
                .send(Method::DELETE, path, &[("if-match", &tag)], "")
                .await
        }
    };
    delete(tag).await.problem(412, "REVISION_MISMATCH");
    let tag = daemon.get(&path).await.header("etag").to_owned();
    delete(tag).await.expect(204);
}

#[tokio::test]
async fn a_precondition_that_would_be_ignored_is_refused() {
    let daemon = Daemon::with_service().await;
    for (method, path, body) in [
        (Method::POST, "/v1/services", "{}"),
        (Method::POST, "/v1/services/tcp-192.0.2.1-80/servers", "{}"),
        (Method::DELETE, "/v1/services?confirm=1", ""),
        (Method::PATCH, "/v1/settings", "{}"),
        (Method::POST, "/v1/zero", ""),
    ] {
        daemon
            .send(method, path, &[("if-match", "*")], body)
            .await
            .refuses("if-match");
    }
    assert_eq!(daemon.kernel.services().len(), 1);
}

#[tokio::test]
async fn reads_are_fresh_unless_the_client_takes_an_older_answer() {
    let daemon = Daemon::with_service().await;
    let sweeps = || daemon.kernel.dumps(command::GET_SERVICE);
    let old = [("cache-control", "max-age=60")];
    daemon.get_with("/v1/services", &old).await.expect(200);
    let before = sweeps();
    let reply = daemon.get_with("/v1/services", &old).await.expect(200);
    assert!(reply.header("age").parse::<u64>().unwrap() < 60);
    assert_eq!(sweeps(), before);
    daemon.get("/v1/services").await.expect(200);
    assert!(sweeps() > before);
}

#[tokio::test]
async fn a_page_that_many_get_is_the_one_that_each_would_get() {
    let daemon = Daemon::with_service().await;
    let path = "/v1/services?include=servers,stats,rates";
    let fresh = daemon.get(path).await.expect(200);
    let old = ("cache-control", "max-age=60");
    for _ in 0..3 {
        let reply = daemon.get_with(path, &[old]).await.expect(200);
        assert_eq!(reply.json(), fresh.json());
        for header in ["etag", "content-type", "content-length"] {
            assert_eq!(reply.header(header), fresh.header(header));
        }
        let same = [old, ("if-none-match", fresh.header("etag"))];
        daemon.get_with(path, &same).await.expect(304);
    }
    // Asked otherwise, another.
    let bare = daemon.get_with("/v1/services?include=none", &[old]).await;
    assert_ne!(bare.expect(200).header("etag"), fresh.header("etag"));
    // An own write shows at once, to them too.
    daemon
        .patch(SERVICE, r#"{"scheduler":"lc"}"#)
        .await
        .expect(200);
    let changed = daemon.get_with(path, &[old]).await.expect(200);
    assert_eq!(changed.json()["services"][0]["scheduler"], "lc");
    assert_ne!(changed.header("etag"), fresh.header("etag"));
}
