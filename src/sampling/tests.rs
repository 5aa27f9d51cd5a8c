//! What streams and the history get, with times of the tests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use jiff::Timestamp;

use super::{
    Frame, Interval, MeasuredRates, NextSample, Reading, Sampler, SamplingOptions, Update,
};
use crate::{
    budget::Budget,
    model::{
        Error, Family, Rates, Reason, Server, ServerConfig, Service, ServiceConfig, ServiceEntry,
        ServiceKey, Stats,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// A director whose services have the same traffic, and the sampler over it.
struct World {
    sampler: Arc<Sampler>,
    begin: Instant,
    /// Seconds since the begin.
    now: u64,
    table: Vec<ServiceEntry>,
    estimation: bool,
    counted: Stats,
    samples: usize,
}

fn key(port: u16) -> ServiceKey {
    format!("tcp-192.0.2.1-{port}").parse().unwrap()
}

fn stats(number: u64) -> Stats {
    Stats {
        connections: number,
        packets_in: 2 * number,
        packets_out: 3 * number,
        bytes_in: 4 * number,
        bytes_out: 5 * number,
    }
}

fn rates(number: f64) -> Option<MeasuredRates> {
    Some(MeasuredRates {
        connections: number,
        packets_in: 2.0 * number,
        packets_out: 3.0 * number,
        bytes_in: 4.0 * number,
        bytes_out: 5.0 * number,
    })
}

fn entry(port: u16) -> ServiceEntry {
    let server = |number: u32| Server {
        key: format!("10.0.0.{number}-80").parse().unwrap(),
        config: ServerConfig::default(),
        effective_weight: number - 1,
        holds: None,
        membership: None,
        active_connections: 10 * number,
        inactive_connections: number,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    };
    ServiceEntry {
        service: Service::idle(key(port), ServiceConfig::new(Family::Ipv4)),
        servers: vec![server(1), server(2)],
    }
}

impl World {
    fn new(services: u16, options: SamplingOptions) -> Self {
        let begin = Instant::now();
        Self {
            sampler: Arc::new(Sampler::new(options, &Budget::new(64 << 20), begin)),
            begin,
            now: 0,
            table: (0..services).map(entry).collect(),
            estimation: true,
            counted: stats(1_000_000),
            samples: 0,
        }
    }

    fn at(&self) -> Instant {
        self.begin + Duration::from_secs(self.now)
    }

    /// A second passes, with so many connections of each service.
    fn second(&mut self, connections: u64) {
        self.now += 1;
        for entry in &mut self.table {
            entry.service.stats = entry.service.stats.plus(&stats(connections));
            for server in &mut entry.servers {
                server.stats = server.stats.plus(&stats(connections));
            }
            self.counted = self.counted.plus(&stats(connections));
        }
        self.run();
    }

    fn seconds(&mut self, seconds: u64, connections: u64) {
        (0..seconds).for_each(|_| self.second(connections));
    }

    /// What the task does at this time.
    fn run(&mut self) {
        if self.sampler.next(self.at()) == NextSample::Now {
            self.samples += 1;
            let reading = Reading {
                at: self.at(),
                time: Timestamp::UNIX_EPOCH + Duration::from_secs(self.now),
                estimation: self.estimation,
                totals: stats(7),
                counted: Some(self.counted),
                table: &self.table,
            };
            let added = self.sampler.add(&reading, Duration::ZERO, self.at());
            added.unwrap();
        }
    }

    fn subscribe(&self, seconds: u64) -> super::Subscription {
        let interval = Interval::from_seconds(seconds).unwrap();
        self.sampler.subscribe(interval, None, self.at()).unwrap().0
    }
}

/// The update that is there.
fn taken(subscription: &mut super::Subscription) -> Option<Update> {
    subscription.next().now_or_never().map(Option::unwrap)
}

fn frame(subscription: &mut super::Subscription) -> Arc<Frame> {
    match taken(subscription) {
        Some(Update::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rates_are_differences_over_the_time_between_two_samples() {
    let mut world = World::new(2, SamplingOptions::default());
    let mut stream = world.subscribe(2);
    world.run();
    let first = frame(&mut stream);
    assert_eq!((first.interval, first.totals.rates), (None, None));
    assert_eq!(first.services.len(), 2);
    assert_eq!(first.totals.stats, stats(7));
    assert_eq!(
        (
            first.totals.active_connections,
            first.totals.inactive_connections
        ),
        (60, 6)
    );
    let service = &first.services[1];
    assert_eq!((service.id, service.server_count), (key(1), 2));
    assert_eq!((service.available_server_count, service.rates), (1, None));
    // Of the first sample, it is not known what the kernel had missed before.
    world.seconds(4, 3);
    let second = frame(&mut stream);
    assert_eq!(
        (second.services[0].rates, second.totals.rates),
        (None, rates(6.0))
    );
    world.seconds(4, 3);
    let second = frame(&mut stream);
    assert_eq!(second.interval, Some(4 * SECOND));
    assert_eq!(second.services[0].rates, rates(3.0));
    assert_eq!(second.services[0].stats, stats(24));
    // Those of the director are counted with each packet.
    assert_eq!(second.totals.rates, rates(6.0));
}

#[test]
fn a_rate_is_unknown_where_a_counter_went_back() {
    let mut world = World::new(2, SamplingOptions::default());
    let mut stream = world.subscribe(4);
    world.seconds(9, 5);
    world.table[0].service.stats = Stats::default();
    world.table.push(entry(2));
    world.seconds(4, 5);
    let frame = frame(&mut stream);
    let known: Vec<_> = frame
        .services
        .iter()
        .map(|one| one.rates.is_some())
        .collect();
    assert_eq!(known, [false, true, false]);
    // One second with two services, and three seconds with three.
    assert_eq!(frame.totals.rates, rates(55.0 / 4.0));
}

#[test]
fn a_reset_between_the_two_samples_of_a_rate_is_seen() {
    let mut world = World::new(1, SamplingOptions::default());
    let mut stream = world.subscribe(2);
    world.seconds(10, 5);
    assert!(frame(&mut stream).services[0].rates.is_some());
    // It has counted more since than it had before.
    world.table[0].service.stats = Stats::default();
    world.table[0].servers[0].stats = Stats::default();
    world.seconds(2, 1);
    assert_eq!(frame(&mut stream).services[0].rates, None);
    world.seconds(2, 100);
    let after = frame(&mut stream);
    assert_eq!(
        (after.interval, after.services[0].rates),
        (Some(4 * SECOND), None)
    );
    world.seconds(2, 100);
    assert_eq!(frame(&mut stream).services[0].rates, rates(100.0));
}

#[test]
fn what_was_missed_before_the_first_sample_is_in_no_rate() {
    let options = SamplingOptions {
        history: Duration::ZERO,
        ..SamplingOptions::default()
    };
    let mut world = World::new(1, options);
    let mut stream = world.subscribe(2);
    world.run();
    // The kernel begins to estimate again, and counts at once what it has missed.
    world.seconds(1, 1000);
    world.seconds(3, 1);
    assert_eq!(frame(&mut stream).services[0].rates, None);
    world.seconds(6, 1);
    assert_eq!(frame(&mut stream).services[0].rates, rates(1.0));
}

#[test]
fn without_estimation_only_the_totals_have_rates() {
    let mut world = World::new(1, SamplingOptions::default());
    let mut stream = world.subscribe(2);
    world.seconds(6, 1);
    world.estimation = false;
    world.seconds(6, 1);
    let paused = frame(&mut stream);
    assert!(!paused.estimation);
    assert_eq!(
        (paused.services[0].rates, paused.totals.rates),
        (None, rates(1.0))
    );
    // What the kernel has missed is counted when it estimates again, and belongs to no time.
    world.estimation = true;
    world.seconds(4, 100);
    assert_eq!(frame(&mut stream).services[0].rates, None);
    world.seconds(10, 1);
    assert_eq!(frame(&mut stream).services[0].rates, rates(1.0));
}

#[test]
fn the_number_of_samples_does_not_depend_on_the_number_of_streams() {
    let mut world = World::new(1, SamplingOptions::default());
    let mut streams: Vec<_> = (0..1000)
        .map(|number| world.subscribe(2 + number % 59))
        .collect();
    assert_eq!(world.sampler.streams(), 1000);
    world.run();
    world.samples = 0;
    world.seconds(120, 1);
    assert_eq!(world.samples, 60);
    for stream in &mut streams {
        assert_eq!(frame(stream).services[0].rates, rates(1.0));
    }
    drop(streams);
    // The history goes on.
    world.samples = 0;
    world.seconds(60, 1);
    assert_eq!((world.samples, world.sampler.streams()), (10, 0));
}

#[test]
fn a_slow_stream_gets_the_last_frame() {
    let mut world = World::new(1, SamplingOptions::default());
    let mut stream = world.subscribe(2);
    world.run();
    drop(frame(&mut stream));
    world.seconds(8, 1);
    let last = frame(&mut stream);
    assert_eq!(last.services[0].stats, stats(8));
    assert_eq!(world.sampler.skipped(), 3);
    assert!(taken(&mut stream).is_none());
}

#[test]
fn a_new_stream_gets_the_last_frame_of_its_interval_at_once() {
    let mut world = World::new(1, SamplingOptions::default());
    let _other = world.subscribe(10);
    world.seconds(11, 1);
    world.samples = 0;
    let mut stream = world.subscribe(10);
    assert_eq!(frame(&mut stream).services[0].stats, stats(10));
    world.run();
    assert_eq!(world.samples, 0);
    // With rates, because there is an older sample.
    let mut other = world.subscribe(20);
    world.run();
    assert_eq!(frame(&mut other).services[0].rates, rates(1.0));
}

#[test]
fn servers_are_shown_of_the_services_that_somebody_watches() {
    let mut world = World::new(100, SamplingOptions::default());
    let interval = Interval::DEFAULT;
    let watch = |world: &World, port| {
        world
            .sampler
            .subscribe(interval, Some(key(port)), world.at())
    };
    let (mut stream, _) = watch(&world, 7).unwrap();
    world.run();
    world.seconds(8, 2);
    let shown = frame(&mut stream);
    assert_eq!(shown.servers.len(), 1);
    let servers = &shown.servers[&key(7)];
    assert_eq!((servers[0].weight, servers[1].weight), (0, 1));
    assert_eq!(
        (servers[1].active_connections, servers[1].rates),
        (20, rates(2.0))
    );
    // A new one does not wait for the interval.
    let (mut other, _) = watch(&world, 8).unwrap();
    world.run();
    assert!(frame(&mut other).servers.contains_key(&key(8)));
    let mut others: Vec<_> = (10..72).map(|port| watch(&world, port).unwrap()).collect();
    assert_eq!(watch(&world, 99).unwrap_err().reason, Reason::RateLimited);
    assert!(watch(&world, 8).is_ok());
    others.pop();
    assert!(watch(&world, 99).is_ok());
}

#[test]
fn streams_are_limited_and_end_with_the_daemon() {
    let options = SamplingOptions {
        max_streams: 1,
        ..SamplingOptions::default()
    };
    let world = World::new(1, options);
    let mut stream = world.subscribe(2);
    let refused = world.sampler.subscribe(Interval::DEFAULT, None, world.at());
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, Reason::RateLimited);
    assert!(refused.hint.unwrap().contains("stats.max_streams"));
    world.sampler.close();
    assert!(stream.next().now_or_never().unwrap().is_none());
    assert_eq!(world.sampler.next(world.at()), NextSample::End);
    drop(stream);
    let mut late = world.subscribe(2);
    assert!(late.next().now_or_never().unwrap().is_none());
}

#[test]
fn a_failure_is_reported_and_tried_again() {
    let mut world = World::new(1, SamplingOptions::default());
    let mut stream = world.subscribe(2);
    let error = Error::new(Reason::KernelUnavailable, "no");
    world.sampler.fail(&error, Duration::ZERO, world.at());
    let reported = taken(&mut stream);
    assert!(
        matches!(reported, Some(Update::Unavailable(error)) if error.reason == Reason::KernelUnavailable)
    );
    assert!(matches!(world.sampler.next(world.at()), NextSample::In(_)));
    world.seconds(4, 1);
    assert_eq!(frame(&mut stream).services.len(), 1);
}

#[test]
fn reads_that_take_long_are_rarer() {
    let world = World::new(1, SamplingOptions::default());
    let _stream = world.subscribe(2);
    let error = Error::new(Reason::KernelUnavailable, "no");
    world.sampler.fail(&error, SECOND, world.at());
    // One second of twenty; of two for a stream that has nothing yet.
    assert_eq!(world.sampler.next(world.at()), NextSample::In(20 * SECOND));
    let _new = world.subscribe(10);
    assert_eq!(world.sampler.next(world.at()), NextSample::In(2 * SECOND));
}

#[test]
fn the_history_is_bounded_in_time_and_in_bytes() {
    let mut world = World::new(10, SamplingOptions::default());
    world.seconds(2000, 4);
    let history = |service, window: u64| {
        let window = Duration::from_secs(window);
        world.sampler.history(window, service, None).unwrap()
    };
    let totals = history(None, 3600);
    assert_eq!(totals.len(), 150);
    assert!(
        totals
            .iter()
            .all(|frame| frame.services.is_empty() && frame.interval == Some(6 * SECOND))
    );
    assert_eq!(totals[149].totals.rates, rates(40.0));
    assert_eq!(history(None, 60).len(), 11);
    let service = history(Some(key(3)), 12);
    assert_eq!(service[0].services[0].rates, rates(4.0));
    assert!(history(Some(key(99)), 6)[0].services.is_empty());
    let sees: &dyn Fn(ServiceKey) -> bool = &|one| one == key(3) || one == key(4);
    let seen = world.sampler.history(6 * SECOND, None, Some(sees)).unwrap();
    assert_eq!(
        (seen[0].totals.service_count, seen[0].totals.rates),
        (2, rates(8.0))
    );
    assert!(seen[0].services.is_empty());

    let options = SamplingOptions {
        max_history_bytes: 64 << 10,
        ..SamplingOptions::default()
    };
    let mut world = World::new(100, options);
    world.seconds(2000, 1);
    let points = world.sampler.history(900 * SECOND, None, None).unwrap();
    assert!((3..10).contains(&points.len()), "{}", points.len());
}

#[test]
fn without_history_nothing_is_read_for_nobody() {
    let options = SamplingOptions {
        history: Duration::ZERO,
        ..SamplingOptions::default()
    };
    let mut world = World::new(1, options);
    assert!(!world.sampler.start());
    assert_eq!(world.sampler.next(world.at()), NextSample::End);
    let stream = world.subscribe(2);
    world.seconds(4, 1);
    drop(stream);
    assert_eq!(world.sampler.next(world.at()), NextSample::End);
}

#[test]
fn a_text_is_charged_as_long_as_a_client_has_it() {
    let options = SamplingOptions {
        history: Duration::ZERO,
        ..SamplingOptions::default()
    };
    let budget = Budget::new(64 << 20);
    let mut world = World::new(100, options.clone());
    world.sampler = Arc::new(Sampler::new(options, &budget, world.begin));
    let mut stream = world.subscribe(2);
    world.run();
    let shown = frame(&mut stream);
    let text = shown.text(true, || Ok::<_, ()>(vec![b'x'; 9])).unwrap();
    assert_eq!(shown.text(true, || Err(())).unwrap(), text);
    drop((shown, stream));
    assert_eq!(world.sampler.next(world.at()), NextSample::End);
    assert!(budget.used() > 50_000, "{}", budget.used());
    drop(text);
    assert_eq!(budget.used(), 0);
}

#[test]
fn intervals_are_even_numbers_of_seconds() {
    for (seconds, time) in [
        (2, Some(2)),
        (3, Some(4)),
        (60, Some(60)),
        (59, Some(60)),
        (1, None),
        (61, None),
    ] {
        let interval = Interval::from_seconds(seconds);
        assert_eq!(interval.map(|one| one.time().as_secs()), time, "{seconds}");
    }
}
