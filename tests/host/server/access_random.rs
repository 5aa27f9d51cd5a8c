//! Random and mutated requests of all principals. What reaches the kernel is compared with what the
//! roles permit, as the kernel sees it: without the code that decides.
//!
//! `IPVSD_TEST_REQUESTS=1000000` sends as many requests.

use std::collections::BTreeMap;

use ipvsd::{
    identity::{Policy, Role},
    kernel::fake::{Destination, Service, ServiceId, command},
    model::Sha256,
};
use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

use super::{
    access::{
        Call, Guarded, HOLDS, NoAccounts, SERVER, SERVICE, documented, grpc_request, guarded,
        http_request,
    },
    harness::requests,
};

/// Requests of a usual run.
const REQUESTS: usize = 4000;
/// A service outside of the scope.
const OUTSIDE: &str = "tcp-198.51.100.1-80";
/// The commands that change something.
const WRITES: [u8; 11] = [
    command::NEW_SERVICE,
    command::SET_SERVICE,
    command::DEL_SERVICE,
    command::NEW_DEST,
    command::SET_DEST,
    command::DEL_DEST,
    command::ZERO,
    command::FLUSH,
    command::SET_CONFIG,
    command::NEW_DAEMON,
    command::DEL_DAEMON,
];

/// Who sends a request.
#[derive(Clone, Debug)]
struct Sender {
    token: Option<String>,
    role: Option<Role>,
    scoped: bool,
}

/// Everyone who can send a request, and the policy that knows some of them.
fn senders() -> (Vec<Sender>, Policy) {
    let stranger = |token: Option<&str>| Sender {
        token: token.map(str::to_owned),
        role: None,
        scoped: false,
    };
    let mut senders = vec![
        stranger(None),
        stranger(Some("ipvsd_unknown")),
        stranger(Some("a.b.c")),
    ];
    let mut text = String::new();
    for role in Role::ALL {
        for (kind, more) in [
            ("all", ""),
            ("scope", "scope = [{address = '192.0.2.0/24'}]\n"),
            (
                "reads",
                "scope = [{address = '192.0.2.0/24'}]\nscope_reads = true\n",
            ),
            ("none", "scope = []\n"),
        ] {
            let token = format!("ipvsd_{role}-{kind}");
            let hash = Sha256::of(token.as_bytes());
            text +=
                &format!("[[token]]\nname = '{role}'\nsha256 = '{hash}'\nrole = '{role}'\n{more}");
            senders.push(Sender {
                token: Some(token),
                role: Some(role),
                scoped: kind != "all",
            });
        }
    }
    (senders, Policy::parse(&text, &NoAccounts).unwrap())
}

/// Makes a request another one: another service, and bytes that no client would send.
fn mutate(call: &mut Call, rng: &mut TestRng) {
    let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
    if below(3) == 0 {
        call.path = call.path.replace(SERVICE, OUTSIDE);
        // Of the same length, so that gRPC messages stay valid.
        let text = String::from_utf8_lossy(&call.body).into_owned();
        if text.as_bytes() == call.body {
            call.body = text.replace("192.0.2.2-80", "198.51.100.2-80").into_bytes();
        }
    }
    if below(8) == 0 && !call.body.is_empty() {
        let at = below(call.body.len());
        match below(3) {
            0 => call.body[at] = below(256) as u8,
            1 => call.body.truncate(at),
            _ => call.body.insert(at, below(256) as u8),
        }
    }
    if below(10) == 0 {
        let more = [
            "?dry_run=true",
            "?allow_missing=true",
            "/",
            "//",
            "?confirm=1",
            "%2e",
        ];
        call.path += more[below(more.len())];
    }
    if below(20) == 0 {
        let methods = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
        ];
        call.method = methods[below(methods.len())].parse().unwrap();
    }
    if below(20) == 0 {
        call.path = call
            .path
            .replace("/v1/", ["/V1/", "//v1/", "/v1//", "/docs/../v1/"][below(4)]);
    }
}

type Table = BTreeMap<String, (Service, Vec<Destination>)>;

/// The table in the kernel, without counters.
fn table(daemon: &Guarded) -> Table {
    let all = daemon.kernel.services().into_iter();
    all.map(|mut service| {
        service.counters = Default::default();
        let destinations = service.destinations().cloned().collect();
        (format!("{:?}", service.id), (service, destinations))
    })
    .collect()
}

