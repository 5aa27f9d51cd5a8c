//! Counters, connections and their synchronisation, with real packets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    daemon::ADDRESS,
    lists, rules, run, until,
    world::{World, echo},
};

const RULES: &str = "\
-A -t 10.9.0.100:80 -s rr
-a -t 10.9.0.100:80 -r 10.1.0.11:80 -m
-A -u 10.9.0.100:80 -s rr
-a -u 10.9.0.100:80 -r 10.1.0.11:80 -m
-A -t [fd09::100]:80 -s rr -p 60
-a -t [fd09::100]:80 -r [fd01::11]:80 -m
";

/// The counters of a listing, one line for each service and server, with the names of
/// `ipvsadm -Ln --stats --exact`.
fn counters(services: &[Value]) -> BTreeSet<String> {
    let line = |what: String, stats: &Value| {
        let names = [
            "connections",
            "packets_in",
            "packets_out",
            "bytes_in",
            "bytes_out",
        ];
        let numbers = names.map(|name| stats[name].to_string());
        format!("{what} {}", numbers.join(" "))
    };
    let mut lines = BTreeSet::new();
    for service in services {
        let protocol = service["protocol"].as_str().unwrap().to_uppercase();
        let name = format!("{protocol} {}", endpoint(service));
        for server in service["servers"].as_array().unwrap() {
            lines.insert(line(
                format!("{name} -> {}", endpoint(server)),
                &server["stats"],
            ));
        }
        lines.insert(line(name, &service["stats"]));
    }
    lines
}

fn endpoint(value: &Value) -> String {
    let address = value["address"].as_str().unwrap();
    let port = &value["port"];
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

/// The same from the real ipvsadm.
fn real_counters() -> BTreeSet<String> {
    let mut service = String::new();
    lists("-L -n --stats --exact")
        .lines()
        .skip(3)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            if words[0] == "->" {
                format!("{service} {}", words.join(" "))
            } else {
                service = words[..2].join(" ");
                words.join(" ")
            }
        })
        .collect()
}

fn connections(api: &Api) -> Vec<Value> {
    let (status, mut body) = api.fetch("/v1/connections");
    assert_eq!(status, 200, "{body}");
    match body["connections"].take() {
        Value::Array(connections) => connections,
        other => panic!("{other}"),
    }
}

/// Connections without the fields that change with time.
fn stable(connections: &[Value]) -> BTreeSet<String> {
    connections
        .iter()
        .map(|connection| {
            let protocol = connection["protocol"].as_str().unwrap().to_uppercase();
            let state = connection["state"].as_str().unwrap();
            let [client, service, server] =
                ["client", "virtual", "destination"].map(|name| endpoint(&connection[name]));
            format!("{protocol} {state} {client} {service} {server}")
        })
        .collect()
}

/// The same from the real ipvsadm.
fn real_connections() -> BTreeSet<String> {
    lists("-L -n -c")
        .lines()
        .skip(2)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(words.len(), 6, "{line}");
            format!("{} {}", words[0], words[2..].join(" "))
        })
        .collect()
}

#[test]
fn counters_and_connections_equal_ipvsadms() {
    let world = World::new();
    world.director.run(|| {
        rules(RULES);
        let api = Api::start(Interface::Http);
        assert_eq!(connections(&api), [] as [Value; 0]);
        let mut open: Vec<_> = (0..3).map(|_| world.connect("10.9.0.100:80")).collect();
        open.extend((0..2).map(|_| world.connect("[fd09::100]:80")));
        let asked = world.ask("10.9.0.100:80");

        // These reads are separate, but nothing changes in between.
        let connections = connections(&api);
        assert_eq!(stable(&connections), real_connections());
        assert_eq!(connections.len(), 3 + 2 + 1 + 1, "{connections:?}");
        let templates: Vec<_> = connections
            .iter()
            .filter(|connection| connection["template"] == true)
            .collect();
        assert_eq!(templates.len(), 1, "{templates:?}");
        assert_eq!(
            templates[0]["client"],
            json!({"address": "fd09::2", "port": 0})
        );
        let own = open[0].local_addr().unwrap().to_string();
        let (_, found) = api.fetch(&format!("/v1/connections?client={own}"));
        assert_eq!(found["connections"].as_array().unwrap().len(), 1, "{found}");
        assert_eq!(found["connections"][0]["state"], "ESTABLISHED");
        let (_, counts) = api.fetch("/v1/connections?count_by=protocol");
        assert_eq!(
            counts["counts"][0],
            json!({"group": "tcp", "count": 6}),
            "{counts}"
        );

        let services = api.services();
        let tcp = services
            .iter()
            .find(|service| service["id"] == "tcp-10.9.0.100-80")
            .unwrap();
        assert_eq!(tcp["servers"][0]["active_connections"], 3);
        let ipv6 = services
            .iter()
            .find(|service| service["id"] == "tcp-fd09::100-80")
            .unwrap();
        assert_eq!(ipv6["servers"][0]["persistent_connections"], 1);

        // The kernel sums its counters every 2 s.
        let total = |services: &[Value]| -> u64 {
            let of = |service: &Value| service["stats"]["connections"].as_u64().unwrap();
            services.iter().map(of).sum()
        };
        let counted = until("counters include all connections", || {
            let services = api.services();
            match total(&services) {
                6 => Ok(services),
                other => Err(other.to_string()),
            }
        });
        until("counters equal ipvsadm's", || {
            let (ours, theirs) = (counters(&api.services()), real_counters());
            if ours == theirs {
                Ok(())
            } else {
                Err(format!("{ours:?} {theirs:?}"))
            }
        });
        assert!(counters(&counted).len() == 6, "{counted:?}");

        for stream in &mut open {
            echo(stream);
        }
        let before = counters(&counted);
        until("counters include the next packets", || {
            let now = counters(&api.services());
            if now == before {
                Err("nothing".to_owned())
            } else {
                Ok(())
            }
        });
        api.write(&Request::Zero(None)).unwrap();
        assert_eq!(total(&api.services()), 0);
        let zeroed = "TCP 10.9.0.100:80 -> 10.1.0.11:80 0 0 0 0 0";
        assert!(real_counters().contains(zeroed), "{:?}", real_counters());
        drop(asked);
    });
}

