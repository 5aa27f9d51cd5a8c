//! JSON Web Tokens as credentials of the daemon, with the keys of the issuer in a file.

use std::{
    fs,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use http::Request;
use http_body_util::BodyExt;
use ipvsd::identity::Policy;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    access::{Guarded, NoAccounts, guarded},
    harness::*,
};

/// An issuer with one key, and the file of its keys.
pub struct Issuer {
    key: Ed25519KeyPair,
    file: PathBuf,
}

/// base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digits = bits.as_bytes().chunks(6).map(|chunk| {
        let chunk = format!("{:0<6}", std::str::from_utf8(chunk).unwrap());
        char::from(DIGITS[usize::from_str_radix(&chunk, 2).unwrap()])
    });
    digits.collect()
}

impl Issuer {
    pub fn new(name: &str) -> Self {
        let file = format!("ipvsd-{}-{name}.json", std::process::id());
        let mut issuer = Self {
            key: new_key(),
            file: std::env::temp_dir().join(file),
        };
        issuer.publish();
        issuer
    }

    fn publish(&mut self) {
        let x = base64url(self.key.public_key().as_ref());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": x[..8], "x": x});
        let next = self.file.with_extension("next");
        fs::write(&next, json!({"keys": [key]}).to_string()).unwrap();
        fs::rename(&next, &self.file).unwrap();
    }

    fn rotate(&mut self) {
        self.key = new_key();
        self.publish();
    }

    pub fn token(&self, changes: Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut claims = json!({
            "iss": "https://issuer.example", "aud": "ipvsd", "sub": "alice", "groups": ["ops"],
            "exp": now.unwrap().as_secs() + 600,
        });
        let changes = changes.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(changes);
        let id = base64url(self.key.public_key().as_ref())[..8].to_owned();
        let header = json!({"alg": "EdDSA", "kid": id});
        let message = [header, claims]
            .map(|part| base64url(part.to_string().as_bytes()))
            .join(".");
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature.as_ref()))
    }

    pub fn policy(&self) -> Policy {
        let text = format!(
            "[[jwt]]\nissuer = 'https://issuer.example'\naudience = 'ipvsd'\njwks_file = '{}'\n\
             [[jwt.role]]\nclaim = 'groups'\nvalue = 'ops'\nrole = 'viewer'\n",
            self.file.display()
        );
        Policy::parse(&text, &NoAccounts).unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn new_key() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

/// Status and JSON of a response to GET.
async fn get(daemon: &Guarded, path: &str, token: &str) -> (u16, Value) {
    let request = Request::get(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty());
    let response = in_time(daemon.router.clone().oneshot(request.unwrap())).await;
    let (head, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    (head.status.as_u16(), body)
}

#[tokio::test]
async fn a_token_of_the_issuer_has_the_role_of_its_claims() {
    let issuer = Issuer::new("roles");
    let daemon = guarded(issuer.policy());
    let (status, whoami) = get(&daemon, "/v1/whoami", &issuer.token(json!({}))).await;
    assert_eq!(status, 200, "{whoami}");
    assert_eq!(whoami["name"], "alice");
    assert_eq!(whoami["kind"], "jwt");
    assert_eq!(whoami["role"], "viewer");
    let (status, _) = get(&daemon, "/v1/services", &issuer.token(json!({}))).await;
    assert_eq!(status, 200);
    // It is recognised, but no rule gives it a role.
    let token = issuer.token(json!({"groups": []}));
    let (status, problem) = get(&daemon, "/v1/services", &token).await;
    assert_eq!(status, 401);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no [[jwt.role]]"), "{detail}");
    for (changes, expected) in [
        (json!({"aud": "other"}), "(aud)"),
        (json!({"exp": 5}), "(exp)"),
        (json!({"iss": "other"}), "(iss)"),
    ] {
        let token = issuer.token(changes);
        let (status, problem) = get(&daemon, "/v1/services", &token).await;
        assert_eq!(
            (status, &problem["reason"]),
            (401, &json!("UNAUTHENTICATED"))
        );
        let text = problem.to_string();
        assert!(text.contains(expected) && !text.contains(&token), "{text}");
    }
    let other = Issuer::new("other").token(json!({}));
    assert_eq!(get(&daemon, "/v1/services", &other).await.0, 401);
}

#[tokio::test]
async fn a_new_key_is_valid_and_the_old_one_is_not() {
    let mut issuer = Issuer::new("rotation");
    let daemon = guarded(issuer.policy());
    let old = issuer.token(json!({}));
    assert_eq!(get(&daemon, "/v1/services", &old).await.0, 200);
    issuer.rotate();
    let new = issuer.token(json!({}));
    let begin = Instant::now();
    while get(&daemon, "/v1/services", &new).await.0 != 200 {
        assert!(begin.elapsed() < DEADLINE);
    }
    assert_eq!(get(&daemon, "/v1/services", &old).await.0, 401);
}
