//! Micro-benchmarks: `cargo bench --bench micro`. On a busy machine, use `lab/instructions`.

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
