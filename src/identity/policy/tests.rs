use super::{
    super::jwt::{Algorithm, KeyLocation},
    *,
};

/// Accounts of the tests.
struct Known;

impl Accounts for Known {
    fn user(&self, name: &str) -> Option<u32> {
        let known = [("haproxy", 105), ("root", 0), ("nobody", 65534)];
        known
            .into_iter()
            .find_map(|(known, id)| (known == name).then_some(id))
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

/// Accounts whose ids are all overflow ids.
struct Unmapped;

impl Accounts for Unmapped {
    fn user(&self, _: &str) -> Option<u32> {
        Some(70000)
    }

    fn group(&self, _: &str) -> Option<u32> {
        Some(70001)
    }

    fn own_user(&self) -> u32 {
        70000
    }

    fn overflow_user(&self) -> u32 {
        70000
    }

    fn overflow_group(&self) -> u32 {
        70001
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
fn overflow_ids_are_nobodys() {
    for policy in [
        Policy::without_document(&Unmapped),
        Policy::parse("", &Unmapped).unwrap(),
    ] {
        assert_eq!(policy.unix(70000, 70001, &[70001]), None);
        assert_eq!(name(policy.unix(0, 0, &[])), Some("root"));
    }
    for account in ["user = 70000", "user = 'a'", "group = 70001", "group = 'a'"] {
        let text = format!("\n[[unix]]\n{account}\nrole = 'viewer'\n");
        let error = Policy::parse(&text, &Unmapped).unwrap_err().to_string();
        let key = account.split(' ').next().unwrap();
        let expected = format!("line 2: unix[0]: {key}: the kernel shows the id 7000");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn an_entry_for_root_may_only_say_what_is_so() {
    let policy = parse("[[unix]]\nuser = 'root'\nrole = 'admin'\n").unwrap();
    let root = &policy.unix(0, 0, &[]).unwrap().principal;
    assert_eq!(root.role(), Some(Role::Admin));
    for user in ["'root'", "0"] {
        let entry = format!("[[unix]]\nuser = {user}\n");
        assert_eq!(
            error(&format!("{entry}role = 'viewer'\n")),
            "line 1: unix[0]: role: root always has the role admin"
        );
        for scope in ["[]", "[{ports = '80'}]"] {
            assert_eq!(
                error(&format!("{entry}role = 'admin'\nscope = {scope}\n")),
                "line 1: unix[0]: scope: root always has the role admin, without a scope"
            );
        }
    }
}

#[test]
fn a_token_is_found_by_its_hash() {
    let text = format!(
        "[[token]]\nname = 'grafana'\nsha256 = '{}'\nrole = 'viewer'\nexpires = 2027-01-01T00:00:00Z\n\
         scope = [{{address = '192.0.2.0/24'}}]\nscope_reads = true\n",
        Sha256::of(b"secret")
    );
    let policy = parse(&text).unwrap();
    let entry = policy.token(&Sha256::of(b"secret")).unwrap();
    assert_eq!(entry.principal.name, "grafana");
    assert_eq!(entry.expires, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    let shown = serde_json::to_value(&*entry.principal).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({"name": "grafana", "kind": "token", "role": "viewer",
                           "scope": [{"address": "192.0.2.0/24"}], "scope_reads": true})
    );
    assert_eq!(policy.token(&Sha256::of(b"Secret")), None);
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
    let hash = Sha256::of(b"secret");
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
            token.replace("'a'", "\"a\\u202E\""),
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
            "[[unix]]\nuser = 65534\nrole = 'viewer'\n".to_owned(),
            "line 1: unix[0]: user: the kernel shows the id 65534",
        ),
        (
            "[[unix]]\nuser = 'nobody'\nrole = 'viewer'\n".to_owned(),
            "line 1: unix[0]: user: the kernel shows the id 65534",
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

const JWT: &str = r#"
[[jwt]]
issuer = "https://kubernetes.default.svc.cluster.local"
audience = "ipvsd"
jwks_file = "/etc/ipvsd/keys.json"
[[jwt.role]]
claim = "kubernetes.io.serviceaccount.name"
value = "ipvs-controller"
role = "editor"
scope = [{ fwmark = "100-199" }]
[[jwt.role]]
claim = "groups"
value = "ops"
role = "operator"

[[jwt]]
issuer = "https://keycloak.example.com/realms/lb"
audience = ["ipvsd", "lb1"]
jwks_url = "https://keycloak.example.com/realms/lb/protocol/openid-connect/certs"
ca = "/etc/ipvsd/ca.pem"
algorithms = ["RS256"]
leeway_seconds = 0
name_claim = "preferred_username"
[[jwt.role]]
claim = "realm_access.roles"
value = "lb-admin"
role = "admin"
"#;

#[test]
fn identity_providers_have_keys_and_roles() {
    let policy = parse(JWT).unwrap();
    let [kubernetes, keycloak] = policy.jwt_issuers() else {
        panic!("{policy:?}")
    };
    assert_eq!(
        kubernetes.keys,
        KeyLocation::File("/etc/ipvsd/keys.json".into())
    );
    let issuer = &kubernetes.issuer;
    assert_eq!(issuer.audiences, ["ipvsd"]);
    assert_eq!(
        (issuer.leeway_seconds, issuer.name_claim.as_str()),
        (60, "sub")
    );
    assert_eq!(issuer.algorithms, Algorithm::ALL);
    assert_eq!(issuer.roles[0].grant.role, Role::Editor);
    assert_ne!(issuer.roles[0].grant.scope, Scope::default());
    assert_eq!(issuer.roles[1].grant, Grant::of(Role::Operator));
    let KeyLocation::Url { url, ca } = &keycloak.keys else {
        panic!("{keycloak:?}")
    };
    assert_eq!(url.uri().host(), Some("keycloak.example.com"));
    assert_eq!(ca.as_deref(), Some("/etc/ipvsd/ca.pem".as_ref()));
    let issuer = &keycloak.issuer;
    assert_eq!(issuer.audiences, ["ipvsd", "lb1"]);
    assert_eq!(issuer.algorithms, [Algorithm::Rs256]);
    assert_eq!(issuer.leeway_seconds, 0);
    assert_eq!(issuer.name_claim, "preferred_username");
}

#[test]
fn the_shipped_policy_shows_valid_entries() {
    let text = include_str!("../../../deploy/policy.toml");
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let policy = parse(&text).unwrap();
    assert_eq!(policy.jwt_issuers().len(), 2);
    assert_eq!(policy.tokens.len(), 1);
}

#[test]
fn errors_of_identity_providers_have_line_and_key() {
    let one = JWT.split("\n\n").next().unwrap();
    assert!(parse(one).is_ok());
    let file = "jwks_file = \"/etc/ipvsd/keys.json\"";
    let url = |url: &str| one.replace(file, &format!("jwks_url = \"{url}\""));
    let roles = one.split("[[jwt.role]]").next().unwrap();
    for (text, expected) in [
        (
            one.replace("\"ipvsd\"", "5"),
            "line 4: jwt[0].audience: expected a string",
        ),
        (
            one.replace("\"ipvsd\"", "[]"),
            "line 2: jwt[0]: audience: expected one or more",
        ),
        (
            one.replace("\"ipvsd\"", "[\"\"]"),
            "jwt[0]: audience: expected one or more",
        ),
        (
            one.replace(file, ""),
            "line 2: jwt[0]: exactly one of jwks_file and jwks_url",
        ),
        (
            one.replace(file, &format!("{file}\nca = \"a\"")),
            "jwt[0]: ca: it is used with",
        ),
        (
            url("http://a.example/"),
            "line 5: jwt[0].jwks_url: http:// is accepted for this machine",
        ),
        (
            url("https://u:p@a.example/"),
            "line 5: jwt[0].jwks_url: a URL of keys has no user",
        ),
        (
            one.replace(file, &format!("{file}\nalgorithms = [\"HS256\"]")),
            "jwt[0].algorithms[0]: unknown variant",
        ),
        (
            one.replace(file, &format!("{file}\nalgorithms = []")),
            "jwt[0]: algorithms: expected some of",
        ),
        (
            one.replace(file, &format!("{file}\nleeway_seconds = 301")),
            "jwt[0]: leeway_seconds: expected 0 to 300",
        ),
        (
            one.replace("\"editor\"", "\"root\""),
            "line 9: jwt[0].role[0].role: ",
        ),
        (
            one.replace("\"ops\"", "\"\""),
            "jwt[0]: role[1]: claim and value",
        ),
        (
            one.replace("claim = \"groups\"", "claims = \"groups\""),
            "jwt[0].role[1].claims: unknown field",
        ),
        (roles.to_owned(), "jwt[0]: role: expected 1 to 1000 tables"),
        (
            format!("{one}\n{one}"),
            "jwt[1]: issuer: it has an entry already",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}
