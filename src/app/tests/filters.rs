//! Filters of service lists.

use super::*;

#[tokio::test]
async fn a_filter_matches_services_with_all_its_fields() {
    let (_, app) = setup();
    for service in [
        "tcp-10.0.0.1-80",
        "udp-10.0.0.1-80",
        "tcp-2001:db8::1-443",
        "fwmark-80",
    ] {
        create_service(&app, service, &[]).await;
    }
    let wlc = draft(json!({"id": "fwmark6-80", "scheduler": "wlc"}));
    app.create_service(context(), wlc).await.unwrap();
    let list = |filter| {
        let list = ListServices {
            filter,
            ..ListServices::default()
        };
        app.list_services(context(), list)
    };
    let no_filter = Filter::default;
    for (filter, expected) in [
        (
            Filter {
                protocol: Some(Protocol::Tcp),
                ..no_filter()
            },
            &["tcp-10.0.0.1-80", "tcp-2001:db8::1-443"][..],
        ),
        (
            Filter {
                address: Some("10.0.0.1".parse().unwrap()),
                ..no_filter()
            },
            &["tcp-10.0.0.1-80", "udp-10.0.0.1-80"],
        ),
        (
            Filter {
                port: Some(443),
                ..no_filter()
            },
            &["tcp-2001:db8::1-443"],
        ),
        (
            Filter {
                fwmark: Some(80),
                ..no_filter()
            },
            &["fwmark-80", "fwmark6-80"],
        ),
        (
            Filter {
                scheduler: Some("wlc".to_owned()),
                ..no_filter()
            },
            &["fwmark6-80"],
        ),
        (
            Filter {
                fwmark: Some(80),
                port: Some(80),
                ..no_filter()
            },
            &[],
        ),
        (
            Filter {
                protocol: Some(Protocol::Udp),
                port: Some(80),
                ..no_filter()
            },
            &["udp-10.0.0.1-80"],
        ),
    ] {
        let page = list(filter.clone()).await.unwrap().value;
        let found: Vec<_> = page
            .iter()
            .map(|entry| entry.service.key.to_string())
            .collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(page.is_empty(), expected.is_empty());
    }
}
