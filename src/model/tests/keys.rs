use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn service_ids_are_canonicalised() {
    for (text, canonical) in [
        ("tcp-192.0.2.1-80", "tcp-192.0.2.1-80"),
        ("udp-192.0.2.1-0", "udp-192.0.2.1-0"),
        ("sctp-255.255.255.255-65535", "sctp-255.255.255.255-65535"),
        ("udp-2001:db8::1-53", "udp-2001:db8::1-53"),
        ("udp-[2001:db8::1]-53", "udp-2001:db8::1-53"),
        (
            "tcp-2001:0DB8:0000:0000:0000:0000:0000:0001-80",
            "tcp-2001:db8::1-80",
        ),
        ("tcp-2001:db8:0:0:1::-80", "tcp-2001:db8:0:0:1::-80"),
        ("tcp-::-1", "tcp-::-1"),
        ("tcp-::ffff:192.0.2.1-80", "tcp-::ffff:192.0.2.1-80"),
        ("fwmark-7", "fwmark-7"),
        ("fwmark-4294967295", "fwmark-4294967295"),
        ("fwmark6-1", "fwmark6-1"),
        ("6-192.0.2.1-80", "tcp-192.0.2.1-80"),
        ("47-192.0.2.1-80", "47-192.0.2.1-80"),
        ("65535-::1-80", "65535-::1-80"),
    ] {
        let key: ServiceKey = text.parse().unwrap();
        assert_eq!(key.to_string(), canonical);
        assert_eq!(canonical.parse::<ServiceKey>().unwrap(), key);
        assert_eq!(serde_json::to_value(key).unwrap(), json!(canonical));
    }
}

#[test]
fn an_invalid_service_id_is_rejected_with_examples() {
    for text in [
        "",
        "-",
        "tcp",
        "tcp-",
        "tcp-192.0.2.1",
        "tcp-192.0.2.1-",
        "tcp--80",
        "tcp-192.0.2.1-80-",
        "tcp-192.0.2.1-65536",
        "tcp-192.0.2.1-+80",
        "tcp-192.0.2.1--80",
        "tcp-192.0.2.1-0x50",
        "tcp-192.0.2.1-http",
        "tcp-192.0.2-80",
        "tcp-192.0.02.1-80",
        "tcp-[192.0.2.1]-80",
        "tcp-[2001:db8::1-80",
        "tcp-fe80::1%eth0-80",
        "tcp-example.org-80",
        "TCP-192.0.2.1-80",
        "icmp-192.0.2.1-80",
        "+6-192.0.2.1-80",
        "65536-192.0.2.1-80",
        "fwmark-",
        "fwmark-0",
        "fwmark6-0",
        "fwmark--1",
        "fwmark-+1",
        "fwmark-4294967296",
        "fwmark4-7",
        "fwmark-7-7",
        " tcp-192.0.2.1-80",
    ] {
        let error = text.parse::<ServiceKey>().unwrap_err();
        assert_eq!(error.reason, Reason::InvalidArgument, "{text}");
        assert_eq!(error.violations[0].field, "service");
        assert!(error.detail.contains("tcp-192.0.2.1-80"), "{text}");
    }
}

#[test]
fn a_server_id_is_an_address_and_a_port() {
    for (text, canonical) in [
        ("192.168.10.1-8080", "192.168.10.1-8080"),
        ("2001:DB8::a-0", "2001:db8::a-0"),
        ("[2001:db8::a]-80", "2001:db8::a-80"),
    ] {
        assert_eq!(server_key(text).to_string(), canonical);
    }
    for text in [
        "",
        "192.168.10.1",
        "192.168.10.1:80",
        "192.168.10.1-65536",
        "192.168.10.1-+8",
        "2001:db8::a",
        "host-80",
    ] {
        let error = text.parse::<ServerKey>().unwrap_err();
        assert_eq!(error.violations[0].field, "server", "{text}");
    }
}

#[test]
fn a_body_names_a_service_by_id_or_by_fields() {
    for json in [
        json!({"id": "tcp-192.0.2.1-80"}),
        json!({"protocol": "tcp", "address": "192.0.2.1", "port": 80}),
        json!({"id": "tcp-192.0.2.1-80", "protocol": "tcp", "address": "192.0.2.1", "port": 80}),
        json!({"id": "6-192.0.2.1-80", "protocol": "6", "address": "192.0.2.1", "port": 80}),
    ] {
        let named = ["id", "port"].into_iter();
        let named: Vec<_> = named.filter(|field| !json[field].is_null()).collect();
        let draft = draft(json);
        assert_eq!(draft.key().unwrap(), Some(key("tcp-192.0.2.1-80")));
        draft.check_key(key("tcp-192.0.2.1-80")).unwrap();
        let other = draft.check_key(key("tcp-192.0.2.1-81"));
        assert_eq!(fields(other), named);
    }
    let port_0 = draft(json!({"protocol": "tcp", "address": "[::1]"}));
    assert_eq!(port_0.key().unwrap(), Some(key("tcp-::1-0")));
    let mark = draft(json!({"fwmark": 4_294_967_295_u32}));
    assert_eq!(mark.key().unwrap(), Some(key("fwmark-4294967295")));
    let mark = draft(json!({"fwmark": 7, "family": "ipv6", "id": "fwmark6-7"}));
    assert_eq!(mark.key().unwrap(), Some(key("fwmark6-7")));
    assert_eq!(draft(json!({})).key().unwrap(), None);
    draft(json!({})).check_key(key("fwmark-7")).unwrap();
}

