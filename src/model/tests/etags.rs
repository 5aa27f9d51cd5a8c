use super::*;

const TCP: &str = "tcp-192.0.2.1-80";

#[test]
fn an_etag_covers_the_configuration_of_its_scope_but_no_counters() {
    let of = |id: &str| Server {
        key: server_key(id),
        config: ServerConfig::default(),
        effective_weight: 1,
        holds: None,
        membership: None,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    };
    let entry = ServiceEntry {
        service: Service {
            key: key(TCP),
            config: ServiceConfig::new(Family::Ipv4),
            stats: Stats::default(),
            rates: Rates::default(),
            kept: None,
        },
        servers: vec![of("10.0.0.1-80"), of("10.0.0.2-80")],
    };
    let mut busy = entry.clone();
    busy.service.stats.connections = 5;
    busy.service.rates.bytes_in = 5;
    busy.servers[0].active_connections = 5;
    busy.servers[1].stats.bytes_out = 5;
    assert_eq!(busy.etag(), entry.etag());
    assert_eq!(busy.service.etag(), entry.service.etag());
    assert_eq!(busy.servers[0].etag(), entry.servers[0].etag());

    let mut weighed = entry.clone();
    weighed.servers[1].config.weight = 0;
    assert_ne!(weighed.etag(), entry.etag());
    assert_eq!(weighed.service.etag(), entry.service.etag());
    assert_ne!(weighed.servers[1].etag(), entry.servers[1].etag());
    let mut turned = entry.clone();
    turned.servers.reverse();
    assert_ne!(turned.etag(), entry.etag(), "schedulers use the order");
    let mut set = entry.clone();
    set.service.config.scheduler = name("rr");
    assert_ne!(set.service.etag(), entry.service.etag());
    assert_ne!(set.etag(), entry.etag());
    assert_ne!(entry.servers[0].etag(), entry.servers[1].etag());

    assert!(entry.etag().to_string().starts_with("t-"));
    assert!(entry.service.etag().to_string().starts_with("s-"));
    assert!(entry.servers[0].etag().to_string().starts_with("r-"));
    for etag in [entry.etag(), entry.service.etag(), entry.servers[0].etag()] {
        assert_eq!(etag.to_string().parse::<Etag>().unwrap(), etag);
    }
    for bad in [
        "",
        "t",
        "t-",
        "t-123",
        "x-0123456789abcdef",
        "t-0123456789abcdeg",
        "*",
    ] {
        assert!(bad.parse::<Etag>().is_err(), "{bad}");
    }
}
