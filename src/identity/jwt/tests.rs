//! Tests of tokens: each is signed here, and each check fails alone.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use proptest::{prelude::*, test_runner::Config};
use ring::hmac;
use serde_json::{Value, json};

use super::{
    testing::{TestKey, base64url, key_set},
    *,
};

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn issuer() -> Issuer<&'static str> {
    let mut issuer = Issuer::new("https://issuer.example", vec!["ipvsd".into(), "lb1".into()]);
    let rule = |claim: &str, value: &str, grant| RoleRule {
        claim: claim.to_owned(),
        value: value.to_owned(),
        grant,
    };
    issuer.roles = vec![
        rule("realm_access.roles", "lb-admin", "admin"),
        rule(
            "kubernetes.io.serviceaccount.name",
            "ipvs-controller",
            "editor",
        ),
        rule("groups", "ops", "operator"),
    ];
    issuer
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "ipvsd", "sub": "alice",
        "iat": NOW - HOUR, "nbf": NOW - HOUR, "exp": NOW + HOUR,
    })
}

/// The claims, with some replaced; null removes one.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn keys(keys: &[&TestKey]) -> KeySet {
    KeySet::parse(key_set(keys).as_bytes()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What becomes of a token at NOW.
fn outcome(token: &str, keys: &KeySet) -> Result<String, JwtError> {
    verify(token, &issuer(), keys, at(NOW)).map(|token| token.name)
}

#[test]
fn tokens_of_all_algorithms_are_verified() {
    let all = [TestKey::rsa("r"), TestKey::ec("e"), TestKey::ed("d")];
    let keys = keys(&all.each_ref());
    for key in &all {
        let issuer = issuer();
        let token = verify(&key.sign(&claims()), &issuer, &keys, at(NOW)).unwrap();
        assert_eq!(token.name, "alice");
        assert_eq!(token.expires, at(NOW + HOUR + DEFAULT_LEEWAY_SECONDS));
        assert_eq!(token.grant, None);
    }
}

#[test]
fn a_signature_of_another_key_or_of_other_claims_is_refused() {
    for new in [TestKey::ec, TestKey::ed] {
        let (own, other) = (new("k"), new("k"));
        let token = other.sign(&claims());
        assert_eq!(outcome(&token, &keys(&[&own])), Err(JwtError::Signature));
    }
    let key = TestKey::rsa("k");
    let (token, admin) = (
        key.sign(&claims()),
        key.sign(&with(json!({"sub": "admin"}))),
    );
    let signature = token.rsplit('.').next().unwrap();
    let message = admin.rsplit_once('.').unwrap().0;
    for signature in [signature, "", "AAAA"] {
        let forged = format!("{message}.{signature}");
        assert_eq!(outcome(&forged, &keys(&[&key])), Err(JwtError::Signature));
    }
}

#[test]
fn tokens_without_signature_are_refused() {
    let key = TestKey::rsa("k");
    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({"alg": algorithm, "kid": "k"}).to_string();
        let signed = key.sign_parts(&header, &claims().to_string());
        let message = signed.rsplit_once('.').unwrap().0;
        for token in [format!("{message}."), signed.clone()] {
            assert_eq!(outcome(&token, &keys(&[&key])), Err(JwtError::Malformed));
        }
    }
}

#[test]
fn a_public_key_is_no_secret_of_an_hmac() {
    for key in [TestKey::rsa("k"), TestKey::ec("k"), TestKey::ed("k")] {
        let header = json!({"alg": "HS256", "kid": "k"}).to_string();
        let message = [header, claims().to_string()].map(|part| base64url(part.as_bytes()));
        let message = message.join(".");
        let jwk = key.jwk();
        for secret in [jwk["n"].as_str(), jwk["x"].as_str(), Some(&jwk.to_string())] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or_default().as_bytes());
            let signature = hmac::sign(&secret, message.as_bytes());
            let token = format!("{message}.{}", base64url(signature.as_ref()));
            assert_eq!(outcome(&token, &keys(&[&key])), Err(JwtError::Algorithm));
        }
    }
    let secret = json!({"keys": [{"kty": "oct", "k": base64url(b"secret"), "kid": "k"}]});
    let error = KeySet::parse(secret.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, KeySetError::NoKeys { .. }), "{error}");
}

