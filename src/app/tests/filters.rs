use super::*;

#[tokio::test]
async fn filters_let_pass_what_has_all_that_they_name() {
    let (_, app) = house();
    for service in [
        "tcp-10.0.0.1-80",
        "udp-10.0.0.1-80",
        "tcp-2001:db8::1-443",
        "fwmark-80",
    ] {
        make(&app, service, &[]).await;
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
    let any = Filter::default;
    for (filter, expected) in [
        (
            Filter {
                protocol: Some(Protocol::Tcp),
                ..any()
            },
            &["tcp-10.0.0.1-80", "tcp-2001:db8::1-443"][..],
        ),
        (
            Filter {
                address: Some("10.0.0.1".parse().unwrap()),
                ..any()
            },
            &["tcp-10.0.0.1-80", "udp-10.0.0.1-80"],
        ),
        (
            Filter {
                port: Some(443),
                ..any()
            },
            &["tcp-2001:db8::1-443"],
        ),
        (
            Filter {
                fwmark: Some(80),
                ..any()
            },
            &["fwmark-80", "fwmark6-80"],
        ),
        (
            Filter {
                scheduler: Some("wlc".to_owned()),
                ..any()
            },
            &["fwmark6-80"],
        ),
        (
            Filter {
                fwmark: Some(80),
                port: Some(80),
                ..any()
            },
            &[],
        ),
        (
            Filter {
                protocol: Some(Protocol::Udp),
                port: Some(80),
                ..any()
            },
            &["udp-10.0.0.1-80"],
        ),
    ] {
        let page = list(filter.clone()).await.unwrap().value;
        let told: Vec<_> = page
            .iter()
            .map(|entry| entry.service.key.to_string())
            .collect();
        assert_eq!(told, expected, "{filter:?}");
        assert_eq!(page.is_empty(), expected.is_empty());
    }
}