/// The lowest role that may turn one table into the other, and whether that is within the scope.
fn needed(before: &Table, after: &Table) -> Option<(Role, bool)> {
    let mut needed = None;
    let mut add = |role: Role, id: &str| {
        let (known, within) = needed.unwrap_or((role, true));
        needed = Some((known.max(role), within && id.contains("192.0.2.")));
    };
    for id in before.keys().chain(after.keys()) {
        let (Some((old, old_servers)), Some((new, new_servers))) = (before.get(id), after.get(id))
        else {
            add(Role::Editor, id);
            continue;
        };
        let plain = |service: &Service| {
            (
                service.scheduler.clone(),
                service.engine.clone(),
                service.flags,
                service.timeout,
                service.netmask,
            )
        };
        if plain(old) != plain(new) || old_servers.len() != new_servers.len() {
            add(Role::Editor, id);
        }
        for (old, new) in old_servers.iter().zip(new_servers) {
            let reweighted = Destination {
                weight: new.weight,
                ..*old
            };
            if reweighted != *new {
                add(Role::Editor, id);
            } else if old.weight != new.weight {
                add(Role::Operator, id);
            }
        }
    }
    needed
}

/// Fails if what a request did is not permitted to its sender.
fn check(sender: &Sender, call: &Call, sent: &[u8], change: Option<(Role, bool)>) {
    let who = format!("{sender:?} {} {}", call.method, call.path);
    let may = |role: Role| sender.role >= Some(role);
    for command in sent {
        let lowest = match *command {
            command::ZERO | command::SET_DEST => Role::Operator,
            command::FLUSH | command::SET_CONFIG | command::NEW_DAEMON | command::DEL_DAEMON => {
                assert!(!sender.scoped, "{who}: command {command}");
                Role::Admin
            }
            _ => Role::Editor,
        };
        assert!(may(lowest), "{who}: command {command}");
    }
    if let Some((lowest, within)) = change {
        assert!(may(lowest), "{who}: {lowest}");
        assert!(within || !sender.scoped, "{who}: outside of the scope");
    }
}

#[tokio::test]
async fn no_write_reaches_the_kernel_that_the_policy_does_not_permit() {
    let requests = requests(REQUESTS);
    let (senders, policy) = senders();
    let daemon = guarded(policy);
    let (http, grpc) = documented();
    // Drains and ramps write at times of their own, which are not those of their requests.
    let is_other = |name: &&String| !HOLDS.iter().any(|word| name.contains(word));
    let http = http.keys().filter(is_other).map(|name| http_request(name));
    let grpc = grpc.keys().filter(is_other).map(|name| grpc_request(name));
    let calls: Vec<_> = http.chain(grpc).collect();
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (mut executed, mut refused) = (0, 0);
    for _ in 0..requests {
        // Now and then the table is as the requests expect it.
        if rng.next_u64().is_multiple_of(4) {
            daemon.kernel.flush();
            for id in [SERVICE, OUTSIDE] {
                let address = id.trim_start_matches("tcp-").replace("-80", ":80");
                let id = ServiceId::tcp(address.parse().unwrap());
                daemon.kernel.add_service(Service::new(id));
                let server = SERVER.replace("-80", ":80").parse().unwrap();
                daemon.kernel.add_destination(id, Destination::new(server));
            }
        }
        let sender = &senders[rng.next_u64() as usize % senders.len()];
        let mut call = calls[rng.next_u64() as usize % calls.len()].clone();
        mutate(&mut call, &mut rng);
        if call.path.parse::<http::Uri>().is_err() {
            continue;
        }
        let before = table(&daemon);
        daemon.kernel.reset_counts();
        let (status, ..) = daemon.send(&call, sender.token.as_deref()).await;
        let sent: Vec<_> = WRITES
            .into_iter()
            .filter(|c| daemon.kernel.commands(*c) > 0)
            .collect();
        check(sender, &call, &sent, needed(&before, &table(&daemon)));
        executed += usize::from(!sent.is_empty());
        refused += usize::from(status == 401 || status == 403);
    }
    // Otherwise nothing was compared.
    assert!(
        executed > requests / 50 && refused > requests / 10,
        "{executed} {refused}"
    );
}
