use super::*;

/// Accounts of the tests.
struct Known;

impl Accounts for Known {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "haproxy").then_some(105)
    }

    fn group(&self, name: &str) -> Option<u32> {
        [("ipvsd", 990), ("netops", 1200)]
            .into_iter()
            .find_map(|(known, id)| (known == name).then_some(id))
    }

    fn own_user(&self) -> u32 {
        991
    }
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, &Known)
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn name(entry: Option<&Entry>) -> Option<&str> {
    entry.map(|entry| entry.principal.name.as_str())
}

#[test]
fn without_entries_for_unix_root_the_daemon_and_the_group_are_administrators() {
    for policy in [Policy::without_document(&Known), parse("").unwrap()] {
        assert_eq!(name(policy.unix(0, 0, &[])), Some("root"));
        assert_eq!(name(policy.unix(991, 991, &[])), Some("uid:991"));
        assert_eq!(
            name(policy.unix(1000, 1000, &[4, 990])),
            Some("group:ipvsd")
        );
        assert_eq!(name(policy.unix(1000, 990, &[])), Some("group:ipvsd"));
        assert_eq!(policy.unix(1000, 1000, &[4, 1200]), None);
        let role = policy.unix(0, 0, &[]).unwrap().principal.role();
        assert_eq!(role, Some(Role::Admin));
    }
}

#[test]
fn entries_for_unix_replace_the_defaults_except_root() {
    let policy = parse(
        "[[unix]]\nuser = 'haproxy'\nrole = 'operator'\n\
         [[unix]]\ngroup = 'netops'\nrole = 'editor'\nname = 'network'\n\
         [[unix]]\ngroup = 7\nrole = 'viewer'\n",
    )
    .unwrap();
    assert_eq!(name(policy.unix(0, 0, &[])), Some("root"));
    assert_eq!(name(policy.unix(105, 105, &[1200])), Some("user:haproxy"));
    assert_eq!(name(policy.unix(1000, 1000, &[1200])), Some("network"));
    assert_eq!(name(policy.unix(1000, 7, &[])), Some("gid:7"));
    assert_eq!(policy.unix(1000, 990, &[]), None);
}

#[test]
fn a_token_is_found_by_its_hash() {
    let text = format!(
        "[[token]]\nname = 'grafana'\nsha256 = '{}'\nrole = 'viewer'\nexpires = 2027-01-01T00:00:00Z\n\
         scope = [{{address = '192.0.2.0/24'}}]\nscope_reads = true\n",
        TokenHash::of("secret")
    );
    let policy = parse(&text).unwrap();
    let entry = policy.token(&TokenHash::of("secret")).unwrap();
    assert_eq!(entry.principal.name, "grafana");
    assert_eq!(entry.expires, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    let shown = serde_json::to_value(&*entry.principal).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({"name": "grafana", "kind": "token", "role": "viewer",
                           "scope": [{"address": "192.0.2.0/24"}], "scope_reads": true})
    );
    assert_eq!(policy.token(&TokenHash::of("Secret")), None);
}

#[test]
fn a_certificate_is_matched_by_one_of_its_names() {
    let policy = parse(
        "[[certificate]]\nuri = 'spiffe://example.org/controller'\nrole = 'editor'\n\
         [[certificate]]\ndns = 'Grafana.example.org'\nname = 'grafana'\nrole = 'viewer'\n\
         [[certificate]]\ncommon_name = 'alice'\nrole = 'admin'\n",
    )
    .unwrap();
    let found = |change: fn(&mut CertificateIdentity)| {
        let mut certificate = CertificateIdentity::default();
        change(&mut certificate);
        name(policy.certificate(&certificate)).map(str::to_owned)
    };
    let uri = found(|c| c.uris = vec!["x".into(), "spiffe://example.org/controller".into()]);
    assert_eq!(uri.as_deref(), Some("spiffe://example.org/controller"));
    let dns = found(|c| c.dns = vec!["grafana.EXAMPLE.org".into()]);
    assert_eq!(dns.as_deref(), Some("grafana"));
    // A name of another kind is another name.
    assert_eq!(found(|c| c.dns = vec!["alice".into()]), None);
    assert_eq!(found(|c| c.subject = "CN=alice".into()), None);
    assert_eq!(found(|_| ()), None);
}

#[test]
fn errors_have_line_and_key() {
    let hash = TokenHash::of("secret");
    let token = format!("[[token]]\nname = 'a'\nsha256 = '{hash}'\nrole = 'viewer'\n");
    for (text, expected) in [
        ("tokens = 1".to_owned(), "line 1: "),
        ("[[token]]\nname = 'a'\n[[".to_owned(), "line 3: "),
        (token.replace("viewer", "root"), "line 4: token[0].role: "),
        (
            token.replace("'a'", "\"a\\n\""),
            "line 2: token[0].name: a name must",
        ),
        (
            token.replace("'a'", "''"),
            "line 2: token[0].name: a name must",
        ),
        (
            token.replace(&hash.to_string(), "abc"),
            "line 3: token[0].sha256: not a SHA-256",
        ),
        (
            format!("{token}expires = 2027-01-01\n"),
            "line 5: token[0].expires: 2027-01-01 is not",
        ),
        (
            format!("{token}expired = 1\n"),
            "line 5: token[0].expired: unknown field",
        ),
        (
            format!("{token}scope = [{{}}]\n"),
            "line 5: token[0].scope[0]: a rule of a scope",
        ),
        (
            format!("{token}{token}"),
            "token[1]: sha256 is that of the token \"a\", too",
        ),
        (
            "[[certificate]]\nrole = 'viewer'\n".to_owned(),
            "line 1: certificate[0]: exactly one",
        ),
        (
            "[[certificate]]\ndns = 'a'\nuri = 'b'\nrole = 'viewer'\n".to_owned(),
            "certificate[0]: exactly one",
        ),
        (
            "[[unix]]\nuser = 'eve'\nrole = 'viewer'\n".to_owned(),
            "unix[0]: user: there is no user",
        ),
        (
            "[[unix]]\nrole = 'viewer'\n".to_owned(),
            "unix[0]: exactly one of user and group",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}
