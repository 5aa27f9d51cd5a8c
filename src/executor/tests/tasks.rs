//! Jobs that the submitting task runs itself, and that may fail at every request to the kernel.

use tokio::runtime::{Builder, Runtime};

use super::*;

/// A runtime whose tasks run short jobs, or one whose tasks do not.
fn runtime(multi_thread: bool) -> Runtime {
    let mut builder = match multi_thread {
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    };
    builder.worker_threads(2).enable_time().build().unwrap()
}

/// Waits until the thread for changes has released the lock that the task needs.
async fn thread_is_idle(executor: &Executor) {
    let dispatcher = &executor.writer.queues.dispatcher;
    wait_until("the thread is idle", || dispatcher.try_lock().is_some()).await;
}

/// A fault that records the name of the thread that executes a command.
fn record(names: &Arc<Mutex<Vec<String>>>) -> Fault {
    let names = names.clone();
    Fault::before(move |_| {
        let name = thread::current().name().unwrap_or_default().to_owned();
        names.lock().unwrap().push(name);
    })
}

#[test]
fn the_submitting_task_runs_short_jobs_and_the_threads_run_long_ones() {
    let kernel = FakeKernel::new();
    seed_service(&kernel, 1, 1);
    let names = Arc::new(Mutex::new(Vec::new()));
    runtime(true).block_on(async {
        let executor = start(&kernel);
        // Connecting may run modprobe.
        connect(&executor).await;
        thread_is_idle(&executor).await;
        kernel.faults().always(On::Any, record(&names));
        let create = without_precondition([create_server(1, 7)], ServersQuery(key(1)));
        write(&executor, create).await.unwrap();
        read_fresh(&executor, ServiceQuery(key(1))).await.unwrap();
        let own = thread::current().name().unwrap_or_default().to_owned();
        let recorded = std::mem::take(&mut *names.lock().unwrap());
        assert!(recorded.iter().all(|name| *name == own), "{recorded:?}");
        assert_eq!(recorded.len(), 3);

        let commands = CommandList::new(vec![create_service(2)], false);
        write(&executor, commands).await.unwrap();
        assert_eq!(
            std::mem::take(&mut *names.lock().unwrap()),
            ["ipvs-changes"]
        );
        read_fresh(&executor, ServicesQuery).await.unwrap();
        assert_eq!(std::mem::take(&mut *names.lock().unwrap()), ["ipvs-reads"]);
    });
}

#[test]
fn the_clock_is_read_again_after_offloaded_work() {
    const PAUSE: Duration = Duration::from_millis(2);
    let task = crate::clock::at_one_time(async {
        let before = crate::clock::now();
        offload::offload(|| thread::sleep(PAUSE));
        assert!(crate::clock::now() >= before + PAUSE);
    });
    runtime(true).block_on(task);
}

/// A task runs the jobs of others in one poll, during which the time stands still.
#[test]
fn a_change_does_not_start_if_its_deadline_passes_during_another_of_the_same_task() {
    let kernel = FakeKernel::new();
    seed_service(&kernel, 1, 0);
    runtime(true).block_on(async {
        let executor = start(&kernel);
        connect(&executor).await;
        thread_is_idle(&executor).await;
        let changes = crate::clock::at_one_time(async {
            let soon = crate::clock::now() + Duration::from_millis(50);
            let fault = Fault::before(move |_| {
                thread::sleep(soon.saturating_duration_since(Instant::now()));
            });
            fault_once(&kernel, command::NEW_DEST, fault);
            let [first, second] =
                [1, 2].map(|n| without_precondition([create_server(1, n)], ServersQuery(key(1))));
            let mut first = pin!(write(&executor, first));
            let mut second = pin!(executor.writer.write(second, soon, false));
            let dispatcher = &executor.writer.queues.dispatcher;
            let mut worker = dispatcher.lock();
            assert!(first.as_mut().now_or_never().is_none());
            assert!(second.as_mut().now_or_never().is_none());
            dispatcher.run_short_jobs(&mut worker);
            drop(worker);
            (first.now_or_never(), second.now_or_never())
        });
        let (first, second) = changes.await;
        first.unwrap().unwrap();
        let error = second.unwrap().unwrap_err();
        assert_eq!(error.reason, Reason::DeadlineExceeded);
    });
    assert_eq!(kernel.service(id(1)).unwrap().len(), 1);
}

