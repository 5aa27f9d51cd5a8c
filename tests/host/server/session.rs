//! Sessions of browsers: cookies that stand for bearer tokens.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
};
use http::{HeaderMap, Method, Request, header::SET_COOKIE};
use http_body_util::BodyExt;
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    identity::{OverTls, Peer, Policy, Role},
    kernel::FakeKernel,
    model::Sha256,
    server::{Authenticator, ClientCertificates, Config, Server, Shutdown, build_router},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    access::{Guarded, NoAccounts, guarded, policy_of_roles, token},
    authority::{TlsFiles, connect, until},
    harness::*,
    jwt::Issuer,
};

const SESSION: &str = "/v1/session";
const VIEWER: &str = "Bearer ipvsd_viewer";
const ADMIN: &str = "Bearer ipvsd_admin";
const UNKNOWN: &str = "ipvsd_session=0000";

/// A response as a whole.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    /// The cookies that it sets, name and value.
    fn cookies(&self) -> Vec<&str> {
        let fields = self.headers.get_all(SET_COOKIE).iter();
        let fields = fields.map(|field| field.to_str().unwrap());
        fields
            .map(|field| field.split(';').next().unwrap())
            .collect()
    }

    fn max_age(&self) -> u64 {
        let field = self.headers[SET_COOKIE].to_str().unwrap();
        field.split("Max-Age=").nth(1).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn refused(self, status: u16, reason: &str) -> Self {
        assert_eq!(
            (self.status, &self.body["reason"]),
            (status, &json!(reason)),
            "{}",
            self.body
        );
        assert!(self.cookies().is_empty());
        self
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("host", "localhost:4787");
    let request = request.header("x-request-id", "test");
    request.body(Body::empty()).unwrap()
}

async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = in_time(router.clone().oneshot(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = in_time(body.collect()).await.unwrap().to_bytes();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

async fn post(router: &Router, headers: &[(&str, &str)]) -> Reply {
    send(router, request(Method::POST, SESSION, headers)).await
}

async fn end(router: &Router, headers: &[(&str, &str)]) -> Reply {
    send(router, request(Method::DELETE, SESSION, headers)).await
}

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(router, request(Method::GET, path, headers)).await
}

/// The status and the principal of a request with a cookie.
async fn whoami(router: &Router, cookie: &str) -> (u16, Value) {
    let reply = get(router, "/v1/whoami", &[("cookie", cookie)]).await;
    (reply.status, reply.body["name"].clone())
}

/// Opens a session, and returns its cookie: name and value.
async fn open(router: &Router, authorization: &str) -> String {
    let reply = post(router, &[("authorization", authorization)]).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    reply.cookies().concat()
}

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let router = guarded(policy_of_roles("")).router;
    let opened = post(&router, &[("authorization", VIEWER)]).await;
    assert_eq!((opened.status, &opened.body), (204, &Value::Null));
    assert_eq!(opened.headers["cache-control"], "no-store");
    let cookie = opened.cookies().concat();
    let secret = cookie.strip_prefix("ipvsd_session=").unwrap();
    assert_eq!(secret.len(), 64);
    assert!(secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(
        opened.headers[SET_COOKIE],
        format!("{cookie}; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=43200")
    );
    let own = get(&router, "/v1/whoami", &[("cookie", &cookie)]).await;
    assert_eq!(
        own.body,
        json!({"name": "viewer", "kind": "token", "role": "viewer"})
    );
    // It has the role of its token, no more.
    let headers = [("cookie", cookie.as_str())];
    let zero = send(&router, request(Method::POST, "/v1/zero", &headers)).await;
    zero.refused(403, "PERMISSION_DENIED");
    let other = open(&router, VIEWER).await;
    assert_ne!(cookie, other);

    let ended = end(&router, &headers).await;
    assert_eq!(ended.status, 204);
    assert_eq!(
        ended.headers[SET_COOKIE],
        "ipvsd_session=; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=0"
    );
    let refused = get(&router, "/v1/whoami", &headers).await;
    assert_eq!(
        refused.headers["www-authenticate"],
        "Bearer realm=\"ipvsd\""
    );
    refused.refused(401, "UNAUTHENTICATED");
    assert_eq!(whoami(&router, &other).await.0, 200);
    for headers in [&headers[..], &[], &[("cookie", "ipvsd_session")]] {
        assert_eq!(end(&router, headers).await.status, 204, "{headers:?}");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let router = guarded(policy_of_roles("")).router;
    let path = "/v1/session?dry_run=true";
    let post = request(Method::POST, path, &[("authorization", VIEWER)]);
    let reply = send(&router, post).await;
    assert_eq!((reply.status, reply.cookies().len()), (204, 0));
    let cookie = open(&router, VIEWER).await;
    let delete = request(Method::DELETE, path, &[("cookie", &cookie)]);
    let reply = send(&router, delete).await;
    assert_eq!((reply.status, reply.cookies().len()), (204, 0));
    assert_eq!(whoami(&router, &cookie).await.0, 200);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let end = Timestamp::now() + Duration::from_secs(3);
    let router = guarded(policy_of_roles(&format!("expires = {end}"))).router;
    let opened = post(&router, &[("authorization", VIEWER)]).await;
    assert!(opened.max_age() < 3, "{}", opened.max_age());
    let cookie = opened.cookies().concat();
    assert_eq!(whoami(&router, &cookie).await.0, 200);
    until(async || (whoami(&router, &cookie).await.0 == 401).then_some(())).await;
    assert!(Timestamp::now() >= end);
}

#[tokio::test]
async fn a_session_of_a_jwt_ends_with_it() {
    let issuer = Issuer::new("session");
    let end = Timestamp::now() + Duration::from_secs(3);
    let jwt = issuer.token(json!({"exp": end.as_second()}));
    let daemon = guarded(issuer.policy());
    let opened = post(
        &daemon.router,
        &[("authorization", &format!("Bearer {jwt}"))],
    )
    .await;
    assert_eq!(opened.status, 204, "{}", opened.body);
    let cookie = opened.cookies().concat();
    let own = get(&daemon.router, "/v1/whoami", &[("cookie", &cookie)]).await;
    assert_eq!(own.body["kind"], "jwt");
    let longer = format!("Bearer {}", issuer.token(json!({})));
    let longer = open(&daemon.router, &longer).await;
    // The clock of the issuer may differ from this one by a minute.
    assert!(opened.max_age() <= 63, "{}", opened.max_age());
    // The policy does not have the issuer any more.
    daemon.authenticator.replace(policy_of_roles(""));
    for cookie in [&cookie, &longer] {
        assert_eq!(whoami(&daemon.router, cookie).await.0, 401);
    }
}

#[tokio::test]
async fn a_change_of_the_policy_applies_to_sessions() {
    let daemon = guarded(policy_of_roles(""));
    let router = &daemon.router;
    let cookie = open(router, ADMIN).await;
    let hash = Sha256::of(token(Role::Admin).as_bytes());
    let entry = format!("[[token]]\nname = 'new'\nsha256 = '{hash}'\nrole = 'viewer'\n");
    let policy = |text: &str| Policy::parse(text, &NoAccounts).unwrap();
    daemon.authenticator.replace(policy(&entry));
    let reply = get(router, "/v1/whoami", &[("cookie", &cookie)]).await;
    assert_eq!(
        reply.body,
        json!({"name": "new", "kind": "token", "role": "viewer"})
    );
    daemon.authenticator.replace(policy(""));
    assert_eq!(whoami(router, &cookie).await.0, 401);
    // A session that has ended does not begin again.
    daemon.authenticator.replace(policy(&entry));
    assert_eq!(whoami(router, &cookie).await.0, 401);
}

/// Opens a stream of connections without end.
async fn stream(daemon: &Guarded, cookie: &str) -> Body {
    let line = "TCP C6336407 C710 C0000201 0050 C0A80A01 0050 ESTABLISHED     899";
    let lines = move || Box::new(std::iter::repeat(line.to_owned())) as _;
    daemon.kernel.set_connection_source(lines);
    let headers = [("cookie", cookie), ("accept", "application/x-ndjson")];
    let path = "/v1/connections?limit=10000000";
    let request = request(Method::GET, path, &headers);
    let response = in_time(daemon.router.clone().oneshot(request)).await;
    let mut body = response.unwrap().into_body();
    assert!(frame(&mut body).await.is_ok());
    body
}

async fn frame(body: &mut Body) -> Result<Bytes, axum::Error> {
    let frame = in_time(body.frame()).await.expect("the stream has no end");
    frame.map(|frame| frame.into_data().unwrap())
}

#[tokio::test]
async fn streams_end_with_their_session_and_others_do_not() {
    let daemon = guarded(policy_of_roles(""));
    let router = &daemon.router;
    let [ended, other, revoked] = [ADMIN, ADMIN, "Bearer ipvsd_operator"];
    let cookies = [
        open(router, ended).await,
        open(router, other).await,
        open(router, revoked).await,
    ];
    let mut streams = Vec::new();
    for cookie in &cookies {
        streams.push(stream(&daemon, cookie).await);
    }
    let admin = token(Role::Admin);
    let hash = Sha256::of(admin.as_bytes());
    let entry = format!("[[token]]\nname = 'admin'\nsha256 = '{hash}'\nrole = 'admin'\n");
    let policy = Policy::parse(&entry, &NoAccounts).unwrap();
    daemon.authenticator.replace(policy);
    assert_eq!(end(router, &[("cookie", &cookies[0])]).await.status, 204);
    for index in [0, 2] {
        let stream = &mut streams[index];
        in_time(async {
            while frame(stream).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    // Its credential has been checked by now, too.
    assert!(frame(&mut streams[1]).await.is_ok());
}

#[tokio::test]
async fn a_principal_has_a_limited_number_of_sessions() {
    let router = guarded(policy_of_roles("")).router;
    let first = open(&router, VIEWER).await;
    for _ in 1..32 {
        open(&router, VIEWER).await;
    }
    let refused = post(&router, &[("authorization", VIEWER)]).await;
    let seconds: u32 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((43_000..=43_200).contains(&seconds), "{seconds}");
    let refused = refused.refused(429, "RATE_LIMITED");
    let hint = refused.body["hint"].as_str().unwrap();
    assert!(hint.contains("DELETE /v1/session"), "{hint}");
    open(&router, ADMIN).await;
    end(&router, &[("cookie", &first)]).await;
    open(&router, VIEWER).await;
}

#[tokio::test]
async fn pages_of_other_origins_cannot_use_a_session() {
    let daemon = guarded(policy_of_roles(""));
    let router = &daemon.router;
    let cookie = open(router, ADMIN).await;
    // The last two are of the same site, for which browsers send the cookie.
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "same-site"),
    ] {
        let headers = [("cookie", cookie.as_str()), foreign];
        for (method, path) in [
            (Method::POST, "/v1/zero"),
            (Method::DELETE, "/v1/services?confirm=0"),
            (Method::DELETE, SESSION),
            (Method::POST, SESSION),
            (Method::GET, "/v1/services"),
        ] {
            let reply = send(router, request(method, path, &headers)).await;
            reply.refused(403, "CROSS_SITE");
        }
        let mut clear = request(
            Method::POST,
            "/ipvsd.v1.IpvsService/ClearServices",
            &headers,
        );
        let media_type = "application/grpc-web+proto".parse().unwrap();
        clear.headers_mut().insert("content-type", media_type);
        let reply = send(router, clear).await;
        assert_eq!(reply.headers["grpc-status"], "7", "{foreign:?}");
        let page = get(router, "/errors", &headers).await;
        assert_eq!(page.status, 200, "{foreign:?}");
    }
    let own = [
        ("cookie", cookie.as_str()),
        ("origin", "http://localhost:4787"),
        ("sec-fetch-site", "same-origin"),
    ];
    let zero = send(router, request(Method::POST, "/v1/zero", &own)).await;
    assert_eq!(zero.status, 204, "{}", zero.body);
    // Such a request is no failed login.
    let audit = get(router, "/v1/audit", &[("authorization", ADMIN)]).await;
    assert!(!audit.body.to_string().contains("authenticate"));
}

#[tokio::test]
async fn the_token_of_a_request_precedes_its_cookie() {
    let router = guarded(policy_of_roles("")).router;
    let cookie = open(&router, ADMIN).await;
    let both = [("cookie", cookie.as_str()), ("authorization", VIEWER)];
    let own = get(&router, "/v1/whoami", &both).await;
    assert_eq!(own.body["name"], "viewer");
    let invalid = [("cookie", cookie.as_str()), ("authorization", "Bearer x")];
    let refused = get(&router, "/v1/whoami", &invalid).await;
    refused.refused(401, "UNAUTHENTICATED");
    // An end concerns the session of the cookie all the same.
    assert_eq!(end(&router, &both).await.status, 204);
    assert_eq!(whoami(&router, &cookie).await.0, 401);
}

#[tokio::test]
async fn a_cookie_that_is_not_valid_matters_only_where_it_is_needed() {
    let router = guarded(policy_of_roles("")).router;
    for cookie in [
        UNKNOWN,
        "ipvsd_session=",
        "__Host-ipvsd_session=\"é\"",
        &format!("ipvsd_session={}", "a".repeat(9000)),
    ] {
        let headers = [("cookie", cookie)];
        for path in ["/healthz", "/readyz", "/", "/v1", "/openapi.json"] {
            assert_eq!(get(&router, path, &headers).await.status, 200, "{path}");
        }
        for path in ["/v1/whoami", "/v1/services", "/v1/nothing"] {
            let refused = get(&router, path, &headers).await;
            refused.refused(401, "UNAUTHENTICATED");
        }
        post(&router, &headers)
            .await
            .refused(401, "UNAUTHENTICATED");
        let with_token = [("cookie", cookie), ("authorization", VIEWER)];
        let opened = post(&router, &with_token).await;
        assert_eq!(opened.status, 204);
    }
    // Where nothing is required, it is ignored.
    let config = test_config();
    let open_to_all = daemon(&config, policy_of_roles(""));
    assert_eq!(
        whoami(&open_to_all, UNKNOWN).await,
        (200, json!("anonymous"))
    );
}

#[tokio::test]
async fn a_session_is_known_to_the_daemon_that_opened_it_only() {
    let router = guarded(policy_of_roles("")).router;
    let cookie = open(&router, VIEWER).await;
    let restarted = guarded(policy_of_roles("")).router;
    assert_eq!(whoami(&restarted, &cookie).await.0, 401);
}

/// The router of a daemon.
fn daemon(config: &Config, policy: Policy) -> Router {
    build(config, &Authenticator::new(config, policy))
}

fn build(config: &Config, authenticator: &Arc<Authenticator>) -> Router {
    let kernel = FakeKernel::new();
    let executor = Executor::start(Arc::new(kernel), ExecutorLimits::default()).unwrap();
    let app = App::new(executor, AppOptions::default());
    build_router(app, config, authenticator, &Shutdown::new())
}

#[tokio::test]
async fn invalid_cookies_are_failed_logins() {
    let mut config = test_config();
    config.dev = false;
    config.quota.failed_logins_per_minute = 3;
    let router = daemon(&config, policy_of_roles(""));
    let peer = ConnectInfo(Peer::Tcp("192.0.2.7:999".parse().unwrap()));
    let attempt = async |cookie: &str| {
        let mut request = request(Method::GET, "/v1/whoami", &[("cookie", cookie)]);
        request.extensions_mut().insert(peer);
        send(&router, request).await.status
    };
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(attempt(UNKNOWN).await);
    }
    assert_eq!(statuses[..3], [401; 3]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let cookie = open(&router, VIEWER).await;
    assert_eq!(attempt(&cookie).await, 200);
}

#[tokio::test]
async fn a_session_is_offered_where_others_cannot_read_the_cookie() {
    let router = guarded(policy_of_roles("")).router;
    let open = async |peer: &str, headers: &[(&str, &str)], is_over_tls: bool| {
        let headers = [headers, &[("authorization", VIEWER)]].concat();
        let mut request = request(Method::POST, SESSION, &headers);
        let peer = ConnectInfo(Peer::Tcp(peer.parse().unwrap()));
        request.extensions_mut().insert(peer);
        if is_over_tls {
            request.extensions_mut().insert(OverTls);
        }
        send(&router, request).await
    };
    for peer in ["192.0.2.9:1", "[2001:db8::9]:1", "[::ffff:192.0.2.9]:1"] {
        let refused = open(peer, &[], false).await;
        let refused = refused.refused(400, "INVALID_ARGUMENT");
        let hint = refused.body["hint"].as_str().unwrap();
        assert!(hint.contains("tls:"), "{hint}");
        let opened = open(peer, &[], true).await;
        let cookie = opened.cookies().concat();
        assert!(cookie.starts_with("__Host-ipvsd_session="), "{cookie}");
    }
    let behind_proxy = [
        ("origin", "https://localhost:4787"),
        ("sec-fetch-site", "same-origin"),
    ];
    for (peer, headers, name) in [
        ("127.0.0.1:1", &[][..], "ipvsd_session="),
        ("[::1]:1", &[], "ipvsd_session="),
        ("127.0.0.1:1", &behind_proxy, "__Host-ipvsd_session="),
    ] {
        let opened = open(peer, headers, false).await;
        assert_eq!(opened.status, 204, "{}", opened.body);
        let cookie = opened.cookies().concat();
        assert!(cookie.starts_with(name), "{cookie}");
        assert_eq!(whoami(&router, &cookie).await.0, 200);
    }
}

#[tokio::test]
async fn only_a_bearer_token_opens_a_session() {
    let router = guarded(policy_of_roles("")).router;
    post(&router, &[]).await.refused(401, "UNAUTHENTICATED");
    let cookie = open(&router, VIEWER).await;
    let refused = post(&router, &[("cookie", &cookie)]).await;
    let refused = refused.refused(400, "INVALID_ARGUMENT");
    assert_eq!(refused.body["errors"][0]["field"], "Authorization");

    // The user of this process is an administrator on the unix socket.
    let directory = TempDir::new();
    let mut config = test_config();
    config.dev = false;
    config.listen = vec![directory.socket().1];
    serve(&config, Authenticator::load(&config).unwrap());
    let stream = tokio::net::UnixStream::connect(directory.socket().0).await;
    let response = exchange(stream.unwrap(), &post_close("")).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("the connection itself"), "{response}");
}

fn post_close(headers: &str) -> String {
    format!(
        "POST {SESSION} HTTP/1.1\r\nhost: localhost\r\nx-request-id: 1\r\n{headers}connection: close\r\n\r\n"
    )
}

/// Serves a daemon on its sockets. Returns the address of the first TCP listener.
fn serve(config: &Config, authenticator: Arc<Authenticator>) -> Option<SocketAddr> {
    let server = Server::bind(config).unwrap();
    let address = server.addresses().iter().find_map(|address| address.tcp());
    let router = build(config, &authenticator);
    let shutdown = Shutdown::new();
    let budget = ipvsd::budget::Budget::new(config.limits.max_memory_bytes);
    tokio::spawn(async move { server.serve(router, &budget, &shutdown).await });
    address
}

#[tokio::test]
async fn over_tls_a_token_opens_a_session_and_a_certificate_does_not() {
    let files = TlsFiles::new();
    let mut config = files.config(ClientCertificates::Optional);
    config.dev = false;
    let hash = Sha256::of(token(Role::Viewer).as_bytes());
    let policy = format!(
        "[[token]]\nname = 'viewer'\nsha256 = '{hash}'\nrole = 'viewer'\n\
         [[certificate]]\ndns = 'client.example'\nrole = 'admin'\n"
    );
    let policy = Policy::parse(&policy, &NoAccounts).unwrap();
    let address = serve(&config, Authenticator::new(&config, policy)).unwrap();
    let issued = files.authority.client("client.example");
    let with_certificate = files.authority.connector(Some(&issued));
    let without = files.authority.connector(None);
    let send =
        async |client, request: &str| exchange(connect(address, client).await, request).await;

    let response = send(&with_certificate, &post_close("")).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let authorization = format!("authorization: {VIEWER}\r\n");
    let response = send(&without, &post_close(&authorization)).await;
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
    let cookie = response.split("set-cookie: ").nth(1).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    assert!(cookie.starts_with("__Host-ipvsd_session="), "{cookie}");
    let whoami = |cookie: &str| {
        format!(
            "GET /v1/whoami HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        )
    };
    // The cookie precedes the certificate.
    for client in [&without, &with_certificate] {
        let response = send(client, &whoami(cookie)).await;
        assert!(response.contains("\"name\":\"viewer\""), "{response}");
    }
    // Other hosts of the domain can set a cookie with this name.
    let unprefixed = cookie.strip_prefix("__Host-").unwrap();
    let response = send(&without, &whoami(unprefixed)).await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn sessions_are_in_the_audit_and_their_secrets_are_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let router = guarded(policy_of_roles("")).router;
    let cookie = open(&router, VIEWER).await;
    get(&router, "/v1/services", &[("cookie", &cookie)]).await;
    get(&router, "/v1/audit", &[("cookie", &cookie)]).await;
    // The end is that of the cookie's principal.
    end(&router, &[("cookie", &cookie), ("authorization", ADMIN)]).await;
    end(&router, &[("cookie", &cookie)]).await;
    get(&router, "/v1/services", &[("cookie", &cookie)]).await;
    let audit = get(&router, "/v1/audit", &[("authorization", ADMIN)])
        .await
        .body;
    let records = audit["records"].as_array().unwrap().iter();
    let shown = records.map(|record| {
        ["principal", "credential", "operation", "outcome"]
            .map(|name| record[name].as_str().unwrap())
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ["anonymous", "anonymous", "authenticate", "unauthenticated"],
            ["viewer", "token", "end_session", "success"],
            ["viewer", "token", "list_audit_records", "denied"],
            ["viewer", "token", "open_session", "success"],
        ]
    );
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("request failed"), "{log}");
    let secret = cookie.split('=').nth(1).unwrap();
    let hash = Sha256::of(secret.as_bytes()).to_string();
    for text in [log, audit.to_string()] {
        for secret in [secret, &hash, "ipvsd_viewer"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
