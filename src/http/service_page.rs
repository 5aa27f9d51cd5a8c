//! A page of services as an HTTP response: its entity tags, and its encoded form, which the page
//! keeps for other requests for it.

use std::{hash::Hash, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    body::{self, Services},
    compression::SharedBody,
    etag::{Tag, hash_service},
};
use crate::{
    app::{PageEntries, ServicePage},
    model::{Error, Etag, Fingerprint, Reason, ServiceEntry, fingerprint},
};

/// The tags of a page: of the whole page, and of each service on it.
#[derive(Clone)]
pub(super) struct PageTags {
    page: Tag,
    services: Arc<[Etag]>,
}

/// Computes [`PageTags`].
struct Tagger<'a> {
    page: &'a ServicePage,
    hasher: Fingerprint,
    services: Vec<Etag>,
}

/// An encoded page; `None` if it could not be encoded.
#[derive(Clone)]
struct EncodedPage(Option<Bytes>);

/// Servers whose tags are computed before other tasks run: a few milliseconds at most. To let them run
/// takes some system calls.
const SERVERS_AT_ONCE: usize = 16 << 10;

/// The tags of a page; `None` if some of it is read while it is sent, because they cover all of it.
pub(super) async fn tags(page: &ServicePage) -> Option<PageTags> {
    if !page.is_complete() {
        return None;
    }
    if page.is_shared() {
        return Some(page.get_or_render(|| {
            let mut tagger = Tagger::new(page);
            page.iter().for_each(|entry| tagger.add(entry));
            tagger.finish()
        }));
    }
    let mut tagger = Tagger::new(page);
    let mut servers = 0;
    for entry in page.iter() {
        tagger.add(entry);
        servers += entry.servers.len();
        if servers >= SERVERS_AT_ONCE {
            servers = 0;
            yield_now().await;
        }
    }
    Some(tagger.finish())
}

/// The body of a page. If other requests share it, it comes with what the compression keeps.
///
/// Of a page that is read in parts, those in the body may take `part_timeout` each. With
/// `needs_length`, all of it is read and encoded before the response begins.
pub(super) async fn body(
    entries: PageEntries,
    tags: Option<PageTags>,
    part_timeout: Duration,
    needs_length: bool,
) -> Result<(Body, Option<SharedBody>), Error> {
    let page = entries.page().clone();
    let budget = entries.budget();
    let pieces = Services::new(entries, tags.map(|tags| tags.services), part_timeout);
    if !page.is_shared() {
        let body = match needs_length {
            true => body::whole(pieces, &budget).await,
            false => body::body(pieces).await,
        };
        return Ok((body?, None));
    }
    let encoded = page.get_or_render(|| EncodedPage(body::encode(pieces).ok()));
    let bytes = encoded
        .0
        .ok_or_else(|| Error::new(Reason::Internal, "the list cannot be encoded"))?;
    let shared = SharedBody::new(page, bytes.clone());
    Ok((Body::from(bytes), Some(shared)))
}

// === impl PageTags ===

impl PageTags {
    /// The tag of the whole page.
    pub(super) fn page(&self) -> Tag {
        self.page
    }
}

// === impl Tagger ===

impl<'a> Tagger<'a> {
    fn new(page: &'a ServicePage) -> Self {
        let mut hasher = fingerprint();
        (page.next_page_token(), page.estimation, page.include).hash(&mut hasher);
        Self {
            page,
            hasher,
            services: Vec::with_capacity(page.len()),
        }
    }

    /// One pass for both tags: a large table does not fit into the processor's cache.
    fn add(&mut self, entry: &ServiceEntry) {
        let include = self.page.include;
        let etag = match include.servers {
            true => entry.etag(),
            false => entry.service.etag(),
        };
        self.services.push(etag);
        hash_service(entry, etag, include, &mut self.hasher);
    }

    fn finish(self) -> PageTags {
        PageTags {
            page: Tag::of_hashed(&self.hasher),
            services: self.services.into(),
        }
    }
}
