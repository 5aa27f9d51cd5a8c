use proptest::prelude::*;

use super::*;
use crate::{
    identity::{CredentialKind, Scope},
    model::{ServerConfig, ServerKey},
};

const INSIDE: &str = "tcp-192.0.2.1-80";
const OUTSIDE: &str = "tcp-198.51.100.1-80";

fn service(id: &str) -> ServiceKey {
    id.parse().unwrap()
}

fn server() -> ServerKey {
    "192.168.10.1-80".parse().unwrap()
}

fn scope(json: &str) -> Scope {
    serde_json::from_str(json).unwrap()
}

fn principal(role: Role, scope: Scope, scope_reads: bool) -> Principal {
    Principal {
        name: "someone".to_owned(),
        kind: CredentialKind::Token,
        grant: Some(Grant {
            role,
            scope,
            scope_reads,
        }),
    }
}

fn scoped(role: Role) -> Principal {
    let scope = scope(r#"[{"address": "192.0.2.0/24"}]"#);
    principal(role, scope, false)
}

fn weight(weight: u32) -> ServerConfig {
    ServerConfig {
        weight,
        ..ServerConfig::default()
    }
}

fn set_server(id: &str, config: ServerConfig) -> Op {
    Op::SetServer(service(id), server(), config)
}

#[test]
fn a_principal_without_a_grant_may_do_nothing() {
    let anonymous = Principal::anonymous();
    for verb in Verb::ALL {
        for dry_run in [false, true] {
            let refusal = anonymous.may(verb, None, dry_run).unwrap_err();
            assert_eq!(refusal.reason, Reason::Unauthenticated);
        }
    }
    assert!(anonymous.may_list().is_err());
    assert!(!anonymous.sees(service(INSIDE)));
    assert!(!anonymous.may_everything());
}

#[test]
fn only_an_administrator_without_scope_may_do_everything() {
    for verb in Verb::ALL {
        Principal::system().may(verb, None, false).unwrap();
    }
    assert!(Principal::system().may_everything());
    assert!(!scoped(Role::Admin).may_everything());
    assert!(!principal(Role::Editor, Scope::default(), false).may_everything());
}

#[test]
fn an_operator_changes_weights_and_nothing_else() {
    let operator = principal(Role::Operator, Scope::default(), false);
    let execute =
        |new: Op, old: Option<Op>| operator.may_execute([(&new, old.as_ref())].into_iter(), false);
    let old = set_server(INSIDE, weight(1));
    execute(set_server(INSIDE, weight(5)), Some(old.clone())).unwrap();
    let other = ServerConfig {
        upper_threshold: 7,
        ..weight(5)
    };
    let refusal = execute(set_server(INSIDE, other), Some(old.clone())).unwrap_err();
    assert!(refusal.detail.contains("update_server"), "{refusal}");
    // What it was before is unknown, or is that of another server.
    execute(set_server(INSIDE, weight(5)), None).unwrap_err();
    execute(
        set_server(INSIDE, weight(5)),
        Some(set_server(OUTSIDE, weight(1))),
    )
    .unwrap_err();
    execute(Op::DeleteService(service(INSIDE)), None).unwrap_err();
    execute(Op::ZeroService(service(INSIDE)), None).unwrap();
    execute(Op::ZeroAll, None).unwrap();
}

#[test]
fn a_change_that_reaches_outside_of_the_scope_is_refused_as_a_whole() {
    let editor = scoped(Role::Editor);
    let inside = Op::DeleteService(service(INSIDE));
    let outside = Op::DeleteService(service(OUTSIDE));
    editor
        .may_execute([(&inside, None)].into_iter(), false)
        .unwrap();
    let both = [(&inside, None), (&outside, None), (&outside, None)];
    let refusal = editor.may_execute(both.into_iter(), false).unwrap_err();
    assert_eq!(refusal.reason, Reason::PermissionDenied);
    let listed: Vec<_> = refusal.violations.iter().map(|v| &v.message).collect();
    assert_eq!(listed, [OUTSIDE]);
    // A dry run changes nothing, and the principal may read everything.
    editor.may_execute(both.into_iter(), true).unwrap();
}

#[test]
fn a_refusal_does_not_confirm_services_that_the_principal_may_not_read() {
    let editor = principal(Role::Editor, scope(r#"[{"fwmark": "1"}]"#), true);
    let outside = Op::DeleteService(service(OUTSIDE));
    let refusal = editor.may_execute([(&outside, None)].into_iter(), false);
    assert_eq!(refusal.unwrap_err().violations, []);
    editor
        .may_execute([(&outside, None)].into_iter(), true)
        .unwrap_err();
}

#[test]
fn a_principal_with_a_scope_may_do_nothing_to_the_director() {
    let admin = scoped(Role::Admin);
    for verb in Verb::ALL.into_iter().filter(|verb| verb.is_write()) {
        let may = admin.may(verb, Some(service(INSIDE)), false);
        assert_eq!(may.is_ok(), verb.extent() != Extent::Director, "{verb}");
    }
    let zero = [(&Op::ZeroAll, None)];
    admin.may_execute(zero.into_iter(), false).unwrap_err();
}

#[test]
fn the_scope_of_reads_applies_if_the_policy_says_so() {
    let rules = r#"[{"address": "192.0.2.0/24"}]"#;
    for scope_reads in [false, true] {
        let viewer = principal(Role::Viewer, scope(rules), scope_reads);
        let reads = |query| viewer.may_query(&query).is_ok();
        assert!(reads(Query::Service(service(INSIDE))));
        assert_eq!(reads(Query::Service(service(OUTSIDE))), !scope_reads);
        assert_eq!(reads(Query::Table), !scope_reads);
        assert_eq!(reads(Query::Totals), !scope_reads);
        assert!(reads(Query::Info) && reads(Query::Settings) && reads(Query::Timeouts));
        assert!(!reads(Query::Connections));
        assert!(viewer.sees(service(INSIDE)) && viewer.may_list().is_ok());
        assert_eq!(viewer.sees(service(OUTSIDE)), !scope_reads);
        assert_eq!(viewer.sees_everything(), !scope_reads);
    }
}

/// The decision once more, as slow and as plain as the documentation has it.
fn documented(
    role: Option<Role>,
    rules: Option<&[&str]>,
    scope_reads: bool,
    verb: Verb,
    id: Option<&str>,
    dry_run: bool,
) -> bool {
    let viewer = ["read_info", "read_settings", "read_services", "read_table"];
    let operator = [
        "read_connections",
        "update_weight",
        "zero_service",
        "zero_all",
        "drain",
        "ramp",
        "override_health",
        "report_health",
        "apply_batch",
    ];
    let editor = [
        "create_service",
        "update_service",
        "delete_service",
        "create_server",
        "update_server",
        "delete_server",
        "apply_table",
    ];
    let name = verb.as_str();
    let Some(role) = role else { return false };
    let has_role = match role {
        Role::Admin => true,
        _ if dry_run => true,
        Role::Editor => [&viewer[..], &operator, &editor].concat().contains(&name),
        Role::Operator => [&viewer[..], &operator].concat().contains(&name),
        Role::Viewer => viewer.contains(&name),
    };
    let changes = !name.starts_with("read_") && !dry_run;
    let Some(rules) = rules else { return has_role };
    if !changes && !scope_reads {
        return has_role;
    }
    let on_services = editor.contains(&name)
        || [
            "read_services",
            "update_weight",
            "zero_service",
            "drain",
            "ramp",
            "override_health",
            "report_health",
        ]
        .contains(&name);
    has_role
        && match (name, id) {
            ("read_info" | "read_settings" | "apply_batch", _) => true,
            (_, Some(id)) if on_services => rules.iter().any(|rule| id.contains(rule)),
            _ => false,
        }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn the_decision_is_the_documented_one(
        role in proptest::option::of(proptest::sample::select(Role::ALL.to_vec())),
        rules in proptest::option::of(proptest::sample::subsequence(
            vec!["192.0.2.1", "198.51.100.1", "203.0.113.1"], 0..=3)),
        scope_reads: bool,
        verb in proptest::sample::select(Verb::ALL.to_vec()),
        id in proptest::option::of(proptest::sample::select(
            vec!["tcp-192.0.2.1-80", "tcp-198.51.100.1-80", "udp-203.0.113.1-53", "tcp-192.0.2.9-80"])),
        dry_run: bool,
    ) {
        let written = rules.as_ref().map(|rules| {
            let rules = rules.iter().map(|address| serde_json::json!({"address": address}));
            serde_json::Value::from(rules.collect::<Vec<_>>())
        });
        let grant = role.map(|role| Grant {
            role,
            scope: serde_json::from_value(written.unwrap_or_default()).unwrap(),
            scope_reads,
        });
        let principal = Principal { grant, ..principal(Role::Viewer, Scope::default(), false) };
        let decided = principal.may(verb, id.map(service), dry_run).is_ok();
        prop_assert_eq!(
            decided,
            documented(role, rules.as_deref(), scope_reads, verb, id, dry_run)
        );
    }
}
