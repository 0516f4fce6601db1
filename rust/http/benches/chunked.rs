//! Decoding of chunked bodies: many small chunks, and few large ones.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrule_http::h1::{Connection, Event};
use ferrule_http::{Limits, Request};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn body(chunk: usize, chunks: usize) -> Vec<u8> {
    let mut body = HEAD.to_vec();
    for _ in 0..chunks {
        body.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
        body.resize(body.len() + chunk, b'x');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

fn chunked(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked");
    for (chunk, chunks) in [(1, 1000), (16, 1000), (1000, 64), (65536, 16)] {
        let wire = body(chunk, chunks);
        let (limits, mut request) = (Limits::default(), Request::new());
        group.throughput(Throughput::Elements(chunks as u64));
        group.bench_function(format!("{chunks}x{chunk}B"), |bencher| {
            bencher.iter(|| {
                let (mut connection, mut rest, mut received) =
                    (Connection::new(), black_box(&wire[..]), 0);
                while let Ok(step) = connection.next(&limits, rest, &mut request) {
                    rest = &rest[step.consumed..];
                    match step.event {
                        Event::Body(range) => received += range.len(),
                        Event::Request => {}
                        Event::End | Event::NeedMore => break,
                    }
                }
                assert_eq!(received, chunk * chunks);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, chunked);
criterion_main!(benches);
