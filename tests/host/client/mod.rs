//! The client library against a daemon on the fake kernel: every read and every write, accepted and
//! refused.

mod director;
mod drains;
mod requests;
mod tables;

use ipvsd::{
    client::{
        Client, ClientError, DeleteOptions, Include, PersistencePatch, Precondition, ServerPatch,
        ServerSpec, ServicePatch, ServiceSpec, TunnelPatch, WriteOptions, Written,
    },
    model::{
        Checksum, Family, Field, Forwarding, Netmask, Reason, SchedulerFlags, ServerKey,
        ServiceKey, TunnelType,
    },
};

use crate::cli::daemon::Daemon;

const INCLUDE: Include = Include {
    stats: true,
    rates: true,
};

fn setup() -> (Daemon, Client) {
    let daemon = Daemon::start();
    let client = Client::new(daemon.endpoint.parse().unwrap()).unwrap();
    (daemon, client)
}

fn service() -> ServiceKey {
    "tcp-192.0.2.1-80".parse().unwrap()
}

fn server(last: u8) -> ServerKey {
    format!("192.168.10.{last}-8080").parse().unwrap()
}

fn server_spec(last: u8, weight: u32) -> ServerSpec {
    let mut spec = ServerSpec::new(server(last));
    spec.config.forwarding = Forwarding::Masquerade;
    spec.config.weight = weight;
    spec
}

fn write() -> WriteOptions {
    WriteOptions::default()
}

fn write_if(precondition: Precondition) -> WriteOptions {
    WriteOptions {
        precondition,
        ..write()
    }
}

fn delete() -> DeleteOptions {
    DeleteOptions::default()
}

fn allow_missing() -> DeleteOptions {
    DeleteOptions {
        allow_missing: true,
        ..delete()
    }
}

/// Asserts that the daemon refused a request.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, ClientError>, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Some(reason), "{error}");
}

/// Asserts that a write was refused because of these fields.
#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, ClientError>, fields: &[&str]) {
    let error = result.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.reason, Reason::InvalidArgument, "{error}");
    let violations = problem.violations.iter();
    let violations: Vec<_> = violations.map(|v| v.field.as_str()).collect();
    assert_eq!(violations, fields, "{error}");
}

fn outcome<T>(written: &Written<T>) -> (bool, bool) {
    (written.created, written.changed)
}

#[test]
fn services_are_created_replaced_updated_and_deleted() {
    let (_daemon, client) = setup();
    let mut spec = ServiceSpec::new(service());
    spec.config.scheduler = "mh".parse().unwrap();
    spec.config.scheduler_flags = SchedulerFlags::from_bits(0x10);
    spec.config.persistence_timeout = Some(60);
    spec.config.netmask = Netmask::V4("255.255.255.0".parse().unwrap());
    spec.servers = Some(vec![server_spec(1, 2), server_spec(2, 0)]);
    let created = client.create_service(&spec, &write()).unwrap();
    assert_eq!(outcome(&created), (true, true));
    assert_eq!(created.value.service.config, spec.config);
    assert_eq!(created.value.servers.len(), 2);
    assert_refused(
        client.create_service(&spec, &write()),
        Reason::ServiceExists,
    );

    // What was read can be sent back, and changes nothing.
    let read = client.service(service(), INCLUDE).unwrap();
    assert_eq!(read.etag.as_ref().unwrap().as_str().find('"'), Some(0));
    let mut edited = ServiceSpec::from(&read.value);
    let replaced = client.replace_service(&edited, &write()).unwrap();
    assert_eq!(outcome(&replaced), (false, false));
    assert_eq!(replaced.value.service.config, spec.config);
    edited
        .servers
        .as_mut()
        .unwrap()
        .retain(|s| s.key == server(2));
    edited.config.persistence_timeout = None;
    edited.config.one_packet = true;
    let result = client.replace_service(&edited, &write());
    assert_invalid(result, &["one_packet"]);
    edited.config.one_packet = false;
    let replaced = client.replace_service(&edited, &write()).unwrap();
    assert_eq!(outcome(&replaced), (false, true));
    let config = replaced.value.service.config;
    assert_eq!(config.persistence_timeout, None);
    // Without persistence the kernel keeps the netmask.
    assert_eq!(config.netmask, spec.config.netmask);
    assert_eq!(replaced.value.servers.len(), 1);
    edited.servers = None;
    let replaced = client.replace_service(&edited, &write()).unwrap();
    assert_eq!(replaced.value.servers.len(), 1);

    let patch = ServicePatch {
        scheduler: Field::Set("sh".parse().unwrap()),
        scheduler_flags: Field::Set(SchedulerFlags::from_bits(0x08)),
        persistence: Field::Set(PersistencePatch::default()),
        netmask: Field::Clear,
        persistence_engine: Field::Keep,
        one_packet: Field::Keep,
    };
    let result = client.update_service(service(), &patch, &write());
    assert_invalid(result, &["netmask"]);
    let patch = ServicePatch {
        netmask: Field::Keep,
        ..patch
    };
    let updated = client.update_service(service(), &patch, &write()).unwrap();
    assert_eq!(outcome(&updated), (false, true));
    let config = updated.value.service.config;
    assert_eq!(config.scheduler.as_str(), "sh");
    assert_eq!(config.scheduler_flags.bits(), 0x08);
    assert_eq!(config.persistence_timeout, Some(300));
    let one_field = ServicePatch {
        scheduler: Field::Set("rr".parse().unwrap()),
        ..ServicePatch::default()
    };
    let updated = client.update_service(service(), &one_field, &write());
    let config = updated.unwrap().value.service.config;
    assert_eq!(config.persistence_timeout, Some(300));
    let clear = ServicePatch {
        scheduler: Field::Clear,
        scheduler_flags: Field::Clear,
        persistence: Field::Clear,
        ..ServicePatch::default()
    };
    let updated = client.update_service(service(), &clear, &write()).unwrap();
    let config = updated.value.service.config;
    assert_eq!(config.scheduler.as_str(), "wlc");
    assert_eq!(config.persistence_timeout, None);

    client.delete_service(service(), &delete()).unwrap();
    assert_refused(client.service(service(), INCLUDE), Reason::ServiceNotFound);
    let result = client.update_service(service(), &clear, &write());
    assert_refused(result, Reason::ServiceNotFound);
    let result = client.delete_service(service(), &delete());
    assert_refused(result, Reason::ServiceNotFound);
    client.delete_service(service(), &allow_missing()).unwrap();
}