#[test]
fn an_algorithm_must_be_that_of_the_key() {
    let all = [TestKey::rsa("r"), TestKey::ec("e"), TestKey::ed("d")];
    let set = keys(&all.each_ref());
    for signer in &all {
        for named in &all {
            for algorithm in ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
                let header = json!({"alg": algorithm, "kid": named.id}).to_string();
                let token = signer.sign_parts(&header, &claims().to_string());
                let is_own = signer.id == named.id && signer.algorithm() == algorithm;
                let outcome = outcome(&token, &set);
                assert_eq!(outcome.is_ok(), is_own, "{algorithm} {outcome:?}");
                if named.algorithm() != algorithm {
                    assert_eq!(outcome, Err(JwtError::Algorithm));
                }
            }
        }
    }
}

#[test]
fn the_policy_restricts_the_algorithms() {
    let key = TestKey::ec("k");
    let mut issuer = issuer();
    issuer.algorithms = vec![Algorithm::Rs256];
    let refused = verify(&key.sign(&claims()), &issuer, &keys(&[&key]), at(NOW));
    assert_eq!(refused, Err(JwtError::Algorithm));
}

#[test]
fn the_key_id_selects_the_key() {
    let (one, two) = (TestKey::ed("1"), TestKey::ed("2"));
    let both = keys(&[&one, &two]);
    assert_eq!(outcome(&two.sign(&claims()), &both), Ok("alice".into()));
    assert_eq!(
        outcome(&two.sign(&claims()), &keys(&[&one])),
        Err(JwtError::UnknownKey)
    );
    let header = |id: &str| json!({"alg": "EdDSA", "kid": id}).to_string();
    let token = two.sign_parts(&header("1"), &claims().to_string());
    assert_eq!(outcome(&token, &both), Err(JwtError::Signature));
    // Without an id, the first few keys of the type are tried.
    let token = two.sign_parts(r#"{"alg":"EdDSA"}"#, &claims().to_string());
    assert_eq!(outcome(&token, &both), Ok("alice".into()));
    let others: Vec<_> = (0..4).map(|id| TestKey::ed(&id.to_string())).collect();
    let others: Vec<_> = others.iter().chain([&two]).collect();
    assert_eq!(outcome(&token, &keys(&others)), Err(JwtError::Signature));
    assert_eq!(
        outcome(&token, &keys(&[&TestKey::rsa("r")])),
        Err(JwtError::UnknownKey)
    );
}

#[test]
fn each_claim_is_checked_by_itself() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    use JwtError::{Audience, Claim, Expired, Issuer, Malformed, Missing, Name, NotYetValid};
    for (changes, error) in [
        (json!({"iss": null}), Missing("iss")),
        (json!({"iss": "https://issuer.example/"}), Issuer),
        (json!({"iss": ["https://issuer.example"]}), Claim("iss")),
        (
            json!({"iss": ["https://issuer.example", "x"]}),
            Claim("iss"),
        ),
        (json!({"iss": 1}), Claim("iss")),
        (json!({"aud": null}), Missing("aud")),
        (json!({"aud": "other"}), Audience),
        (json!({"aud": ["a", "b"]}), Audience),
        (json!({"aud": []}), Audience),
        (json!({"aud": ["ipvsd", 1]}), Claim("aud")),
        (json!({"aud": {"ipvsd": 1}}), Claim("aud")),
        (json!({"exp": null}), Missing("exp")),
        (json!({"exp": NOW - HOUR}), Expired),
        (json!({"exp": 0}), Expired),
        (json!({"exp": (NOW + HOUR).to_string()}), Claim("exp")),
        (json!({"exp": [NOW + HOUR]}), Malformed),
        (json!({"exp": true}), Claim("exp")),
        (json!({"exp": -1}), Claim("exp")),
        (json!({"exp": (NOW + HOUR) * 1000}), Claim("exp")),
        (json!({"exp": 1e300}), Claim("exp")),
        (json!({"nbf": NOW + HOUR}), NotYetValid("nbf")),
        (json!({"nbf": "0"}), Claim("nbf")),
        (json!({"iat": NOW + HOUR}), NotYetValid("iat")),
        (json!({"iat": "0"}), Claim("iat")),
        (json!({"sub": null}), Name),
        (json!({"sub": ""}), Name),
        (json!({"sub": 5}), Name),
        (json!({"sub": "a\nb"}), Name),
        (json!({"sub": "a\u{2028}b\u{202e}"}), Name),
        (json!({"sub": "a".repeat(513)}), Name),
    ] {
        let token = key.sign(&with(changes.clone()));
        assert_eq!(outcome(&token, &keys), Err(error), "{changes}");
        let text = error.to_string();
        assert!(!text.contains("alice") && !text.contains(&token), "{text}");
    }
    for changes in [
        json!({"aud": ["x", "lb1"]}),
        json!({"nbf": null, "iat": null}),
        json!({"exp": NOW as f64 + 0.5}),
        json!({"sub": "system:serviceaccount:kube-system:ipvs-controller"}),
    ] {
        let token = key.sign(&with(changes.clone()));
        assert!(outcome(&token, &keys).is_ok(), "{changes}");
    }
}

