//! A page of services as an HTTP response: its entity tags, and its encoded form, which the page
//! keeps for other requests for it.

use std::{hash::Hash, sync::Arc};

use axum::body::Body;
use bytes::Bytes;

use super::{
    body::{self, Services},
    compression::SharedBody,
    etag::{Tag, hash_service},
};
use crate::{
    app::ServicePage,
    model::{Etag, ServiceEntry},
};

/// The tags of a page: of the whole page, and of each service on it.
#[derive(Clone)]
struct PageTags {
    page: Tag,
    services: Arc<[Etag]>,
}

/// An encoded page; `None` if it could not be encoded.
#[derive(Clone)]
struct EncodedPage(Option<Bytes>);

/// The tag and the body of a page. The body is encoded when it is called for; if other requests share
/// it, it comes with what the compression keeps.
pub(super) fn render(page: Arc<ServicePage>) -> (Tag, impl FnOnce() -> (Body, Option<SharedBody>)) {
    let tags = page.get_or_render(|| PageTags::of(&page));
    let body = move || {
        let pieces = || Services::new(page.clone(), tags.services.clone());
        let encoded = page
            .is_shared()
            .then(|| page.get_or_render(|| EncodedPage(body::encode(pieces()).ok())));
        match encoded {
            Some(EncodedPage(Some(bytes))) => {
                let shared = SharedBody::new(page, bytes.clone());
                (Body::from(bytes), Some(shared))
            }
            _ => (body::body(pieces()), None),
        }
    };
    (tags.page, body)
}

// === impl PageTags ===

impl PageTags {
    fn of(page: &ServicePage) -> Self {
        let etag = |entry: &ServiceEntry| match page.include.servers {
            true => entry.etag(),
            false => entry.service.etag(),
        };
        let mut services = Vec::with_capacity(page.len());
        let tag = Tag::of_list(|hasher| {
            (page.next_page_token(), page.estimation, page.include).hash(hasher);
            // One pass: a large table does not fit into the processor's cache.
            for entry in page.iter() {
                let etag = etag(entry);
                services.push(etag);
                hash_service(entry, etag, page.include, hasher);
            }
        });
        Self {
            page: tag,
            services: services.into(),
        }
    }
}