/// The kernel loads the module of a scheduler, by modprobe(8), inside the request that names it.
#[test]
fn other_tasks_run_while_the_kernel_may_load_a_module() {
    let edit = || Op::SetService(key(1), config("wrr"));
    let checked = move |found: &Option<Arc<ServiceEntry>>| {
        let old = found.as_ref().unwrap().service.config;
        let step = Step::new(edit(), Op::SetService(key(1), old));
        Ok(Plan::of([step.checked(Check::Unchanged)]))
    };
    let query = ServiceQuery(key(1));
    other_tasks_run_during(command::NEW_SERVICE, execute_and_read(create_service(1)));
    other_tasks_run_during(command::SET_SERVICE, execute_and_read(edit()));
    other_tasks_run_during(
        command::SET_SERVICE,
        Transaction::new(query, checked, query),
    );
}

/// Asserts that a task other than that of a change runs on the same thread while the kernel executes a
/// request of the change.
fn other_tasks_run_during(request: u8, change: impl Write) {
    let kernel = FakeKernel::new();
    if request == command::SET_SERVICE {
        seed_service(&kernel, 1, 0);
    }
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async {
        let executor = start(&kernel);
        connect(&executor).await;
        thread_is_idle(&executor).await;
        let (breakpoint, stop) = Breakpoint::new();
        fault_once(&kernel, request, Fault::before(move |_| stop()));
        let own = executor.clone();
        let change = tokio::spawn(async move { write(&own, change).await.map(drop) });
        let release = breakpoint.reached().await;
        let other = tokio::spawn(async {});
        let other = tokio::time::timeout(LONG / 6, other).await;
        release.send(()).unwrap();
        other.unwrap().unwrap();
        change.await.unwrap().unwrap();
    });
}

/// A transaction that executes an operation and reads service 1 back.
fn execute_and_read(op: Op) -> Transaction<Nothing, ServiceQuery> {
    without_precondition([op], ServiceQuery(key(1)))
}

