//! Faults of the kernel: error reports and recovery.

use super::*;

/// Repeats a query until it succeeds. A failure to connect is returned again for a moment.
async fn wait_until_available<Q: TypedQuery>(executor: &Executor, query: Q) {
    let deadline = deadline();
    while let Err(error) = read_fresh(executor, query.clone()).await {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_kernel_without_ipvs_is_unavailable_until_the_module_is_loaded() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    for error in [
        read_fresh(&executor, TableQuery).await.unwrap_err(),
        execute(&executor, create_service(1)).await.unwrap_err(),
        write(&executor, with_precondition(1, create_service(1)))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert_eq!(error.errno, Some(Errno::ENOENT));
        assert!(error.hint.unwrap().contains("modprobe ip_vs"));
    }
    assert!(
        kernel.lookups() <= 2,
        "each lookup may run modprobe: {}",
        kernel.lookups()
    );
    kernel.faults().load();
    wait_until_available(&executor, TableQuery).await;
    execute(&executor, create_service(1)).await.unwrap();
}

#[tokio::test]
async fn requests_fail_after_the_module_is_unloaded_and_recover_with_it() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    execute(&executor, create_service(1)).await.unwrap();
    kernel.faults().unload();
    let error = execute(&executor, create_service(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    assert!(error.hint.unwrap().contains("modprobe"));
    let error = read_fresh(&executor, ServiceWithServersQuery(key(1)))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().load();
    wait_until_available(&executor, InfoQuery).await;
    assert!(
        read_fresh(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn requests_reconnect_to_a_reloaded_module() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let reload = || {
        kernel.faults().unload();
        kernel.faults().load();
    };
    macro_rules! each {
        ($($query:expr),*) => {$(
            read_fresh(&executor, $query).await.unwrap();
            reload();
            read_fresh(&executor, $query).await.unwrap();
        )*};
    }
    each!(
        InfoQuery,
        TimeoutsQuery,
        SyncDaemonsQuery,
        ServicesQuery,
        TableQuery,
        ServiceQuery(key(1)),
        ServiceWithServersQuery(key(1)),
        ServersQuery(key(1))
    );
    reload();
    execute(&executor, create_service(1)).await.unwrap();
    reload();
    let plan = Transaction::new(
        Nothing,
        |_| {
            Ok(Plan::staged([
                vec![create_service(1).into()],
                vec![create_server(1, 1).into()],
            ]))
        },
        ServiceWithServersQuery(key(1)),
    );
    let entry = write(&executor, plan).await.unwrap().value;
    assert_eq!(entry.unwrap().servers.len(), 1);
    reload();
    let error = execute(&executor, Op::DeleteService(key(1)))
        .await
        .unwrap_err();
    assert_eq!(
        error.reason,
        Reason::ServiceNotFound,
        "the table is empty after a reload"
    );
}

#[tokio::test]
async fn a_write_succeeds_once_a_read_has_reconnected() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    let error = execute(&executor, create_service(1)).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().load();
    wait_until_available(&executor, ServicesQuery).await;
    execute(&executor, create_service(1)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_scheduler_does_not_cause_a_reconnect() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let op = |scheduler: &str, engine: Option<&str>| {
        let config = ServiceConfig {
            persistence_engine: engine.map(|engine| engine.parse().unwrap()),
            ..config(scheduler)
        };
        Op::CreateService(key(1), config, StoredFields::default())
    };
    let error = execute(&executor, op("nosuch", None)).await.unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
    assert_eq!(
        kernel.commands(command::NEW_SERVICE),
        1,
        "no second attempt"
    );
    kernel.set_file(
        "modules",
        "ip_vs_rr 16384 0 - Live 0x0\nip_vs 1 1 ip_vs_rr, Live 0x0\n",
    );
    let error = execute(&executor, op("rr", Some("nosuch")))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::PersistenceEngineUnavailable);
    let error = execute(&executor, op("nosuch", Some("sip")))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
}

#[tokio::test]
async fn reads_and_writes_report_a_missing_capability() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().set_permitted(false);
    for error in [
        read_fresh(&executor, InfoQuery).await.unwrap_err(),
        read_fresh(&executor, TableQuery).await.unwrap_err(),
        read_fresh(&executor, ServiceQuery(key(1)))
            .await
            .unwrap_err(),
        execute(&executor, create_service(1)).await.unwrap_err(),
        write(&executor, with_precondition(1, create_service(1)))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert_eq!(error.errno, Some(Errno::EPERM));
        assert!(error.detail.contains("CAP_NET_ADMIN"), "{error}");
    }
    kernel.faults().set_permitted(true);
    execute(&executor, create_service(1)).await.unwrap();
}

#[tokio::test]
async fn a_module_that_is_being_unloaded_is_unavailable() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel
        .faults()
        .times(2, On::Any, Fault::Errno(libc::ENOPROTOOPT));
    for error in [
        execute(&executor, create_service(1)).await.unwrap_err(),
        read_fresh(&executor, InfoQuery).await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable, "{error}");
        assert!(error.hint.unwrap().contains("modprobe ip_vs"));
    }
}

