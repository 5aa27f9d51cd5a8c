//! The store of labels when the machine or the disk fails in the middle of a write.

use std::{io, ops::RangeInclusive};

use super::{
    labels::{labels_of, seed},
    tables::OTHER,
    *,
};
use crate::store::{
    Store,
    tests::support::{Failing, FakeDisk, Step, apply},
};

/// The labels of both services.
type Labelled = [Value; 2];

/// The changes of [`change`] that set labels; one that deletes a service follows.
const SETS: usize = 3;

/// The first part of a write is cut after this many bytes, and so on: no divisor of a sector.
const STRIDE: usize = 13;

/// What is stored after this many changes.
fn after(changes: usize) -> Labelled {
    let text = "x".repeat(60);
    let (none, other) = (json!({}), json!({"c": "3"}));
    match changes {
        0 => [none.clone(), none],
        1 => [json!({"a": "1"}), none],
        2 => [json!({"a": "2", "b": text}), none],
        3 => [json!({"a": "2", "b": text}), other],
        _ => [none, other],
    }
}

/// Makes the next change.
async fn change(app: &App, changes: usize) -> Result<(), Error> {
    let [tcp, other] = after(changes + 1);
    let labelled = |id: &str, labels: Value| draft(json!({"id": id, "labels": labels}));
    match changes {
        0 => app
            .create_service(context(), labelled(TCP, tcp))
            .await
            .map(drop),
        1 => app
            .update_service(context(), key(TCP), labelled(TCP, tcp), NONE, false)
            .await
            .map(drop),
        2 => app
            .create_service(context(), labelled(OTHER, other))
            .await
            .map(drop),
        _ => app
            .delete_service(context(), key(TCP), false, NONE)
            .await
            .map(drop),
    }
}

fn start(kernel: &FakeKernel, disk: &Arc<FakeDisk>) -> App {
    let store = Store::on_disk(disk.clone());
    app_on(kernel).with_store(store).unwrap()
}

/// What a daemon that starts now finds, with a kernel that has both services.
async fn stored(image: Vec<u8>) -> Labelled {
    let kernel = FakeKernel::new();
    seed(&kernel, "192.0.2.1:80");
    seed(&kernel, "192.0.2.2:80");
    let app = start(&kernel, &FakeDisk::new(image));
    [labels_of(&app, TCP).await, labels_of(&app, OTHER).await]
}

fn durable(disk: &FakeDisk) -> Vec<u8> {
    disk.with(|content| content.durable.clone())
}

/// Cuts the writes of these changes after every multiple of `stride` bytes, and those of each at their ends.
async fn cut_every(stride: usize, of: RangeInclusive<usize>) {
    let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
    let app = start(&kernel, &disk);
    let (mut old, mut new) = (0, 0);
    for changes in 0..=SETS {
        let mut image = durable(&disk);
        disk.with(|content| content.recorded = Some(Vec::new()));
        change(&app, changes).await.unwrap();
        let steps = disk.with(|content| content.recorded.take()).unwrap();
        for step in steps {
            if let Step::Write(offset, bytes) = &step {
                let ends = (0..bytes.len()).step_by(stride);
                for end in ends.take_while(|end| *end == 0 || of.contains(&changes)) {
                    let mut cut = image.clone();
                    apply(&mut cut, &Step::Write(*offset, bytes[..end].to_vec()));
                    let found = stored(cut).await;
                    let is_new = found == after(changes + 1);
                    assert!(
                        is_new || found == after(changes),
                        "change {changes}: {found:?} when {end} bytes at {offset} are written"
                    );
                    *if is_new { &mut new } else { &mut old } += 1;
                }
            }
            apply(&mut image, &step);
        }
        // It was acknowledged.
        assert_eq!(stored(image).await, after(changes + 1));
    }
    assert!(old > 20 && new > 0, "{old} images without, {new} with");
}

#[tokio::test]
async fn labels_whose_write_is_cut_are_the_old_or_the_new_ones() {
    cut_every(STRIDE, 0..=SETS).await;
}

#[tokio::test]
async fn labels_whose_write_is_cut_at_every_byte_are_the_old_or_the_new_ones() {
    cut_every(1, 1..=1).await;
}

#[tokio::test]
async fn labels_that_the_disk_does_not_take_are_not_acknowledged_and_not_there() {
    let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
    let app = start(&kernel, &disk);
    let mut failures = 0;
    for changes in 0..SETS {
        for steps in 0.. {
            let failing = Failing::After(steps, io::ErrorKind::Other);
            disk.with(|content| content.failing = Some(failing));
            let before = state(&kernel);
            let outcome = change(&app, changes).await;
            disk.with(|content| content.failing = None);
            if outcome.is_ok() {
                break;
            }
            failures += 1;
            assert_eq!(state(&kernel), before);
            let found = stored(durable(&disk)).await;
            assert_eq!(
                found,
                after(changes),
                "change {changes} after {steps} steps"
            );
        }
        assert_eq!(stored(durable(&disk)).await, after(changes + 1));
    }
    assert!(failures > 5, "{failures}");
}
