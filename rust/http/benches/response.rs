//! Response heads: what an application's two fields cost to take in and to send out.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ferrule_http::Version;
use ferrule_http::h1::encode::{Defaults, HeadOptions, ResponseError, ResponseHead};

fn fill(head: &mut ResponseHead) -> Result<(), ResponseError> {
    head.start(black_box(200), None)?;
    head.push(
        black_box(b"content-type"),
        black_box(b"text/plain; charset=utf-8"),
    )?;
    head.push(black_box(b"content-length"), black_box(b"13"))
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    let Ok(defaults) = Defaults::new(Some("ferrule"), true, &[]) else {
        return;
    };
    let how = HeadOptions {
        version: Version::Http11,
        head_request: false,
        connect_request: false,
        keep_alive: true,
        body_length: Some(13),
        defaults: &defaults,
    };
    let (mut head, mut out) = (ResponseHead::new(), Vec::with_capacity(4096));
    assert_eq!(fill(&mut head), Ok(()));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(head.encode(&mut out, black_box(&how)));
        });
    });
    group.bench_function("start+push+push+encode+data", |bencher| {
        bencher.iter(|| {
            out.clear();
            let filled = fill(&mut head);
            let mut writer = head.encode(&mut out, black_box(&how));
            let sent = writer.data(&mut out, black_box(b"Hello, World!"));
            assert!(filled.is_ok() && sent.is_ok());
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, responses);
criterion_main!(benches);
