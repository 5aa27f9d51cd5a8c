//! Tests of the keys of issuers: a server on a free port of the loopback interface, over TLS, and files.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

mod server;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::server::{Behaviour, KeyServer, PATIENCE, acceptor, directory, eventually, ok};
use super::{fetch::fetch, *};
use crate::identity::jwt::{
    KeySetError, RoleRule,
    testing::{TestKey, key_set},
};

const FAST: Timing = Timing {
    interval: Duration::from_millis(20),
    gap: Duration::from_millis(10),
    wait: Duration::from_secs(10),
    limit: Duration::from_secs(10),
    max_age: Duration::from_secs(3600),
};

const ISSUER: &str = "https://issuer.example";

fn issuer(keys: KeyLocation) -> JwtIssuer<&'static str> {
    let mut issuer = Issuer::new(ISSUER, vec!["ipvsd".to_owned()]);
    issuer.roles.push(RoleRule {
        claim: "groups".to_owned(),
        value: "ops".to_owned(),
        grant: "operator",
    });
    JwtIssuer { issuer, keys }
}

fn authenticator(keys: KeyLocation, timing: Timing) -> JwtAuthenticator<&'static str> {
    JwtAuthenticator::with_timing(vec![issuer(keys)], None, |_| timing)
}

fn claims() -> Value {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    json!({"iss": ISSUER, "aud": "ipvsd", "sub": "alice", "groups": ["ops"], "exp": now + 600})
}

const UNKNOWN_KEY: JwtRefusal = JwtRefusal::Token(JwtError::UnknownKey);

#[tokio::test]
async fn keys_are_rotated_without_a_pause() {
    let (old, new) = (TestKey::ec("old"), TestKey::ed("new"));
    let server = KeyServer::start(true, ok(&key_set(&[&old]))).await;
    // It is only read when a token names an unknown key.
    let timing = Timing {
        interval: PATIENCE * 10,
        ..FAST
    };
    let jwt = authenticator(server.location(), timing);
    let (old_token, new_token) = (old.sign(&claims()), new.sign(&claims()));
    let identity = jwt.authenticate(&old_token).await.unwrap();
    assert_eq!(
        (&*identity.name, identity.grant),
        ("alice", Some("operator"))
    );
    assert_eq!(jwt.authenticate(&new_token).await, Err(UNKNOWN_KEY));
    server.set(ok(&key_set(&[&old, &new])));
    jwt.authenticate(&new_token).await.unwrap();
    jwt.authenticate(&old_token).await.unwrap();
    server.set(ok(&key_set(&[&new])));
    let third = TestKey::ed("third").sign(&claims());
    assert_eq!(jwt.authenticate(&third).await, Err(UNKNOWN_KEY));
    // It was valid and has been verified before.
    assert_eq!(jwt.authenticate(&old_token).await, Err(UNKNOWN_KEY));
    jwt.authenticate(&new_token).await.unwrap();
}

#[tokio::test]
async fn keys_are_read_again_at_an_interval() {
    let (old, new) = (TestKey::ed("1"), TestKey::ed("1"));
    let server = KeyServer::start(false, ok(&key_set(&[&old]))).await;
    let jwt = authenticator(server.location(), FAST);
    jwt.authenticate(&old.sign(&claims())).await.unwrap();
    // With the same key id, no token asks for it.
    server.set(ok(&key_set(&[&new])));
    let token = new.sign(&claims());
    eventually(|| async { jwt.authenticate(&token).await.is_ok() }).await;
    let refused = jwt.authenticate(&old.sign(&claims())).await;
    assert_eq!(refused, Err(JwtError::Signature.into()));
}

