//! Confirmation of dumps. The kernel ends a dump early if the service is deleted between two
//! datagrams, so only a dump of one datagram with space left shows that the service existed
//! throughout. Otherwise one more read confirms it.

use super::*;
use crate::executor::{request::Dump, socket::IpvsSocket};

/// A kernel whose entries have one of several lengths.
fn kernel(padded: bool) -> FakeKernel {
    let kernel = FakeKernel::new();
    kernel.set_padding(padded);
    kernel
}

/// The most servers that fit one datagram of a dump.
fn datagram_capacity(padded: bool) -> u32 {
    let kernel = kernel(padded);
    let mut socket = IpvsSocket::connect(&kernel, &Arc::default()).unwrap();
    seed_service(&kernel, 1, 0);
    let is_too_much = |n: &u32| {
        seed_server(&kernel, 1, *n);
        let extent = socket.dump(Dump::Servers(key(1)), |_| ()).unwrap();
        extent.datagrams > 1
    };
    (0..200).find(is_too_much).unwrap()
}

#[tokio::test]
async fn a_dump_of_one_datagram_with_space_left_needs_no_confirmation() {
    for padded in [false, true] {
        let capacity = datagram_capacity(padded);
        for (servers, confirmations) in [
            (0, 1),
            (1, 0),
            (capacity / 2, 0),
            (capacity, 1),
            (capacity + 1, 1),
        ] {
            let kernel = kernel(padded);
            let executor = start(&kernel);
            seed_service(&kernel, 1, servers);
            let found = read_fresh(&executor, ServersQuery(key(1))).await.unwrap();
            assert_eq!(found.unwrap().len(), servers as usize);
            assert_eq!(
                kernel.commands(command::GET_SERVICE),
                confirmations,
                "{servers} of {capacity} servers"
            );
            assert_eq!(kernel.dumps(command::GET_DEST), 1);
        }
    }
}

#[tokio::test]
async fn one_dump_confirms_all_services_of_a_table() {
    let capacity = datagram_capacity(true);
    for (servers, dumps) in [
        ([1, 2, 3], 1),
        ([1, 0, 3], 2),
        ([capacity, 1, capacity + 1], 2),
    ] {
        let kernel = FakeKernel::new();
        let executor = start(&kernel);
        for (n, servers) in (1..).zip(servers) {
            seed_service(&kernel, n, servers);
        }
        assert_eq!(read_fresh(&executor, TableQuery).await.unwrap().len(), 3);
        assert_eq!(kernel.dumps(command::GET_SERVICE), dumps, "{servers:?}");
    }
}

#[tokio::test]
async fn a_service_deleted_after_a_full_datagram_is_missing() {
    for padded in [false, true] {
        let kernel = kernel(padded);
        let executor = start(&kernel);
        seed_service(&kernel, 1, datagram_capacity(padded) + 1);
        fault_once(
            &kernel,
            command::GET_DEST,
            Fault::dump_interrupted(|kernel| assert!(kernel.remove_service(id(1)))),
        );
        let found = read_fresh(&executor, ServersQuery(key(1))).await.unwrap();
        assert!(found.is_none(), "{} servers", found.unwrap().len());
    }
}
