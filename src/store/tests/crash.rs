//! Crashes: whatever part of the writes has reached the disk, every acknowledged batch is there, and no
//! batch is there in part.

use std::sync::Arc;

use super::support::{FakeDisk, ITEMS, OTHERS, Step, apply, batch, create, keys, open};
use crate::store::database::Access;

/// The steps of one commit, over what was durable before.
struct Commit {
    before: Vec<u8>,
    steps: Vec<Step>,
    /// Batches that were acknowledged before it.
    acknowledged: u64,
}

/// Batches of a record. Their sizes make the tree grow and split, and the file become longer.
const RECORDS: u64 = 3;

/// Numbers for the choice of the writes that are lost: the same in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit.max(1)
    }
}

/// Writes batches, and returns what each commit did to the disk.
fn commits(count: u64) -> Vec<Commit> {
    let disk = FakeDisk::new(Vec::new());
    let engine = create(&disk);
    let mut commits = Vec::new();
    for number in 0..count {
        let recorder = disk.with(|content| {
            assert!(content.pending.is_empty());
            content.recorded = Some(Vec::new());
            content.durable.clone()
        });
        let numbers = number * RECORDS..(number + 1) * RECORDS;
        engine.apply([batch(numbers)]).unwrap();
        commits.push(Commit {
            before: recorder,
            steps: disk.with(|content| content.recorded.take()).unwrap(),
            acknowledged: number,
        });
    }
    commits
}

/// Opens what a crash has left, and checks its records. Returns the number of batches.
fn check(image: Vec<u8>, acknowledged: u64, what: &str) -> u64 {
    let disk = FakeDisk::new(image);
    let engine = open(&disk, Access::Write);
    let engine = engine.unwrap_or_else(|error| panic!("{what}: {}", error.report()));
    let (items, others) = (keys(&engine, &ITEMS), keys(&engine, &OTHERS));
    assert_eq!(items, others, "{what}: a part of a batch");
    let found = items.len() as u64;
    assert_eq!(found % RECORDS, 0, "{what}: a part of a batch: {found}");
    let batches = found / RECORDS;
    assert!(
        (acknowledged..=acknowledged + 1).contains(&batches),
        "{what}: {batches} batches, {acknowledged} were acknowledged"
    );
    let expected: Vec<_> = (0..found).map(|number| format!("{number:05}")).collect();
    assert_eq!(items, expected, "{what}");
    // What was recovered can be written.
    engine.apply([batch([90_000])]).unwrap();
    batches
}

/// The first part of a step.
fn cut(step: &Step, bytes: usize) -> Step {
    match step {
        Step::Write(offset, data) => Step::Write(*offset, data[..bytes].to_vec()),
        Step::SetLen(len) => Step::SetLen(*len),
        Step::Sync => Step::Sync,
    }
}

fn bytes(step: &Step) -> usize {
    match step {
        Step::Write(_, data) => data.len(),
        Step::SetLen(_) => 1,
        Step::Sync => 0,
    }
}

#[test]
fn a_commit_that_is_cut_anywhere_is_there_or_not() {
    let mut images = 0;
    let mut complete = 0;
    for commit in commits(25) {
        let total: usize = commit.steps.iter().map(bytes).sum();
        // Each write, and between them a stride that is no divisor of a page.
        let stride = (total / 8).max(1) | 1;
        let mut done = commit.before.clone();
        for step in &commit.steps {
            for cut_at in (0..=bytes(step)).step_by(stride).chain([bytes(step)]) {
                let mut image = done.clone();
                apply(&mut image, &cut(step, cut_at));
                let what = format!("batch {} cut after {cut_at} bytes", commit.acknowledged);
                complete += check(image, commit.acknowledged, &what) - commit.acknowledged;
                images += 1;
            }
            apply(&mut done, step);
        }
        assert_eq!(
            check(done, commit.acknowledged, "complete"),
            commit.acknowledged + 1
        );
    }
    assert!(images > 200, "{images} images");
    assert!(complete > 0, "no image has the batch that was cut");
}

/// The disk may write what is not synchronised in any order.
#[test]
fn a_commit_of_which_any_writes_are_lost_is_there_or_not() {
    let mut random = Numbers(1);
    for commit in commits(20) {
        let mut durable = commit.before.clone();
        for steps in commit.steps.split(|step| matches!(step, Step::Sync)) {
            for round in 0..8 {
                let mut image = durable.clone();
                let mut lost = Vec::new();
                for (index, step) in steps.iter().enumerate() {
                    match random.below(4) {
                        // The length of a file is no data.
                        0 | 1 => apply(&mut image, step),
                        2 => apply(&mut image, &cut(step, random.below(bytes(step)))),
                        _ => lost.push(index),
                    }
                }
                let what = format!(
                    "batch {} round {round} without {lost:?}",
                    commit.acknowledged
                );
                check(image, commit.acknowledged, &what);
            }
            steps.iter().for_each(|step| apply(&mut durable, step));
        }
    }
}

/// Cuts a commit after every byte.
fn cut_everywhere(commit: &Commit) {
    let mut done = commit.before.clone();
    for step in &commit.steps {
        for cut_at in 0..=bytes(step) {
            let mut image = done.clone();
            apply(&mut image, &cut(step, cut_at));
            let what = format!("cut after {cut_at} bytes");
            check(image, commit.acknowledged, &what);
        }
        apply(&mut done, step);
    }
}

#[test]
fn a_commit_to_the_log_that_is_cut_at_every_byte_is_there_or_not() {
    let commits = commits(7);
    assert!(
        commits[6].steps.len() == 2,
        "a write and its synchronisation"
    );
    cut_everywhere(&commits[6]);
}

/// Of both files.
#[test]
#[ignore = "takes minutes; a_commit_that_is_cut_anywhere_is_there_or_not has a part of it"]
fn a_commit_to_the_database_that_is_cut_at_every_byte_is_there_or_not() {
    let commits = commits(9);
    assert!(commits[8].steps.len() > 4, "the log was full");
    cut_everywhere(&commits[8]);
}

#[test]
fn a_crash_while_the_file_is_opened_after_a_crash_loses_nothing() {
    let commits = commits(8);
    let commit = commits.last().unwrap();
    let disk = FakeDisk::new(commit.before.clone());
    disk.with(|content| content.recorded = Some(Vec::new()));
    let engine = open(&disk, Access::Write).unwrap();
    let steps = disk.with(|content| content.recorded.take()).unwrap();
    assert!(!steps.is_empty(), "a repair writes");
    let mut done = commit.before.clone();
    for step in &steps {
        let half = cut(step, bytes(step) / 2);
        for step in [&half, step] {
            let mut image = done.clone();
            apply(&mut image, step);
            assert_eq!(
                check(image, commit.acknowledged, "repair"),
                commit.acknowledged
            );
        }
        apply(&mut done, step);
    }
    drop(engine);
    // And while it is closed.
    let closed: Arc<FakeDisk> = disk;
    closed.with(|content| check(content.durable.clone(), commit.acknowledged, "closed"));
}