#[test]
fn firewall_mark_services_are_written_by_their_id() {
    let (_daemon, client) = setup();
    let mark = ServiceKey::Fwmark {
        family: Family::Ipv6,
        mark: 7,
    };
    let mut spec = ServiceSpec::new(mark);
    spec.config.persistence_timeout = Some(300);
    spec.config.netmask = Netmask::V6(64);
    spec.config.persistence_engine = Some("sip".parse().unwrap());
    let created = client.create_service(&spec, &write()).unwrap();
    assert_eq!(created.value.service.config, spec.config);
    let mut unknown = ServiceSpec::new(service());
    unknown.config.scheduler = "nosuch".parse().unwrap();
    let result = client.create_service(&unknown, &write());
    assert_refused(result, Reason::SchedulerUnavailable);

    let services = client.services(INCLUDE, true).unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0].service.key, mark);
    assert_eq!(services[0].service.config, spec.config);
    let result = client.clear_services(2, &write());
    assert!(matches!(result, Err(ClientError::Refused(_))), "{result:?}");
    assert_eq!(client.clear_services(1, &write()).unwrap(), 1);
    assert_eq!(client.services(INCLUDE, false).unwrap(), []);
}

#[test]
fn servers_are_created_replaced_updated_and_deleted() {
    let (_daemon, client) = setup();
    client
        .create_service(&ServiceSpec::new(service()), &write())
        .unwrap();
    let mut spec = server_spec(1, 2);
    let created = client.create_server(service(), &spec, &write()).unwrap();
    assert_eq!(outcome(&created), (true, true));
    assert_eq!(created.value.config, spec.config);
    let result = client.create_server(service(), &spec, &write());
    assert_refused(result, Reason::ServerExists);
    // All or none.
    let list = [server_spec(2, 1), spec];
    let result = client.create_servers(service(), &list, &write());
    assert_refused(result, Reason::ServerExists);
    let list = [server_spec(3, 3), server_spec(2, 1)];
    let created = client.create_servers(service(), &list, &write()).unwrap();
    assert_eq!(outcome(&created), (true, true));
    let keys: Vec<_> = created.value.iter().map(|server| server.key).collect();
    assert_eq!(keys, [server(3), server(2)]);
    assert_eq!(client.servers(service(), INCLUDE).unwrap().len(), 3);

    spec.config.weight = 70_000;
    let result = client.replace_server(service(), &spec, &write());
    assert_invalid(result, &["weight"]);
    spec.config.weight = 9;
    spec.config.upper_threshold = 100;
    spec.config.lower_threshold = 50;
    let replaced = client.replace_server(service(), &spec, &write()).unwrap();
    assert_eq!(outcome(&replaced), (false, true));
    assert_eq!(replaced.value.config, spec.config);
    let read = client.server(service(), server(1), INCLUDE).unwrap();
    assert_eq!(ServerSpec::from(&read.value), spec);
    let replaced = client.replace_server(service(), &spec, &write()).unwrap();
    assert_eq!(outcome(&replaced), (false, false));

    let patch = ServerPatch {
        weight: Field::Set(0),
        lower_threshold: Field::Clear,
        ..ServerPatch::default()
    };
    let updated = client.update_server(service(), server(1), &patch, &write());
    let config = updated.unwrap().value.config;
    assert_eq!((config.weight, config.upper_threshold), (0, 100));
    assert_eq!(config.forwarding, Forwarding::Masquerade);
    assert_eq!(config.lower_threshold, 0);

    let tunnel = ServerPatch {
        forwarding: Field::Set(Forwarding::Tunnel),
        tunnel: Field::Set(TunnelPatch {
            kind: Field::Set(TunnelType::Gue),
            port: Field::Set(6080),
            checksum: Field::Set(Checksum::Remote),
        }),
        ..ServerPatch::default()
    };
    let result = client.update_server(service(), server(1), &tunnel, &write());
    assert_refused(result, Reason::InvalidArgument);
    let key = "192.168.10.9-80".parse().unwrap();
    let mut spec = ServerSpec::new(key);
    client.create_server(service(), &spec, &write()).unwrap();
    let updated = client.update_server(service(), key, &tunnel, &write());
    let updated = updated.unwrap().value;
    spec.config.forwarding = Forwarding::Tunnel;
    spec.config.tunnel.kind = TunnelType::Gue;
    spec.config.tunnel.port = 6080;
    spec.config.tunnel.checksum = Checksum::Remote;
    assert_eq!(ServerSpec::from(&updated), spec);
    let replaced = client.replace_server(service(), &spec, &write()).unwrap();
    assert_eq!(outcome(&replaced), (false, false));

    // A patch of one field of the tunnel keeps the others.
    let port = ServerPatch {
        tunnel: Field::Set(TunnelPatch {
            port: Field::Set(6081),
            ..TunnelPatch::default()
        }),
        ..ServerPatch::default()
    };
    let updated = client.update_server(service(), key, &port, &write());
    spec.config.tunnel.port = 6081;
    assert_eq!(ServerSpec::from(&updated.unwrap().value), spec);

    client
        .delete_server(service(), server(1), &delete())
        .unwrap();
    let result = client.server(service(), server(1), INCLUDE);
    assert_refused(result, Reason::ServerNotFound);
    let result = client.delete_server(service(), server(1), &delete());
    assert_refused(result, Reason::ServerNotFound);
    client
        .delete_server(service(), server(1), &allow_missing())
        .unwrap();
}