#[test]
fn violations_of_the_identity_name_the_field() {
    for (json, wrong) in [
        (json!({"id": "nonsense"}), &["id"][..]),
        (json!({"id": "fwmark-7", "fwmark": 8}), &["fwmark"]),
        (json!({"id": "nonsense", "port": -1}), &["id", "port"]),
        (json!({"port": 80}), &["protocol", "address"]),
        (
            json!({"protocol": "ip", "address": "nowhere", "port": 65536}),
            &["protocol", "address", "port"],
        ),
        (
            json!({"protocol": "tcp", "address": "192.0.2.1", "port": -1}),
            &["port"],
        ),
        (
            json!({"protocol": "tcp", "address": "192.0.2.1", "port": i64::MAX}),
            &["port"],
        ),
        (
            json!({"protocol": "tcp", "address": "192.0.2.1", "family": "ipv4"}),
            &["family"],
        ),
        (json!({"family": "ipv6"}), &["family"]),
        (json!({"fwmark": 7, "family": "inet"}), &["family"]),
        (json!({"fwmark": -1}), &["fwmark"]),
        (json!({"fwmark": 0}), &["fwmark"]),
        (json!({"fwmark": 4_294_967_296_i64}), &["fwmark"]),
        (
            json!({"fwmark": 7, "protocol": "tcp", "address": "::1", "port": 1}),
            &["protocol", "address", "port"],
        ),
    ] {
        let text = json.to_string();
        assert_eq!(fields(draft(json).key()), wrong, "{text}");
    }
}

#[test]
fn the_port_of_a_server_defaults_to_that_of_the_service_or_the_path() {
    let service = key("tcp-192.0.2.1-80");
    let of = |json, service| server(json).key(service).unwrap().unwrap().to_string();
    assert_eq!(of(json!({"address": "10.0.0.1"}), service), "10.0.0.1-80");
    assert_eq!(
        of(json!({"address": "10.0.0.1"}), key("fwmark-7")),
        "10.0.0.1-0"
    );
    assert_eq!(
        of(json!({"address": "10.0.0.1", "port": 0}), service),
        "10.0.0.1-0"
    );
    assert_eq!(of(json!({"id": "10.0.0.1-8080"}), service), "10.0.0.1-8080");
    assert_eq!(
        of(
            json!({"id": "10.0.0.1-8080", "address": "10.0.0.1"}),
            service
        ),
        "10.0.0.1-8080"
    );
    assert_eq!(server(json!({})).key(service).unwrap(), None);

    for (json, wrong) in [
        (json!({"port": 80}), "address"),
        (json!({"address": "example.org"}), "address"),
        (json!({"address": "10.0.0.1", "port": 65536}), "port"),
        (json!({"address": "10.0.0.1", "port": -1}), "port"),
        (json!({"id": "10.0.0.1-80", "port": 81}), "port"),
        (
            json!({"id": "10.0.0.1-80", "address": "10.0.0.2"}),
            "address",
        ),
        (json!({"id": "10.0.0.1"}), "id"),
    ] {
        assert_eq!(fields(server(json).key(service)), [wrong]);
    }

    let path = server_key("10.0.0.1-8080");
    for json in [
        json!({}),
        json!({"address": "10.0.0.1"}),
        json!({"port": 8080}),
        json!({"id": "10.0.0.1-8080"}),
        json!({"id": "10.0.0.1-8080", "address": "10.0.0.1", "port": 8080}),
    ] {
        server(json).check_key(path).unwrap();
    }
    for json in [
        json!({"address": "10.0.0.2"}),
        json!({"port": 80}),
        json!({"id": "10.0.0.1-80"}),
        json!({"address": "10.0.0.1", "port": 80}),
    ] {
        assert!(server(json).check_key(path).is_err());
    }
}

#[test]
fn names_are_1_to_16_visible_ascii_characters() {
    assert_eq!(
        Name::new("0123456789abcdef", 16).unwrap().as_str().len(),
        16
    );
    for bad in ["", "0123456789abcdefg", "a b", "é", "a\n", "a\0"] {
        assert_eq!(Name::new(bad, 16), None, "{bad:?}");
    }
    assert_eq!(Name::new("0123456789abcdef", 15), None);
    assert_eq!(Name::from_kernel(b"wlc\0junk").as_str(), "wlc");
    assert_eq!(Name::from_kernel(b"\xffa \x01").as_str(), "?a??");
    assert_eq!(
        Name::from_kernel(&[b'x'; 40]).as_str(),
        "x".repeat(16).as_str()
    );
}

proptest! {
    #[test]
    fn an_id_parsed_and_printed_is_itself(
        number in any::<u16>(), v6 in any::<u128>(), v4 in any::<u32>(), port in any::<u16>(),
        mark in 1..=u32::MAX,
    ) {
        let protocol = Protocol::from(number);
        for address in [std::net::IpAddr::V6(v6.into()), std::net::IpAddr::V4(v4.into())] {
            let service = ServiceKey::Address { protocol, address, port };
            prop_assert_eq!(service.to_string().parse::<ServiceKey>().unwrap(), service);
            let server = ServerKey { address, port };
            prop_assert_eq!(server.to_string().parse::<ServerKey>().unwrap(), server);
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let service = ServiceKey::Fwmark { family, mark };
            prop_assert_eq!(service.to_string().parse::<ServiceKey>().unwrap(), service);
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,60}") {
        drop(text.parse::<ServiceKey>());
        drop(text.parse::<ServerKey>());
        drop(text.parse::<EndpointFilter>());
        drop(text.parse::<Etag>());
        drop(text.parse::<ConnectionProtocol>());
        drop(text.parse::<Name>());
    }
}
