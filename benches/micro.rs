//! Micro-benchmarks: `cargo bench --bench micro`. They are noisy on a busy machine, where
//! `lab/instructions` counts instead.

use criterion::{Criterion, criterion_group, criterion_main};

mod subjects;

fn micro(criterion: &mut Criterion) {
    for subject in subjects::SUBJECTS {
        let mut work = (subject.prepare)();
        criterion.bench_function(subject.name, |bencher| bencher.iter(&mut work));
    }
}

criterion_group!(benches, micro);
criterion_main!(benches);
