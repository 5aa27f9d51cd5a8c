//! Who needs the cache, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::model::{Kernel, server, server_config, service_config, service_key};
use crate::{
    budget::Budget,
    model::{Op, Reason, ServerConfig, ServerKey, StoredFields},
    watch::{NextDump, Seen, WatchCache, WatchOptions},
};

fn cache(max_watchers: usize) -> Arc<WatchCache> {
    let options = WatchOptions {
        max_watchers,
        ..WatchOptions::default()
    };
    Arc::new(WatchCache::new(options, &Budget::new(64 << 20)))
}

/// A dump of an empty table.
fn dump(cache: &Arc<WatchCache>) {
    let read = cache.begin_read().unwrap();
    read.finish(|see| see(Seen::Table(&[], 0)));
}

#[test]
fn without_need_nothing_is_read() {
    let cache = cache(1);
    assert!(cache.begin_read().is_none());
    let now = Instant::now();
    assert!(cache.retain(now), "the first starts the task");
    assert!(!cache.retain(now));
    dump(&cache);
    assert!(cache.is_known());
    // Nobody watches: the dumps of others suffice.
    let retention = cache.options().retention;
    assert_eq!(cache.next_dump(now), NextDump::In(retention));
    let revision = cache.revision();
    assert_eq!(cache.next_dump(now + retention), NextDump::End);
    assert!(!cache.is_known() && cache.begin_read().is_none());
    assert_ne!(cache.revision(), revision);
}

#[test]
fn the_rate_of_dumps_does_not_depend_on_the_number_of_watchers() {
    let cache = cache(1000);
    let watchers: Vec<_> = (0..1000).map(|_| cache.subscribe().unwrap()).collect();
    assert_eq!(watchers.iter().filter(|(_, starts)| *starts).count(), 1);
    let refused = cache.subscribe().unwrap_err();
    assert_eq!(refused.reason, Reason::RateLimited);
    assert!(refused.hint.unwrap().contains("watch.max_watchers"));
    let begin = Instant::now();
    let mut dumps = 0;
    for tenth in 0..100 {
        let now = begin + tenth * Duration::from_millis(100);
        dumps += usize::from(cache.next_dump(now) == NextDump::Now);
    }
    assert_eq!(dumps, 10);
    drop(watchers);
    assert!(matches!(cache.next_dump(begin), NextDump::In(_)));
}

#[test]
fn no_watcher_misses_the_end() {
    let cache = cache(1);
    let (watcher, _) = cache.subscribe().unwrap();
    assert!(!watcher.is_closed());
    cache.close();
    assert!(watcher.is_closed());
    assert!(cache.awaits_end() && !cache.awaits_end());
}

#[test]
fn the_cache_is_charged_and_given_up_without_memory() {
    let budget = Budget::new(8 << 20);
    let cache = Arc::new(WatchCache::new(WatchOptions::default(), &budget));
    cache.retain(Instant::now());
    let mut kernel = Kernel::default();
    kernel.execute(&Op::CreateService(
        service_key(1),
        service_config(0),
        StoredFields::default(),
    ));
    let servers = (0..60_000_u32).map(|n| {
        let key = ServerKey {
            address: std::net::Ipv4Addr::from(n).into(),
            port: 80,
        };
        server(key, server_config(1))
    });
    kernel.0[0].servers = servers.collect();
    let fill = || {
        let read = cache.begin_read().unwrap();
        read.finish(|see| see(Seen::Table(&kernel.0, 1)));
    };
    fill();
    assert!(cache.is_known());
    let used = budget.used();
    assert!(
        used > 60_000 * size_of::<(ServerKey, ServerConfig)>(),
        "{used}"
    );
    let until = Instant::now() + cache.options().retention;
    assert_eq!(cache.next_dump(until), NextDump::End);
    assert_eq!(budget.used(), 0);
    cache.retain(Instant::now());
    let other = budget.charge(5 << 20).unwrap();
    fill();
    assert!(!cache.is_known());
    drop(other);
    fill();
    assert!(cache.is_known());
}