#[test]
fn a_deleted_service_forwards_nothing_and_weight_0_no_new_connections() {
    let world = World::new();
    world.director.run(|| {
        let api = Api::start(Interface::Grpc);
        let server = json!({"address": "10.1.0.11", "forwarding": "masquerade"});
        let service = json!({"id": "tcp-10.9.0.100-80", "scheduler": "rr", "servers": [server]});
        api.write(&Request::CreateService(service)).unwrap();
        let mut open = world.connect("10.9.0.100:80");
        let quiet = Request::UpdateServer(
            "tcp-10.9.0.100-80".to_owned(),
            "10.1.0.11-80".to_owned(),
            json!({"weight": 0}),
        );
        api.write(&quiet).unwrap();
        echo(&mut open);
        let refused = world.client.run(|| {
            let address = "10.9.0.100:80".parse().unwrap();
            std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))
        });
        assert!(refused.is_err());
        api.write(&Request::Clear).unwrap();
        assert_eq!(lists("-S -n"), "");
    });
}

#[test]
fn connections_of_a_master_appear_on_its_backup() {
    let world = World::new();
    let backup = Namespace::new();
    world.director.link("sync", &backup, "sync");
    for (namespace, address) in [(&world.director, "10.8.0.1/24"), (&backup, "10.8.0.2/24")] {
        namespace.ip(&format!("addr add {address} dev sync"));
        namespace.ip("link set sync up");
    }
    let daemon = json!({"interface": "sync", "sync_id": 7});
    backup.run(|| {
        rules(RULES);
        let second = Api::start(Interface::Http);
        second
            .write(&Request::StartSyncDaemon(
                "backup".to_owned(),
                daemon.clone(),
            ))
            .unwrap();
        let master = world.director.run(|| {
            rules(RULES);
            let first = Api::start(Interface::Http);
            // Connections are sent after their second packet, which establishes TCP.
            let settings = json!({"sync_threshold": [2, 50]});
            first.write(&Request::UpdateSettings(settings)).unwrap();
            first
                .write(&Request::StartSyncDaemon(
                    "master".to_owned(),
                    daemon.clone(),
                ))
                .unwrap();
            let mut open: Vec<_> = (0..3).map(|_| world.connect("10.9.0.100:80")).collect();
            open.push(world.connect("[fd09::100]:80"));
            for stream in &mut open {
                echo(stream);
            }
            // Keep the streams: the end of a connection is synchronised too.
            std::mem::forget(open);
            stable(&connections(&first))
        });
        until("the backup has them", || {
            let here = stable(&connections(&second));
            let missing: Vec<_> = master.difference(&here).collect();
            // The state of a template (used or not) is not synchronised.
            if missing.iter().all(|line| line.contains(":0 ")) && here.len() == master.len() {
                Ok(())
            } else {
                Err(format!("{here:?}, not {missing:?}"))
            }
        });
        assert_eq!(stable(&connections(&second)), real_connections());
        assert_eq!(second.sync_daemons()[0]["sync_id"], 7);
        second
            .write(&Request::StopSyncDaemon("backup".to_owned()))
            .unwrap();
        assert_eq!(lists("-L --daemon"), "");
    });
}

/// The templates of a list of connections, as JSON and as `ipvsadm -Lcn` and `ipvsctl -Lcn` print them.
fn templates(api: &Api) -> Vec<Value> {
    let ipvsctl = run_ipvsctl();
    let same = |text: &str| -> BTreeSet<String> {
        // Without the time left.
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines = text.lines().skip(2).map(words);
        lines
            .map(|words| [&words[..1], &words[2..]].concat().join(" "))
            .collect()
    };
    assert_eq!(same(&ipvsctl), same(&lists("-L -c -n")));
    let connections = connections(api);
    let is_template = |connection: &Value| connection["template"] == true;
    connections.into_iter().filter(is_template).collect()
}

