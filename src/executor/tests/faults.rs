//! A kernel that misbehaves: the answer tells the truth, and the executor gets over it.

use super::*;

/// The same request until it succeeds: a failure to connect stands for a moment.
async fn recovers<Q: TypedQuery>(executor: &Executor, query: Q) {
    let deadline = later();
    while let Err(error) = ask(executor, query.clone()).await {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_kernel_without_ipvs_is_unavailable_with_the_remedy_and_no_more_once_it_is_loaded() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    for error in [
        ask(&executor, TableQuery).await.unwrap_err(),
        run(&executor, create(1)).await.unwrap_err(),
        change(&executor, reading(1, create(1))).await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert_eq!(error.errno, Some(Errno::ENOENT));
        assert!(error.hint.unwrap().contains("modprobe ip_vs"));
    }
    assert!(
        kernel.lookups() <= 2,
        "each may run modprobe: {}",
        kernel.lookups()
    );
    kernel.faults().load();
    recovers(&executor, TableQuery).await;
    run(&executor, create(1)).await.unwrap();
}

#[tokio::test]
async fn a_family_that_went_away_while_connected_is_told_and_found_again() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    run(&executor, create(1)).await.unwrap();
    kernel.faults().unload();
    let error = run(&executor, create(2)).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    assert!(error.hint.unwrap().contains("modprobe"));
    let error = ask(&executor, ServiceWithServersQuery(key(1)))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().load();
    recovers(&executor, InfoQuery).await;
    assert!(
        ask(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_module_loaded_anew_under_another_number_is_no_error_at_all() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let anew = || {
        kernel.faults().unload();
        kernel.faults().load();
    };
    macro_rules! each {
        ($($query:expr),*) => {$(
            ask(&executor, $query).await.unwrap();
            anew();
            ask(&executor, $query).await.unwrap();
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
    anew();
    run(&executor, create(1)).await.unwrap();
    anew();
    let plan = Transaction::new(
        Nothing,
        |_| {
            Ok(Plan::staged([
                vec![create(1).into()],
                vec![add(1, 1).into()],
            ]))
        },
        ServiceWithServersQuery(key(1)),
    );
    let seen = change(&executor, plan).await.unwrap().value;
    assert_eq!(seen.unwrap().servers.len(), 1);
    anew();
    let error = run(&executor, Op::DeleteService(key(1))).await.unwrap_err();
    assert_eq!(
        error.reason,
        Reason::ServiceNotFound,
        "the new module's table is empty"
    );
}

#[tokio::test]
async fn a_module_that_a_read_has_found_again_is_there_for_a_write() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    let error = run(&executor, create(1)).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().load();
    let deadline = later();
    while ask(&executor, ServicesQuery).await.is_err() {
        assert!(Instant::now() < deadline, "it is never found");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    run(&executor, create(1)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_scheduler_is_not_taken_for_a_family_that_has_gone() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let op = |scheduler: &str, engine: Option<&str>| {
        let config = ServiceConfig {
            persistence_engine: engine.map(|engine| engine.parse().unwrap()),
            ..config(scheduler)
        };
        Op::CreateService(key(1), config)
    };
    let error = run(&executor, op("nosuch", None)).await.unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
    assert_eq!(kernel.commands(command::NEW_SERVICE), 1, "not tried again");
    kernel.set_file(
        "modules",
        "ip_vs_rr 16384 0 - Live 0x0\nip_vs 1 1 ip_vs_rr, Live 0x0\n",
    );
    let error = run(&executor, op("rr", Some("nosuch"))).await.unwrap_err();
    assert_eq!(error.reason, Reason::PersistenceEngineUnavailable);
    let error = run(&executor, op("nosuch", Some("sip"))).await.unwrap_err();
    assert_eq!(error.reason, Reason::SchedulerUnavailable);
}

#[tokio::test]
async fn a_missing_capability_is_told_by_reads_and_writes_until_it_is_there() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().set_permitted(false);
    for error in [
        ask(&executor, InfoQuery).await.unwrap_err(),
        ask(&executor, TableQuery).await.unwrap_err(),
        ask(&executor, ServiceQuery(key(1))).await.unwrap_err(),
        run(&executor, create(1)).await.unwrap_err(),
        change(&executor, reading(1, create(1))).await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable);
        assert_eq!(error.errno, Some(Errno::EPERM));
        assert!(error.detail.contains("CAP_NET_ADMIN"), "{error}");
    }
    kernel.faults().set_permitted(true);
    run(&executor, create(1)).await.unwrap();
}

#[tokio::test]
async fn a_module_on_its_way_out_is_unavailable_to_writes_as_to_reads() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel
        .faults()
        .times(2, On::Any, Fault::Errno(libc::ENOPROTOOPT));
    for error in [
        run(&executor, create(1)).await.unwrap_err(),
        ask(&executor, InfoQuery).await.unwrap_err(),
    ] {
        assert_eq!(error.reason, Reason::KernelUnavailable, "{error}");
        assert!(error.hint.unwrap().contains("modprobe ip_vs"));
    }
}

#[tokio::test]
async fn a_kernel_without_ipv6_has_no_ipv6_services_and_refuses_them_one_by_one() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.set_ipv6(false);
    put(&kernel, 1, 0);
    let v6: ServiceKey = "tcp-2001:db8::1-80".parse().unwrap();
    assert!(
        ask(&executor, ServiceWithServersQuery(v6))
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
    let requests = [v6, key(1)].map(|service| change(&executor, delete(service)));
    let results = together(&kernel, &executor, requests).await;
    assert_eq!(
        results[0].as_ref().unwrap_err().reason,
        Reason::ServiceNotFound
    );
    assert!(results[1].is_ok(), "{results:?}");
    let create = Op::CreateService(v6, ServiceConfig::new(Family::Ipv6));
    let error = run(&executor, create).await.unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedByKernel);
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_or_dropped_is_asked_again() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 2);
    for fault in [Fault::Overrun, Fault::LostReply, Fault::garbage([0xff; 40])] {
        for command in [command::GET_SERVICE, command::GET_DEST] {
            once(&kernel, command, fault.clone());
            let seen = ask(&executor, ServiceWithServersQuery(key(1)))
                .await
                .unwrap();
            assert_eq!(seen.unwrap().servers.len(), 2);
            once(&kernel, command, fault.clone());
            let seen = ask(&executor, TableQuery).await.unwrap();
            assert_eq!(seen[0].servers.len(), 2);
        }
    }
    assert_eq!(kernel.faults().pending(), 0);
    let any = On::Command(command::GET_DEST);
    kernel.faults().always(any, Fault::LostReply);
    let error = ask(&executor, TableQuery).await.unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    kernel.faults().clear();
    ask(&executor, TableQuery).await.unwrap();
}

#[tokio::test]
async fn a_missing_answer_among_several_is_not_taken_for_a_missing_service() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for n in 0..4 {
        put(&kernel, n, 0);
    }
    once(&kernel, command::GET_SERVICE, Fault::LostReply);
    let look = |n| {
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
    let requests = (0..4).map(|n| change(&executor, look(n)));
    for result in together(&kernel, &executor, requests).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_not_taken_for_a_missing_service() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 0);
    // An address family that there is none of.
    let odd = Fault::rewrite(|datagram| {
        if let Some(family) = datagram.get_mut(28..30) {
            family.copy_from_slice(&99_u16.to_ne_bytes());
        }
    });
    once(&kernel, command::GET_SERVICE, odd);
    let error = ask(&executor, ServiceQuery(key(1))).await.unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    assert!(
        ask(&executor, ServiceQuery(key(1)))
            .await
            .unwrap()
            .is_some()
    );
    let zeroed = || Fault::rewrite(|datagram| datagram[20..].fill(0));
    once(&kernel, command::GET_CONFIG, zeroed());
    ask(&executor, TimeoutsQuery).await.unwrap_err();
    ask(&executor, TimeoutsQuery).await.unwrap();
    once(&kernel, command::GET_INFO, zeroed());
    ask(&executor, InfoQuery).await.unwrap_err();
    ask(&executor, InfoQuery).await.unwrap();
}

#[tokio::test]
async fn stale_and_foreign_messages_beside_the_answer_are_passed_over() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    put(&kernel, 1, 1);
    // An acknowledgement of another request, behind the answer and before the next.
    let mut stale = vec![36, 0, 0, 0, 2, 0, 0, 0, 0x99, 0x99, 0x99, 0x99, 0, 0, 0, 0];
    stale.resize(36, 0);
    kernel.faults().always(On::Any, Fault::trailing(stale));
    for _ in 0..3 {
        let seen = ask(&executor, ServiceWithServersQuery(key(1)))
            .await
            .unwrap();
        assert_eq!(seen.unwrap().servers.len(), 1);
        run(&executor, add(1, 7)).await.unwrap();
        run(&executor, Op::DeleteServer(key(1), server_key(7)))
            .await
            .unwrap();
    }
}
