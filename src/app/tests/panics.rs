//! Panics, which are bugs: the error that the client receives, and what the log has.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tracing::Span;

use super::*;
use crate::trace::{RequestSpan, Trace};

/// A context whose write panics when it is logged, after it has been executed.
fn panicking_context() -> RequestContext {
    RequestContext {
        span: RequestSpan::new(Trace::default(), || panic!("on purpose")),
        ..context().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_a_write_that_panics_is_unknown() {
    let (_, app) = setup();
    // The socket is connected, so that the task itself executes the change, in its first poll.
    create_service(&app, TCP, &[]).await;
    let write = tokio::spawn(async move {
        let context = panicking_context();
        let key = TCP.parse().unwrap();
        app.delete_service(&context, key, false, NONE).await
    });
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::Internal);
    assert!(error.detail.ends_with("its outcome is unknown"), "{error}");
}

#[tokio::test]
async fn background_work_runs_on_behalf_of_its_request() {
    let (_, app) = setup();
    let made = Arc::new(AtomicBool::new(false));
    let span = RequestSpan::new(Trace::default(), {
        let made = made.clone();
        move || {
            made.store(true, Ordering::Relaxed);
            Span::none()
        }
    });
    let work = async { RequestSpan::current().in_scope(|| ()) };
    let request = span.scope(async { app.background_work().spawn(work).await });
    request.await.unwrap();
    assert!(made.load(Ordering::Relaxed));
}

/// The log of the panic would otherwise wait for the span that is being made.
#[tokio::test]
async fn a_panic_while_the_span_is_made_has_no_span() {
    let found = Arc::new(AtomicBool::new(true));
    let span = RequestSpan::new(Trace::default(), {
        let found = found.clone();
        move || {
            RequestSpan::current().in_scope(|| found.store(false, Ordering::Relaxed));
            Span::none()
        }
    });
    let request = span.clone();
    request.scope(async move { span.in_scope(|| ()) }).await;
    assert!(!found.load(Ordering::Relaxed));
}
