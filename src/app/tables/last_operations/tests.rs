//! What is kept of applies, and for how long.

#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::time::Duration;

use super::*;
use crate::app::{RequestContext, RequestId, operations::PlannedStep};

fn report(operations: usize) -> ApplyReport {
    let step = PlannedStep {
        op: crate::model::Op::ZeroAll,
        index: None,
        before: None,
        undo: Vec::new(),
        drains: false,
    };
    let context = RequestContext::new(RequestId::new("test"), Duration::from_secs(1));
    let steps = vec![step; operations];
    ApplyReport::planned(&context, &steps, crate::app::Summary::default())
}

fn kept(last: &LastOperations) -> Vec<String> {
    let owners = ["a", "b", "c"].into_iter();
    let owners = owners.filter(|owner| last.of(&owner.parse().unwrap()).is_some());
    owners.map(str::to_owned).collect()
}

#[test]
fn the_oldest_operations_of_other_tables_make_place() {
    let budget = Budget::new(1 << 30);
    let mut last = LastOperations::default();
    let [a, b, c]: [Owner; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
    last.keep(&a, report(MAX_OPERATIONS / 2), &budget);
    last.keep(&b, report(MAX_OPERATIONS / 2), &budget);
    assert_eq!(kept(&last), ["a", "b"]);
    last.keep(&a, report(1), &budget);
    last.keep(&c, report(MAX_OPERATIONS / 2), &budget);
    assert_eq!(kept(&last), ["a", "c"]);
    last.forget(&c);
    assert_eq!(kept(&last), ["a"]);
    // Larger than all together may be.
    last.keep(&b, report(MAX_OPERATIONS + 1), &budget);
    assert_eq!(kept(&last), ["b"]);
    // Without memory, nothing is kept.
    let small = Budget::new(100 << 10);
    let mut last = LastOperations::default();
    last.keep(&a, report(1), &small);
    last.keep(&b, report(1000), &small);
    assert_eq!(kept(&last), [""; 0]);
}
