//! What a reading of the system's clock costs.

use criterion::{Criterion, criterion_group, criterion_main};
use stanchion_core::Clock;

fn reading(criterion: &mut Criterion) {
    let clock = Clock::system();
    criterion.bench_function("clock/system/now", |bencher| bencher.iter(|| clock.now()));
    criterion.bench_function("clock/system/build", |bencher| bencher.iter(Clock::system));
}

criterion_group!(benches, reading);
criterion_main!(benches);
