//! Entity tags, preconditions, and the age of responses.

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
async fn if_none_match_with_the_current_etag_yields_304_without_a_body() {
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
            let response = daemon
                .get_with_headers(path, &[("if-none-match", &tags)])
                .await
                .expect(304);
            assert!(response.body.is_empty());
            assert_eq!(response.header("etag"), tag);
        }
        daemon
            .get_with_headers(path, &[("if-none-match", "\"x\"")])
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn the_etag_of_a_list_covers_counters_only_if_it_contains_them() {
    let daemon = Daemon::with_service().await;
    let paths = ["/v1/services", "/v1/services?include=servers,stats"];
    let mut tags = Vec::new();
    for path in paths {
        tags.push(daemon.get(path).await.header("etag").to_owned());
    }
    assert!(daemon.kernel.set_counters(service(), traffic(7)));
    daemon
        .get_with_headers(paths[0], &[("if-none-match", &tags[0])])
        .await
        .expect(304);
    let response = daemon
        .get_with_headers(paths[1], &[("if-none-match", &tags[1])])
        .await
        .expect(200);
    assert_eq!(response.json()["services"][0]["stats"]["connections"], 7);
}

#[tokio::test]
async fn if_match_ignores_counters_and_detects_other_writes() {
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
            daemon.request(Method::PATCH, SERVICE, &headers, body).await
        }
    };
    let response = patch(tag.clone(), r#"{"scheduler":"lc"}"#)
        .await
        .expect(200);
    let response_old = patch(tag, r#"{"scheduler":"sed"}"#).await;
    response_old.problem(412, "REVISION_MISMATCH");

    // The tag of a write's response, the field `etag` of its body, the tag of a read without servers.
    patch(response.header("etag").to_owned(), "{}")
        .await
        .expect(200);
    let etag = response.json()["etag"].as_str().unwrap().to_owned();
    patch(etag.clone(), "{}").await.expect(200);
    patch(format!("\"x\", \"{etag}\""), "{}").await.expect(200);
    let bare = daemon.get(&format!("{SERVICE}?include=none")).await;
    patch(bare.header("etag").to_owned(), "{}")
        .await
        .expect(200);

    // The tag of another server, and that of a list.
    let list = daemon.get("/v1/services").await.header("etag").to_owned();
    for foreign in ["\"x\"".to_owned(), list] {
        let problem = patch(foreign, "{}").await.problem(412, "REVISION_MISMATCH");
        assert_eq!(problem["errors"][0]["field"], "if-match");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("not an ETag issued by this server"),
            "{detail}"
        );
        assert!(
            problem["hint"]
                .as_str()
                .unwrap()
                .contains("read the resource")
        );
    }
    patch(format!("W/\"{etag}\""), "{}")
        .await
        .invalid_field("if-match");
    patch("*".to_owned(), "{}").await.expect(200);
}

#[tokio::test]
async fn preconditions_restrict_put_to_create_or_replace() {
    let daemon = Daemon::with_service().await;
    let new = "/v1/services/tcp-192.0.2.1-81";
    let put = |path: &'static str, header: &'static str| {
        let daemon = &daemon;
        async move {
            daemon
                .request(Method::PUT, path, &[(header, "*")], "{}")
                .await
        }
    };
    put(new, "if-match").await.problem(412, "REVISION_MISMATCH");
    put(SERVICE, "if-none-match")
        .await
        .problem(412, "REVISION_MISMATCH");
    put(new, "if-none-match").await.expect(201);
    put(new, "if-match").await.expect(200);
    let both = [("if-match", "*"), ("if-none-match", "*")];
    daemon
        .request(Method::PUT, new, &both, "{}")
        .await
        .invalid_field("if-none-match");
}

#[tokio::test]
async fn delete_supports_if_match() {
    let daemon = Daemon::with_service().await;
    let path = format!("{SERVICE}/servers/10.0.0.1-80");
    let tag = daemon.get(&path).await.header("etag").to_owned();
    daemon.patch(&path, r#"{"weight":9}"#).await.expect(200);
    let delete = |tag: String| {
        let (daemon, path) = (&daemon, &path);
        async move {
            daemon
                .request(Method::DELETE, path, &[("if-match", &tag)], "")
                .await
        }
    };
    delete(tag).await.problem(412, "REVISION_MISMATCH");
    let tag = daemon.get(&path).await.header("etag").to_owned();
    delete(tag).await.expect(204);
}

#[tokio::test]
async fn an_unsupported_precondition_is_refused() {
    let daemon = Daemon::with_service().await;
    for (method, path, body) in [
        (Method::POST, "/v1/services", "{}"),
        (Method::POST, "/v1/services/tcp-192.0.2.1-80/servers", "{}"),
        (Method::DELETE, "/v1/services?confirm=1", ""),
        (Method::PATCH, "/v1/settings", "{}"),
        (Method::POST, "/v1/zero", ""),
    ] {
        daemon
            .request(method, path, &[("if-match", "*")], body)
            .await
            .invalid_field("if-match");
    }
    assert_eq!(daemon.kernel.services().len(), 1);
}

#[tokio::test]
async fn reads_are_fresh_without_max_age() {
    let daemon = Daemon::with_service().await;
    let dumps = || daemon.kernel.dumps(command::GET_SERVICE);
    let old = [("cache-control", "max-age=60")];
    daemon
        .get_with_headers("/v1/services", &old)
        .await
        .expect(200);
    let before = dumps();
    let response = daemon
        .get_with_headers("/v1/services", &old)
        .await
        .expect(200);
    assert!(response.header("age").parse::<u64>().unwrap() < 60);
    assert_eq!(dumps(), before);
    daemon.get("/v1/services").await.expect(200);
    assert!(dumps() > before);
}

#[tokio::test]
async fn a_cached_page_equals_a_fresh_one() {
    let daemon = Daemon::with_service().await;
    let path = "/v1/services?include=servers,stats,rates";
    let fresh = daemon.get(path).await.expect(200);
    let old = ("cache-control", "max-age=60");
    for _ in 0..3 {
        let response = daemon.get_with_headers(path, &[old]).await.expect(200);
        assert_eq!(response.json(), fresh.json());
        for header in ["etag", "content-type", "content-length"] {
            assert_eq!(response.header(header), fresh.header(header));
        }
        let same = [old, ("if-none-match", fresh.header("etag"))];
        daemon.get_with_headers(path, &same).await.expect(304);
    }
    // Another query has another page.
    let bare = daemon
        .get_with_headers("/v1/services?include=none", &[old])
        .await;
    assert_ne!(bare.expect(200).header("etag"), fresh.header("etag"));
    // A write of this daemon invalidates the cached page.
    daemon
        .patch(SERVICE, r#"{"scheduler":"lc"}"#)
        .await
        .expect(200);
    let changed = daemon.get_with_headers(path, &[old]).await.expect(200);
    assert_eq!(changed.json()["services"][0]["scheduler"], "lc");
    assert_ne!(changed.header("etag"), fresh.header("etag"));
}