#[test]
fn a_claim_that_is_null_or_repeated_is_not_accepted() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    let header = r#"{"alg":"EdDSA","kid":"k"}"#;
    let text = claims().to_string();
    let expired = format!(r#"{{"exp":{},{}"#, NOW - HOUR, &text[1..]);
    assert_eq!(
        outcome(&key.sign_parts(header, &expired), &keys),
        Err(JwtError::Malformed)
    );
    for name in ["iss", "aud", "exp", "sub", "nbf"] {
        let mut claims = claims();
        claims[name] = Value::Null;
        let token = key.sign_parts(header, &claims.to_string());
        assert!(outcome(&token, &keys).is_err(), "{name}");
    }
}

#[test]
fn times_have_the_leeway_of_the_issuer_and_no_more() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    for leeway in [0, 60, 300] {
        let mut issuer = issuer();
        issuer.leeway_seconds = leeway;
        let outcome = |changes: Value, now: SystemTime| {
            verify(&key.sign(&with(changes)), &issuer, &keys, now).map(|token| token.expires)
        };
        let end = NOW + leeway;
        let expiry = json!({"exp": NOW});
        assert_eq!(
            outcome(expiry.clone(), at(end) - Duration::from_nanos(1)),
            Ok(at(end))
        );
        assert_eq!(outcome(expiry, at(end)), Err(JwtError::Expired));
        // A part of a second counts against the token.
        let expiry = json!({"exp": NOW as f64 + 0.9});
        assert_eq!(outcome(expiry, at(end)), Err(JwtError::Expired));
        for name in ["nbf", "iat"] {
            let begin = json!({name: NOW});
            assert!(outcome(begin.clone(), at(NOW - leeway)).is_ok());
            let before = at(NOW - leeway) - Duration::from_nanos(1);
            assert_eq!(outcome(begin, before), Err(JwtError::NotYetValid(name)));
            let begin = json!({name: NOW as f64 + 0.1});
            let before = at(NOW - leeway);
            assert_eq!(outcome(begin, before), Err(JwtError::NotYetValid(name)));
        }
    }
}

#[test]
fn the_first_rule_that_matches_is_granted() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    let issuer = issuer();
    for (changes, grant) in [
        (
            json!({"realm_access": {"roles": ["a", "lb-admin"]}}),
            Some("admin"),
        ),
        (
            json!({"realm_access": {"roles": ["lb-admin"]}, "groups": "ops"}),
            Some("admin"),
        ),
        (
            json!({"kubernetes.io": {"serviceaccount": {"name": "ipvs-controller"}}}),
            Some("editor"),
        ),
        (json!({"groups": "ops"}), Some("operator")),
        (json!({"groups": ["ops"]}), Some("operator")),
        (json!({"groups": "ops dev"}), None),
        (json!({"roles": ["lb-admin"]}), None),
        (json!({"realm_access.roles": ["lb-admin"]}), Some("admin")),
        (json!({}), None),
    ] {
        let token = key.sign(&with(changes.clone()));
        let token = verify(&token, &issuer, &keys, at(NOW)).unwrap();
        assert_eq!(token.grant.copied(), grant, "{changes}");
    }
}

#[test]
fn the_name_is_that_of_the_configured_claim() {
    let key = TestKey::ed("k");
    let mut issuer = issuer();
    issuer.name_claim = "kubernetes.io.serviceaccount.name".into();
    let token = key.sign(&with(
        json!({"kubernetes.io": {"serviceaccount": {"name": "c"}}}),
    ));
    let verified = verify(&token, &issuer, &keys(&[&key]), at(NOW)).unwrap();
    assert_eq!(verified.name, "c");
    let without = verify(&key.sign(&claims()), &issuer, &keys(&[&key]), at(NOW));
    assert_eq!(without, Err(JwtError::Name));
}

