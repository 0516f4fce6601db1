//! Request heads of 1, 9 and 40 fields, beside `httparse`.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(dead_code, reason = "other benchmarks measure the other contenders")]

mod contenders;
#[path = "../tests/vectors/mod.rs"]
mod vectors;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use contenders::head::*;

fn heads(criterion: &mut Criterion) {
    for (fields, head) in HEADS {
        let mut group = criterion.benchmark_group(format!("head/{fields}"));
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function("ferrule", |bencher| bencher.iter(ferrule(head)));
        group.bench_function("httparse", |bencher| bencher.iter(httparse(head)));
        group.bench_function("httparse-uninit", |bencher| {
            bencher.iter(httparse_uninit(head));
        });
        group.finish();
    }
}

criterion_group!(benches, heads);
criterion_main!(benches);
