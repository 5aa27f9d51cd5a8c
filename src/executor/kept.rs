//! What the daemon keeps about services, for those who change it.

use std::sync::Arc;

use super::{
    cache::Cache,
    stored::{FieldStore, StoredServices},
};
use crate::{
    model::{Owner, ServiceKey, StoredFields},
    watch::{Author, KeptServices, WatchCache},
};

/// Changes what is kept about services.
#[derive(Clone, Debug)]
pub struct KeptStore {
    watch: Arc<WatchCache>,
    cache: Arc<Cache>,
    stored: Arc<StoredServices>,
}

// === impl KeptStore ===

impl KeptStore {
    pub(super) fn new(
        watch: Arc<WatchCache>,
        cache: Arc<Cache>,
        stored: Arc<StoredServices>,
    ) -> Self {
        Self {
            watch,
            cache,
            stored,
        }
    }

    /// Sets where the stored fields of services are stored, and which there are. Once, before the first request.
    pub fn load_stored(&self, store: Box<dyn FieldStore>, fields: Vec<(ServiceKey, StoredFields)>) {
        self.stored.load(store, &fields);
        self.watch.load_stored(fields);
        self.cache.clear();
    }

    /// What is kept about all services.
    pub fn all(&self) -> Arc<KeptServices> {
        self.watch.kept()
    }

    /// Tables claim services, or none does any more, on behalf of this request. Reads that begin later show it,
    /// and watchers get an event of each service that exists.
    pub fn claim(
        &self,
        claims: impl Iterator<Item = (ServiceKey, Option<Owner>)>,
        author: Option<&Author>,
    ) {
        self.watch.claim(claims, author);
        self.cache.clear();
    }

    /// It is not known what is kept, because the daemon serves without its store.
    pub fn be_unknown(&self) {
        self.watch.keep_nothing();
        self.cache.clear();
    }
}
