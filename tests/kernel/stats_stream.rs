//! Streams of statistics on a real kernel: rates under traffic, beside what the client sent, also while the kernel
//! does not refresh its counters.

use serde_json::Value;

use crate::support::{
    Folder,
    daemon::Daemon,
    lists, rules,
    watch::Watch,
    world::{World, echo},
};

const RULES: &str = "\
-A -t 10.9.0.100:80 -s rr
-a -t 10.9.0.100:80 -r 10.1.0.11:80 -m -w 3
-A -u 10.9.0.100:80 -s rr
-a -u 10.9.0.100:80 -r 10.1.0.11:80 -m
";

const TCP: &str = "tcp-10.9.0.100-80";

/// The next frame.
fn frame(stream: &mut Watch) -> Value {
    stream.event().expect("the stream ended")
}

fn service(frame: &Value) -> &Value {
    let services = frame["services"].as_array().unwrap();
    let found = services.iter().find(|service| service["id"] == TCP);
    found.expect("the service")
}

/// The first frame whose service has counted this many connections.
fn until_counted(stream: &mut Watch, connections: u64) -> Value {
    loop {
        let frame = frame(stream);
        if service(&frame)["stats"]["connections"] == connections {
            return frame;
        }
    }
}

#[test]
fn rates_are_those_of_the_traffic() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        let folder = Folder::new("stats-stream");
        let _daemon = Daemon::with_state(&folder, &[]);
        let mut stream = Watch::of(&format!("/v1/stats/stream?include=servers&service={TCP}"));
        let first = frame(&mut stream);
        assert_eq!(first["totals"]["service_count"], 2);
        assert_eq!(service(&first)["stats"]["connections"], 0);
        let mut open: Vec<_> = (0..20).map(|_| world.connect("10.9.0.100:80")).collect();
        let counted = until_counted(&mut stream, 20);
        // What ipvsadm prints.
        let listed = lists("-L -n --stats --exact -t 10.9.0.100:80");
        let words: Vec<_> = listed.lines().nth(3).unwrap().split_whitespace().collect();
        let stats = &service(&counted)["stats"];
        for (index, name) in [
            "connections",
            "packets_in",
            "packets_out",
            "bytes_in",
            "bytes_out",
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(
                stats[name].to_string(),
                words[2 + index],
                "{name}: {listed}"
            );
        }
        let server = &service(&counted)["servers"][0];
        assert_eq!(server["stats"], *stats);
        assert_eq!(server["active_connections"], 20);
        assert_eq!(counted["totals"]["active_connections"], 20);
        // All of it is in the rates of this frame, unless a refresh of the kernel divided it.
        let seconds = counted["interval_seconds"].as_f64();
        if let Some(rate) = service(&counted)["rates"]["connections"].as_f64() {
            assert!(rate * seconds.unwrap() <= 20.5, "{counted}");
        }

        // The kernel counts on, and shows nothing of it but in the totals of its processors.
        std::fs::write("/proc/sys/net/ipv4/vs/run_estimation", "0").unwrap();
        let paused = loop {
            let frame = frame(&mut stream);
            if frame["estimation"] == false {
                break frame;
            }
        };
        assert!(service(&paused).get("rates").is_none());
        let packets = paused["totals"]["stats"]["packets_in"].clone();
        open.iter_mut().for_each(echo);
        let frame = loop {
            let frame = frame(&mut stream);
            if frame["totals"]["rates"]["packets_in"].as_f64().unwrap() > 0.0 {
                break frame;
            }
        };
        assert_eq!(frame["totals"]["stats"]["packets_in"], packets);
        assert!(service(&frame).get("rates").is_none());
        let rate = frame["totals"]["rates"]["packets_in"].as_f64().unwrap();
        let seconds = frame["interval_seconds"].as_f64().unwrap();
        // A segment and an acknowledgement of each connection, or a part of them.
        assert!(rate * seconds <= 40.5, "{frame}");
    });
}