#[test]
fn tasks_that_submit_at_once_execute_each_job_once_and_in_order() {
    const TASKS: u32 = 8;
    const CHANGES: u32 = 200;
    let kernel = FakeKernel::new();
    seed_service(&kernel, 1, 0);
    runtime(true).block_on(async {
        let executor = start(&kernel);
        connect(&executor).await;
        let tasks = (0..TASKS).map(|task| {
            let executor = executor.clone();
            tokio::spawn(async move {
                for change in 0..CHANGES {
                    let server = task * CHANGES + change;
                    let query = ServerQuery(key(1), server_key(server));
                    let create = without_precondition([create_server(1, server)], query);
                    let created = write(&executor, create).await.unwrap().value.unwrap();
                    assert!(created.server.is_some());
                    if change % 50 == 0 {
                        let table = read_fresh(&executor, TableQuery).await.unwrap();
                        let servers = &table[0].servers;
                        assert!(servers.iter().any(|found| found.key == server_key(server)));
                    }
                    if change % 2 == 1 {
                        let delete = Op::DeleteServer(key(1), server_key(server - 1));
                        let delete =
                            Transaction::new(query, |_| Ok(Plan::of([delete.into()])), Nothing);
                        write(&executor, delete).await.unwrap();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    let service = kernel.service(id(1)).unwrap();
    let mut left: Vec<_> = service.destinations().map(|d| d.address).collect();
    left.sort_unstable();
    let expected = (0..TASKS * CHANGES).filter(|server| server % 2 == 1);
    let expected = expected.map(|server| {
        let key = server_key(server);
        (key.address, key.port).into()
    });
    assert_eq!(left, expected.collect::<Vec<std::net::SocketAddr>>());
}

/// The weight of server 0 of service 1; `None` if it does not exist.
fn weight(kernel: &FakeKernel) -> Option<u32> {
    let service = kernel.service(id(1))?;
    let server = server_key(0);
    let address = (server.address, server.port).into();
    let mut found = service.destinations().filter(|d| d.address == address);
    found.next().map(|d| d.weight)
}

/// A transaction that gives server 0 a weight, creates it with one, or deletes it.
fn set_weight(weight: Option<u32>) -> Transaction<ServerQuery, ServerQuery> {
    let (service, server) = (key(1), server_key(0));
    let query = ServerQuery(service, server);
    let plan = move |found: &Option<FoundServer>| {
        let old = found.as_ref().and_then(|found| found.server.clone());
        let config = |weight| ServerConfig {
            weight,
            ..ServerConfig::default()
        };
        let undo = |old: Server| Op::SetServer(service, server, old.config);
        Ok(Plan::of(match (old, weight) {
            (None, Some(weight)) => Some(Op::CreateServer(service, server, config(weight)).into()),
            (Some(old), Some(weight)) => Some(
                Step::new(Op::SetServer(service, server, config(weight)), undo(old))
                    .checked(Check::Unchanged),
            ),
            (Some(_), None) => Some(Op::DeleteServer(service, server).into()),
            (None, None) => None,
        }))
    };
    Transaction::repeated(query, plan, query)
}

/// Every fault at every request of a change: the answer says what the kernel has.
#[test]
fn the_outcome_is_true_whatever_request_to_the_kernel_fails() {
    let faults = || {
        [
            Fault::SendError(libc::ENOBUFS),
            Fault::SendError(libc::ENOMEM),
            Fault::Overrun,
            Fault::Errno(libc::ENOMEM),
            Fault::LostReply,
        ]
    };
    let changes = [
        (None, Some(1), command::NEW_DEST),
        (Some(1), Some(2), command::SET_DEST),
        (Some(2), None, command::DEL_DEST),
    ];
    for multi_thread in [false, true] {
        for (before, after, change) in changes {
            for request in [command::GET_DEST, command::GET_SERVICE, change] {
                for (place, fault) in faults().into_iter().enumerate() {
                    // A service without servers is confirmed by a read of its own; an edit finds its
                    // server.
                    let confirmed = request == command::GET_SERVICE;
                    if confirmed && change == command::SET_DEST {
                        continue;
                    }
                    // A reply that never comes takes 250 ms.
                    if matches!(fault, Fault::LostReply) && (request != change || !multi_thread) {
                        continue;
                    }
                    let kernel = FakeKernel::new();
                    seed_service(&kernel, 1, 0);
                    if !confirmed {
                        seed_server(&kernel, 1, 5);
                    }
                    runtime(multi_thread).block_on(async {
                        let executor = start(&kernel);
                        connect(&executor).await;
                        if before.is_some() {
                            write(&executor, set_weight(before)).await.unwrap();
                        }
                        fault_once(&kernel, request, fault);
                        let outcome = write(&executor, set_weight(after)).await;
                        assert_eq!(
                            kernel.faults().pending(),
                            0,
                            "{before:?} {after:?} {request} {place}"
                        );
                        let found = weight(&kernel);
                        let case = format!("{multi_thread} {before:?} {after:?} {request} {place}");
                        match outcome {
                            Ok(executed) => {
                                let server = executed.value.unwrap().server;
                                assert_eq!(server.map(|s| s.config.weight), after, "{case}");
                                assert_eq!(found, after, "{case}");
                            }
                            Err(error) if error.detail.contains("executed, but") => {
                                assert_eq!(found, after, "{case}: {error}");
                            }
                            Err(error) => assert_eq!(found, before, "{case}: {error}"),
                        }
                        kernel.faults().clear();
                        // The next change finds everything in order.
                        write(&executor, set_weight(Some(9))).await.unwrap();
                        assert_eq!(weight(&kernel), Some(9), "{case}");
                    });
                }
            }
        }
    }
}