#[test]
fn preconditions_guard_writes() {
    let (_daemon, client) = setup();
    let spec = ServiceSpec::new(service());
    let absent = write_if(Precondition::Absent);
    let exists = write_if(Precondition::Exists);
    let result = client.replace_service(&spec, &exists);
    assert_refused(result, Reason::RevisionMismatch);
    let created = client.replace_service(&spec, &absent).unwrap();
    assert_eq!(outcome(&created), (true, true));
    let result = client.replace_service(&spec, &absent);
    assert_refused(result, Reason::RevisionMismatch);

    let patch = |scheduler: &str| ServicePatch {
        scheduler: Field::Set(scheduler.parse().unwrap()),
        ..ServicePatch::default()
    };
    let first = write_if(created.etag.into());
    let updated = client.update_service(service(), &patch("rr"), &first);
    let second = updated.unwrap().etag.unwrap();
    let result = client.update_service(service(), &patch("lc"), &first);
    assert_refused(result, Reason::RevisionMismatch);
    let read = client.service(service(), Include::default()).unwrap();
    assert_eq!(read.etag, Some(second.clone()));
    let options = DeleteOptions {
        precondition: first.precondition,
        ..delete()
    };
    let result = client.delete_service(service(), &options);
    assert_refused(result, Reason::RevisionMismatch);
    let options = DeleteOptions {
        precondition: Precondition::Matches(second),
        ..delete()
    };
    client.delete_service(service(), &options).unwrap();
    // A create refuses one rather than ignore it.
    assert_invalid(client.create_service(&spec, &exists), &["if-match"]);
}