fn run_ipvsctl() -> String {
    let endpoint = format!("http://{ADDRESS}");
    run(
        env!("CARGO_BIN_EXE_ipvsctl"),
        ["--endpoint", &endpoint, "-L", "-c", "-n"],
    )
}

#[test]
fn the_template_of_a_fwmark_service_names_the_mark() {
    let world = World::new();
    world.director.run(|| {
        rules(
            "-A -f 9 -s rr -p 60\n-a -f 9 -r 10.1.0.11 -m\n\
             -A -f 4026531841 -6 -s rr -p 60\n-a -f 4026531841 -6 -r [fd01::11]:0 -m\n",
        );
        let api = Api::start(Interface::Http);
        for (mark, to) in [(9, "10.9.0.100:80"), (4026531841, "[fd09::100]:80")] {
            let to: std::net::SocketAddr = to.parse().unwrap();
            let socket = std::net::UdpSocket::bind((to.ip(), 0)).unwrap();
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Mark, &mark).unwrap();
            socket.send_to(b"hello", to).unwrap();
        }
        let mut templates = templates(&api);
        templates.sort_by_key(|template| template["fwmark"].as_u64());
        let marks: Vec<_> = templates
            .iter()
            .map(|template| &template["fwmark"])
            .collect();
        assert_eq!(marks, [9, 4026531841_u32], "{templates:?}");
        for template in &templates {
            assert_eq!(template["protocol"], "ip", "{template}");
            assert_eq!(template.get("virtual"), None, "{template}");
            assert_eq!(template.get("invalidated"), None, "{template}");
        }
        let (_, found) = api.fetch("/v1/connections?fwmark=9");
        assert_eq!(found["connections"][0]["fwmark"], 9, "{found}");
        assert_eq!(found["connections"].as_array().unwrap().len(), 1, "{found}");
        let (_, counts) = api.fetch("/v1/connections?count_by=virtual&templates=true");
        let mut groups: Vec<_> = counts["counts"].as_array().unwrap().iter().collect();
        groups.sort_by_key(|count| count["group"].to_string());
        assert_eq!(groups[0]["group"], "fwmark-9", "{counts}");
        assert_eq!(groups[1]["group"], "fwmark6-4026531841", "{counts}");
    });
}

#[test]
fn an_invalidated_template_is_marked() {
    let world = World::new();
    world.director.run(|| {
        rules("-A -u 10.9.0.100:80 -s rr -p 60\n-a -u 10.9.0.100:80 -r 10.1.0.11:80 -m\n");
        let api = Api::start(Interface::Http);
        let settings = json!({"expire_quiescent_template": true});
        api.write(&Request::UpdateSettings(settings)).unwrap();
        drop(world.ask("10.9.0.100:80"));
        let valid = templates(&api);
        assert_eq!(valid.len(), 1, "{valid:?}");
        assert_eq!(valid[0].get("invalidated"), None);
        rules("-e -u 10.9.0.100:80 -r 10.1.0.11:80 -m -w 0\n");
        world.client.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"hello", "10.9.0.100:80").unwrap();
        });
        let invalidated = until("the kernel invalidates the template", || {
            let found = templates(&api);
            match found
                .first()
                .and_then(|template| template["invalidated"].as_bool())
            {
                Some(true) => Ok(found),
                _ => Err(format!("{found:?}")),
            }
        });
        assert_eq!(invalidated.len(), 1, "{invalidated:?}");
        assert_eq!(invalidated[0]["virtual"]["address"], "10.9.0.100");
    });
}

#[test]
fn put_reports_that_the_servers_have_another_order_which_sh_depends_on() {
    Namespace::new().run(|| {
        let api = Api::start(Interface::Http);
        let put_servers = |order: &[u32]| {
            let server = |i: &u32| json!({"address": format!("10.1.0.{i}")});
            let servers: Vec<_> = order.iter().map(server).collect();
            let service = json!({"scheduler": "sh", "servers": servers});
            let id = "tcp-10.0.0.1-80".to_owned();
            api.write(&Request::ReplaceService(id, service)).unwrap()
        };
        let put = |order: [u32; 2]| put_servers(&order);
        let first = put([1, 2]);
        assert_eq!(first["changed"], true, "{first}");
        assert_eq!(first.get("server_order_differs"), None, "{first}");
        // ipvsadm sorts.
        let table = || std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
        let before = table();
        assert!(
            before.find("0A010001") < before.find("0A010002"),
            "{before}"
        );
        let other = put([2, 1]);
        assert_eq!(other["changed"], false, "{other}");
        assert_eq!(other["server_order_differs"], true, "{other}");
        assert_eq!(table(), before);
        let same = put([1, 2]);
        assert_eq!(same.get("server_order_differs"), None, "{same}");
        // As documented: without servers, then with them in order.
        put_servers(&[]);
        let set = put_servers(&[2, 1]);
        assert_eq!(set["changed"], true, "{set}");
        assert_eq!(set.get("server_order_differs"), None, "{set}");
        let after = table();
        assert!(after.find("0A010002") < after.find("0A010001"), "{after}");
    });
}