#[tokio::test]
async fn ipv6_services_fail_alone_on_a_kernel_without_ipv6() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.set_ipv6(false);
    seed_service(&kernel, 1, 0);
    let v6: ServiceKey = "tcp-2001:db8::1-80".parse().unwrap();
    assert!(
        read_fresh(&executor, ServiceWithServersQuery(v6))
            .await
            .unwrap()
            .is_none()
    );
    let delete = |service: ServiceKey| {
        Transaction::new(
            ServiceQuery(service),
            move |entry: &Option<Arc<ServiceEntry>>| match entry {
                Some(_) => Ok(Plan::of([Op::DeleteService(service).into()])),
                None => Err(Error::new(Reason::ServiceNotFound, "none")),
            },
            Nothing,
        )
    };
    let requests = [v6, key(1)].map(|service| write(&executor, delete(service)));
    let results = run_concurrently(&kernel, &executor, requests).await;
    assert_eq!(
        results[0].as_ref().unwrap_err().reason,
        Reason::ServiceNotFound
    );
    assert!(results[1].is_ok(), "{results:?}");
    let create = Op::CreateService(
        v6,
        ServiceConfig::new(Family::Ipv6),
        StoredFields::default(),
    );
    let error = execute(&executor, create).await.unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedByKernel);
}

#[tokio::test]
async fn a_read_is_repeated_when_its_reply_is_lost() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 2);
    for fault in [Fault::Overrun, Fault::LostReply, Fault::garbage([0xff; 40])] {
        for command in [command::GET_SERVICE, command::GET_DEST] {
            fault_once(&kernel, command, fault.clone());
            let entry = read_fresh(&executor, ServiceWithServersQuery(key(1)))
                .await
                .unwrap();
            assert_eq!(entry.unwrap().servers.len(), 2);
            fault_once(&kernel, command, fault.clone());
            let table = read_fresh(&executor, TableQuery).await.unwrap();
            assert_eq!(table[0].servers.len(), 2);
        }
    }
    assert_eq!(kernel.faults().pending(), 0);
    let on = On::Command(command::GET_DEST);
    kernel.faults().always(on, Fault::LostReply);
    let error = read_fresh(&executor, TableQuery).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().clear();
    read_fresh(&executor, TableQuery).await.unwrap();
}

#[tokio::test]
async fn a_lost_reply_in_a_batch_does_not_mean_that_the_service_is_missing() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 0..4 {
        seed_service(&kernel, n, 0);
    }
    fault_once(&kernel, command::GET_SERVICE, Fault::LostReply);
    let expect_present = |n| {
        Transaction::new(
            ServiceQuery(key(n)),
            move |entry: &Option<Arc<ServiceEntry>>| match entry {
                Some(_) => Ok(Plan::nothing()),
                other => Err(Error::new(
                    Reason::ServiceNotFound,
                    format!("{n}: {other:?}"),
                )),
            },
            Nothing,
        )
    };
    let requests = (0..4).map(|n| write(&executor, expect_present(n)));
    for result in run_concurrently(&kernel, &executor, requests).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_malformed_reply_does_not_mean_that_the_service_is_missing() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 0);
    // An unknown address family.
    let unknown_family = Fault::rewrite(|datagram| {
        if let Some(family) = datagram.get_mut(28..30) {
            family.copy_from_slice(&99_u16.to_ne_bytes());
        }
    });
    fault_once(&kernel, command::GET_SERVICE, unknown_family);
    let error = read_fresh(&executor, ServiceQuery(key(1)))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    assert!(
        read_fresh(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_some()
    );
    let zeroed = || Fault::rewrite(|datagram| datagram[20..].fill(0));
    fault_once(&kernel, command::GET_CONFIG, zeroed());
    read_fresh(&executor, TimeoutsQuery).await.unwrap_err();
    read_fresh(&executor, TimeoutsQuery).await.unwrap();
    fault_once(&kernel, command::GET_INFO, zeroed());
    read_fresh(&executor, InfoQuery).await.unwrap_err();
    read_fresh(&executor, InfoQuery).await.unwrap();
}

#[tokio::test]
async fn messages_of_other_requests_are_ignored() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    seed_service(&kernel, 1, 1);
    // After each reply, an acknowledgement with an unknown sequence number.
    let mut stale = vec![36, 0, 0, 0, 2, 0, 0, 0, 0x99, 0x99, 0x99, 0x99, 0, 0, 0, 0];
    stale.resize(36, 0);
    kernel.faults().always(On::Any, Fault::trailing(stale));
    for _ in 0..3 {
        let entry = read_fresh(&executor, ServiceWithServersQuery(key(1)))
            .await
            .unwrap();
        assert_eq!(entry.unwrap().servers.len(), 1);
        execute(&executor, create_server(1, 7)).await.unwrap();
        execute(&executor, Op::DeleteServer(key(1), server_key(7)))
            .await
            .unwrap();
    }
}