#[test]
fn headers_with_extensions_or_of_other_kinds_are_refused() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    for (header, expected) in [
        (
            json!({"crit": ["b64"], "b64": false}),
            Err(JwtError::Critical),
        ),
        (json!({"crit": []}), Err(JwtError::Critical)),
        (json!({"typ": "logout+jwt"}), Err(JwtError::Type)),
        (json!({"typ": "at+JWT"}), Ok("alice".into())),
        (json!({"typ": "application/at+jwt"}), Ok("alice".into())),
        (json!({"x": {"y": [1, 2]}}), Ok("alice".into())),
        // Keys within the token are not used.
        (
            json!({"jwk": TestKey::ed("k").jwk(), "jku": "https://a"}),
            Ok("alice".into()),
        ),
    ] {
        let mut all = json!({"alg": "EdDSA", "kid": "k"});
        all.as_object_mut()
            .unwrap()
            .extend(header.as_object().unwrap().clone());
        let token = key.sign_parts(&all.to_string(), &claims().to_string());
        assert_eq!(outcome(&token, &keys), expected, "{header}");
    }
}

#[test]
fn a_long_token_is_refused_before_any_work() {
    let key = TestKey::ed("k");
    let keys = keys(&[&key]);
    let long = |length| key.sign(&with(json!({"x": "x".repeat(length)})));
    assert!(outcome(&long(11_000), &keys).is_ok());
    assert_eq!(outcome(&long(12_500), &keys), Err(JwtError::TooLong));
    assert_eq!(unverified_issuer(&long(12_500)), Err(JwtError::TooLong));
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let token = key.sign_parts(r#"{"alg":"EdDSA","kid":"k"}"#, &deep);
    assert_eq!(outcome(&token, &keys), Err(JwtError::Malformed));
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    let key = TestKey::ed("k");
    let token = key.sign(&claims());
    let padded = format!("{token}=");
    let more = format!("{token}.{token}");
    let parts: Vec<_> = token.split('.').collect();
    let swapped = [parts[1], parts[0], parts[2]].join(".");
    let line = format!("{token}\n");
    for text in [
        "", ".", "..", "...", "a.b.c", "{}", "é.é.é", &padded, &more, &swapped, &line,
    ] {
        assert_eq!(
            outcome(text, &keys(&[&key])),
            Err(JwtError::Malformed),
            "{text:?}"
        );
    }
}

#[test]
fn the_issuer_is_read_before_verification() {
    let key = TestKey::ed("k");
    let token = key.sign(&claims());
    assert_eq!(
        unverified_issuer(&token),
        Ok("https://issuer.example".into())
    );
    let without = key.sign(&with(json!({"iss": null})));
    assert_eq!(unverified_issuer(&without), Err(JwtError::Missing("iss")));
    let wrong = key.sign(&with(json!({"iss": 5})));
    assert_eq!(unverified_issuer(&wrong), Err(JwtError::Malformed));
}

proptest! {
    #![proptest_config(Config { cases: 80_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_random_text_is_a_token(text in "\\PC{0,40}|[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,86}") {
        thread_local!(static KEYS: KeySet = keys(&[&TestKey::ed("k")]));
        let outcome = KEYS.with(|keys| outcome(&text, keys));
        prop_assert!(outcome.is_err());
        unverified_issuer(&text).unwrap_err();
    }

}

proptest! {
    #![proptest_config(Config { cases: 20_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_mutated_token_is_verified(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..64), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        kind in 0_usize..3,
    ) {
        thread_local!(static STATE: (KeySet, [String; 3]) = {
            let all = [TestKey::rsa("r"), TestKey::ec("e"), TestKey::ed("d")];
            (keys(&all.each_ref()), all.each_ref().map(|key| key.sign(&claims())))
        });
        STATE.with(|(keys, tokens)| {
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
            let mut token = tokens[kind].clone().into_bytes();
            for (index, digit) in &changes {
                let index = index.index(token.len());
                token[index] = digits[*digit];
            }
            if let Some(cut) = &cut {
                token.truncate(cut.index(token.len()));
            }
            let token = String::from_utf8(token).unwrap();
            prop_assume!(token != tokens[kind]);
            prop_assert!(outcome(&token, keys).is_err(), "{token}");
            Ok(())
        })?;
    }
}
