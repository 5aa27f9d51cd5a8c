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
    let budget = Budget::new(8 << 20);
    // Three of a third are more than all may occupy.
    let third = budget.limit() / PART / 3 / size_of::<crate::app::OperationReport>() + 1;
    let mut last = LastOperations::default();
    let [a, b, c]: [Owner; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
    last.keep(&a, report(third), &budget);
    last.keep(&b, report(third), &budget);
    assert_eq!(kept(&last), ["a", "b"]);
    last.keep(&a, report(third), &budget);
    last.keep(&c, report(third), &budget);
    assert_eq!(kept(&last), ["a", "c"]);
    last.forget(&c);
    assert_eq!(kept(&last), ["a"]);
    // One that is too large is not kept, nor are others in its place.
    last.keep(&b, report(4 * third), &budget);
    assert_eq!(kept(&last), [""; 0]);
    assert_eq!(budget.used(), 0);
}

#[test]
fn each_apply_has_a_number_of_its_own() {
    let budget = Budget::new(8 << 20);
    let mut last = LastOperations::default();
    let a: Owner = "a".parse().unwrap();
    let mut keep = |outcome| {
        let report = ApplyReport {
            outcome,
            ..report(1)
        };
        last.keep(&a, report, &budget);
        last.of(&a).unwrap().number
    };
    let begun = keep(ApplyOutcome::Running);
    assert_eq!(keep(ApplyOutcome::Applied), begun);
    // With the same id.
    assert!(keep(ApplyOutcome::Running) > begun);
}
