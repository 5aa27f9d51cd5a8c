//! The files below /proc.

use super::*;

fn read(kernel: &FakeKernel, path: &str) -> String {
    let mut text = String::new();
    kernel
        .open(path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn connections_are_the_header_and_the_configured_lines() {
    let kernel = FakeKernel::new();
    let header =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
    assert_eq!(read(&kernel, "net/ip_vs_conn"), header);
    kernel.set_connections(vec!["UDP C000020A 13CE".to_owned(), "TCP".to_owned()]);
    assert_eq!(
        read(&kernel, "net/ip_vs_conn"),
        format!("{header}UDP C000020A 13CE\nTCP\n")
    );
    assert_eq!(read(&kernel, "net/ip_vs_conn").lines().count(), 3);
    assert_eq!(kernel.opens("net/ip_vs_conn"), 3);
    assert!(kernel.write("net/ip_vs_conn", "").is_err());
}

#[test]
fn connections_are_produced_while_they_are_read() {
    let kernel = FakeKernel::new();
    kernel.set_connection_source(|| {
        Box::new((0..1_000_000).map(|number| format!("TCP {number:08X} 0001")))
    });
    let mut file = kernel.open("net/ip_vs_conn").unwrap();
    let (mut bytes, mut buffer) = (0, [0; 65536]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            count => {
                assert!(count <= 4096);
                bytes += count;
            }
        }
    }
    assert_eq!(bytes, 80 + 18_000_000);
}

#[test]
fn totals_have_the_kernels_format() {
    let kernel = FakeKernel::new();
    kernel.set_totals(Counters {
        connections: 0x1b,
        in_packets: 0x5e,
        out_packets: 0x3b,
        in_bytes: 0xdd4d,
        out_bytes: 0x1d640,
        connection_rate: 3,
        in_packet_rate: 9,
        out_packet_rate: 6,
        in_byte_rate: 0x14c3,
        out_byte_rate: 0x2c16,
    });
    let recorded = "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
      1B       5E       3B             DD4D            1D640

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       3        9        6             14C3             2C16
";
    assert_eq!(read(&kernel, "net/ip_vs_stats"), recorded);
}

#[test]
fn sysctls_accept_the_kernels_values() {
    let kernel = FakeKernel::new();
    let path = |name: &str| format!("sys/net/ipv4/vs/{name}");
    for (name, text, shown) in [
        ("drop_entry", "3\n", Some("3\n")),
        ("drop_entry", "4", None),
        ("drop_entry", "-1", None),
        ("secure_tcp", "x", None),
        ("secure_tcp", "", None),
        ("conntrack", "1", Some("1\n")),
        ("am_droprate", " 07 ", Some("7\n")),
        ("am_droprate", "2147483648", None),
        ("sync_version", "2", None),
        ("sync_retries", "3", Some("3\n")),
        ("sync_retries", "4", None),
        ("sync_ports", "4", Some("4\n")),
        ("sync_ports", "3", None),
        ("sync_ports", "0", None),
        ("sync_qlen_max", "9999999999", Some("9999999999\n")),
        ("sync_threshold", "1 50", Some("1\t50\n")),
        ("sync_threshold", "7 0", Some("7\t0\n")),
        ("sync_threshold", "50 50", None),
        ("sync_threshold", "-1 50", None),
        ("run_estimation", "0", Some("0\n")),
    ] {
        let before = read(&kernel, &path(name));
        let written = kernel.write(&path(name), text);
        match shown {
            Some(shown) => {
                written.unwrap();
                assert_eq!(read(&kernel, &path(name)), shown, "{name}");
            }
            None => {
                let errno = written.unwrap_err().raw_os_error();
                assert_eq!(errno, Some(libc::EINVAL), "{name} {text:?}");
                assert_eq!(read(&kernel, &path(name)), before, "{name}");
            }
        }
    }
    assert_eq!(read(&FakeKernel::new(), &path("sync_threshold")), "3\t50\n");
    for name in ["debug_level", "nosuch", "lblc_expiration", "est_nice", ""] {
        let error = kernel.open(&path(name)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{name}");
        assert_eq!(
            kernel.write(&path(name), "1").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
    assert!(kernel.open("net/nosuch").is_err());
}

#[test]
fn sysctls_of_a_scheduler_require_its_module() {
    let kernel = FakeKernel::new();
    let mut socket = kernel.connect().unwrap();
    execute(
        socket.as_mut(),
        NEW_SERVICE,
        0,
        &svc().with(6, b"lblc\0").bytes(),
    )
    .unwrap();
    assert_eq!(read(&kernel, "sys/net/ipv4/vs/lblc_expiration"), "86400\n");
    assert!(kernel.open("sys/net/ipv4/vs/lblcr_expiration").is_err());
}

#[test]
fn files_can_be_set() {
    let kernel = FakeKernel::new();
    kernel.set_file("net/ip_vs_app", "prot port    usecnt name\n");
    assert_eq!(read(&kernel, "net/ip_vs_app"), "prot port    usecnt name\n");
}

#[test]
fn requested_modules_are_listed_newest_first() {
    let kernel = FakeKernel::new();
    let names = |kernel: &FakeKernel| -> Vec<String> {
        let text = read(kernel, "modules");
        let names = text.lines().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect()
    };
    assert_eq!(names(&kernel), ["ip_vs"]);
    let mut socket = kernel.connect().unwrap();
    let mut create = |scheduler: &str, engine: &str| {
        let service = svc().with(6, scheduler).with(11, engine);
        execute(socket.as_mut(), NEW_SERVICE, 0, &service.bytes())
    };
    for (scheduler, engine) in [
        ("none\0", "nosuch\0"),
        ("rr\0", "nosuch\0"),
        ("nosuch\0", "sip\0"),
    ] {
        assert_eq!(create(scheduler, engine).unwrap_err(), libc::ENOENT);
    }
    // The kernel requests the engine's module only after it has found the scheduler.
    assert_eq!(names(&kernel), ["ip_vs_rr", "ip_vs"]);
    create("rr\0", "sip\0").unwrap();
    assert_eq!(names(&kernel), ["ip_vs_pe_sip", "ip_vs_rr", "ip_vs"]);
}
