//! HPACK beside the public implementations that can be called. Throughput counts the octets that
//! go in.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(dead_code, reason = "other benchmarks measure the other contenders")]

mod contenders;
#[path = "../tests/vectors/mod.rs"]
mod vectors;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use contenders::hpack::*;

fn decoding(criterion: &mut Criterion) {
    for (name, stories) in [("stories", stories()), ("browser", browser())] {
        let mut group = criterion.benchmark_group(format!("hpack decode {name}"));
        group.throughput(Throughput::Bytes(coded_size(&stories) as u64));
        let mut once = ferrule(stories.clone());
        group.bench_function("ferrule", |bencher| bencher.iter(&mut once));
        let mut once = nghttp2(stories.clone());
        group.bench_function("nghttp2", |bencher| bencher.iter(&mut once));
        let mut once = hpack(stories.clone());
        group.bench_function("hpack", |bencher| bencher.iter(&mut once));
        let mut once = httlib_hpack(stories);
        group.bench_function("httlib-hpack", |bencher| bencher.iter(&mut once));
        group.finish();
    }
}

fn encoding(criterion: &mut Criterion) {
    for (name, lists) in [("stories", lists()), ("responses", responses())] {
        let mut group = criterion.benchmark_group(format!("hpack encode {name}"));
        group.throughput(Throughput::Bytes(plain_size(&lists) as u64));
        let mut once = ferrule_encoder(lists.clone());
        group.bench_function("ferrule", |bencher| bencher.iter(&mut once));
        let mut once = nghttp2_encoder(lists.clone());
        group.bench_function("nghttp2", |bencher| bencher.iter(&mut once));
        let mut once = hpack_encoder(lists);
        group.bench_function("hpack", |bencher| bencher.iter(&mut once));
        group.finish();
    }
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