#[tokio::test]
async fn a_server_that_fails_leaves_the_keys_until_they_are_too_old() {
    let key = TestKey::ed("k");
    let good = ok(&key_set(&[&key]));
    let server = KeyServer::start(true, good.clone()).await;
    let jwt = authenticator(server.location(), FAST);
    let token = key.sign(&claims());
    jwt.authenticate(&token).await.unwrap();
    for failure in [
        Behaviour::Close,
        ok("{}"),
        ok(r#"{"keys":[]}"#),
        Behaviour::Send("HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n".to_owned()),
    ] {
        server.set(failure);
        server.expect_requests(3).await;
        jwt.authenticate(&token).await.unwrap();
    }
    let short = Timing {
        max_age: Duration::from_millis(300),
        ..FAST
    };
    server.set(good.clone());
    let jwt = authenticator(server.location(), short);
    jwt.authenticate(&token).await.unwrap();
    server.set(Behaviour::Close);
    eventually(|| async { jwt.authenticate(&token).await == Err(JwtRefusal::NoKeys) }).await;
    server.set(good);
    eventually(|| async { jwt.authenticate(&token).await.is_ok() }).await;
}

#[tokio::test]
async fn requests_wait_for_keys_a_bounded_time_and_share_one_read() {
    let key = TestKey::ed("k");
    let server = KeyServer::start(false, ok(&key_set(&[&key]))).await;
    let wait = Duration::from_millis(200);
    let timing = Timing {
        interval: PATIENCE * 10,
        wait,
        ..FAST
    };
    let jwt = Arc::new(authenticator(server.location(), timing));
    let token = key.sign(&claims());
    jwt.authenticate(&token).await.unwrap();
    server.set(Behaviour::Wait);
    let other = TestKey::ed("other").sign(&claims());
    let begin = Instant::now();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (jwt, other) = (jwt.clone(), other.clone());
            tokio::spawn(async move { jwt.authenticate(&other).await })
        })
        .collect();
    // Known keys do not wait for the others.
    jwt.authenticate(&key.sign(&claims())).await.unwrap();
    assert!(begin.elapsed() < wait, "{:?}", begin.elapsed());
    for outcome in waiting {
        assert_eq!(outcome.await.unwrap(), Err(UNKNOWN_KEY));
    }
    assert!(begin.elapsed() >= wait);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn unknown_keys_cause_one_read_per_gap() {
    let key = TestKey::ed("k");
    let server = KeyServer::start(false, ok(&key_set(&[&key]))).await;
    let hour = Duration::from_secs(3600);
    let timing = Timing {
        interval: hour,
        gap: hour,
        ..FAST
    };
    let jwt = authenticator(server.location(), timing);
    jwt.authenticate(&key.sign(&claims())).await.unwrap();
    let begin = Instant::now();
    for id in 0..20 {
        let other = TestKey::ed(&id.to_string()).sign(&claims());
        assert_eq!(jwt.authenticate(&other).await, Err(UNKNOWN_KEY));
    }
    assert!(begin.elapsed() < FAST.wait, "{:?}", begin.elapsed());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_has_changed() {
    let (old, new) = (TestKey::ed("k"), TestKey::rsa("k"));
    let directory = directory();
    let path = directory.0.join("keys.json");
    let replace = |text: &str| {
        fs::write(directory.0.join("new"), text).unwrap();
        fs::rename(directory.0.join("new"), &path).unwrap();
    };
    replace(&key_set(&[&old]));
    let jwt = authenticator(KeyLocation::File(path.clone()), FAST);
    let (old_token, new_token) = (old.sign(&claims()), new.sign(&claims()));
    jwt.authenticate(&old_token).await.unwrap();
    replace("{");
    fs::remove_file(&path).unwrap();
    jwt.authenticate(&old_token).await.unwrap();
    replace(&key_set(&[&new]));
    eventually(|| async { jwt.authenticate(&new_token).await.is_ok() }).await;
    assert_eq!(
        jwt.authenticate(&old_token).await,
        Err(JwtError::Algorithm.into())
    );
}

#[tokio::test]
async fn a_new_policy_keeps_the_keys_that_were_read() {
    let key = TestKey::ed("k");
    let server = KeyServer::start(false, ok(&key_set(&[&key]))).await;
    let jwt = authenticator(server.location(), FAST);
    let token = key.sign(&claims());
    jwt.authenticate(&token).await.unwrap();
    server.set(Behaviour::Wait);
    let mut changed = issuer(server.location());
    changed.issuer.roles.clear();
    let next = JwtAuthenticator::with_timing(vec![changed], Some(&jwt), |_| FAST);
    drop(jwt);
    assert_eq!(next.authenticate(&token).await.unwrap().grant, None);
}

#[tokio::test]
async fn a_token_is_verified_with_the_keys_of_its_issuer() {
    let (one, two) = (TestKey::ed("k"), TestKey::ed("k"));
    let directory = directory();
    let issuers = [("https://a", &one), ("https://b", &two)].map(|(name, key)| {
        let path = directory.0.join(&name[8..]);
        fs::write(&path, key_set(&[key])).unwrap();
        let mut issuer = issuer(KeyLocation::File(path));
        issuer.issuer.issuer = name.to_owned();
        issuer
    });
    let jwt = JwtAuthenticator::with_timing(issuers.to_vec(), None, |_| FAST);
    let token = |key: &TestKey, issuer: &str| {
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        key.sign(&claims)
    };
    jwt.authenticate(&token(&one, "https://a")).await.unwrap();
    jwt.authenticate(&token(&two, "https://b")).await.unwrap();
    let refused = jwt.authenticate(&token(&one, "https://b")).await;
    assert_eq!(refused, Err(JwtError::Signature.into()));
    let refused = jwt.authenticate(&token(&one, "https://c")).await;
    assert_eq!(refused, Err(JwtError::Issuer.into()));
}

#[tokio::test]
async fn a_token_that_has_been_verified_still_expires() {
    let key = TestKey::ed("k");
    let server = KeyServer::start(false, ok(&key_set(&[&key]))).await;
    let mut issuer = issuer(server.location());
    issuer.issuer.leeway_seconds = 0;
    let jwt = JwtAuthenticator::with_timing(vec![issuer], None, |_| FAST);
    let mut claims = claims();
    claims["exp"] = json!(claims["exp"].as_u64().unwrap() - 600 + 3);
    let token = key.sign(&claims);
    jwt.authenticate(&token).await.unwrap();
    jwt.authenticate(&token).await.unwrap();
    let expired = Err(JwtError::Expired.into());
    eventually(|| async { jwt.authenticate(&token).await == expired }).await;
}

async fn fetch_error(location: &KeyLocation, limit: Duration) -> FetchError {
    match fetch(location, None, limit).await {
        Err(error) => error,
        Ok(_) => panic!("{location} has been read"),
    }
}

#[tokio::test]
async fn responses_are_bounded_in_size_and_time_and_not_redirected() {
    let key = TestKey::ed("k");
    let target = KeyServer::start(false, ok(&key_set(&[&key]))).await;
    let location = format!("http://localhost:{}/keys", target.port);
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let server = KeyServer::start(false, Behaviour::Send(redirect)).await;
    let error = fetch_error(&server.location(), PATIENCE).await;
    assert!(
        matches!(error, FetchError::Status(status) if status == 302),
        "{error}"
    );
    assert_eq!(target.requests(), 0);

    let long = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for head in [
        format!("content-length: {}", long.len()),
        "connection: close".to_owned(),
    ] {
        server.set(Behaviour::Send(format!(
            "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{long}"
        )));
        let error = fetch_error(&server.location(), PATIENCE).await;
        assert!(
            matches!(error, FetchError::Keys(KeySetError::TooLong)),
            "{error}"
        );
    }
    server.set(Behaviour::Wait);
    let error = fetch_error(&server.location(), Duration::from_millis(50)).await;
    assert!(matches!(error, FetchError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn the_certificate_of_the_server_is_checked() {
    let key = TestKey::ed("k");
    let server = KeyServer::start(true, ok(&key_set(&[&key]))).await;
    let other = KeyServer::start(true, Behaviour::Close).await;
    let with = |host: &str, ca: Option<PathBuf>| KeyLocation::Url {
        url: format!("https://{host}:{}/", server.port).parse().unwrap(),
        ca,
    };
    let own = with("localhost", Some(server.ca()));
    assert!(fetch(&own, None, PATIENCE).await.is_ok());
    for location in [
        with("localhost", Some(other.ca())),
        with("127.0.0.1", Some(server.ca())),
    ] {
        let error = fetch_error(&location, PATIENCE).await.to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_location_is_checked_without_the_network() {
    let directory = directory();
    let path = directory.0.join("keys");
    let location = KeyLocation::File(path.clone());
    assert!(matches!(check(&location), Err(FetchError::File { .. })));
    fs::write(&path, "{}").unwrap();
    assert!(matches!(check(&location), Err(FetchError::Keys(_))));
    fs::write(&path, key_set(&[&TestKey::ed("k")])).unwrap();
    check(&location).unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(&path, 0o664);
    let error = check(&location).unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("chmod go-w {}", path.display())),
        "{error}"
    );
    set_mode(&path, 0o644);
    let error = check(&KeyLocation::File(directory.0.clone())).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    nix::unistd::mkfifo(&directory.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(check(&KeyLocation::File(directory.0.join("fifo"))).is_err());
    let url = |ca: PathBuf| KeyLocation::Url {
        url: "https://a.example/".parse().unwrap(),
        ca: Some(ca),
    };
    let error = check(&url(path)).unwrap_err();
    assert!(matches!(error, FetchError::Certificates { .. }), "{error}");
    let ca = directory.0.join("ca.pem");
    acceptor(&ca);
    check(&url(ca.clone())).unwrap();
    set_mode(&ca, 0o646);
    let error = check(&url(ca)).unwrap_err();
    assert!(matches!(error, FetchError::Unsafe(_)), "{error}");
}
