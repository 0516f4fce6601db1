//! What a request costs in memory: nothing that was not there before. Counts allocations, so it
//! has a process to itself.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use ferrule_http::Limits;
use ferrule_http::h1::encode::{Defaults, ResponseHead};
use ferrule_http::h2::frame::{Data, Headers, Settings as SettingsFrame, WindowUpdate};
use ferrule_http::h2::{Connection, Event, PREFACE, Settings};
use ferrule_http::hpack::Encoder;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting has no other effect.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: u32 = 32;

/// The octets of `BATCH` requests from stream `first` on, every other one with a body.
fn requests(encoder: &mut Encoder, first: u32) -> Vec<u8> {
    let mut wire = Vec::new();
    for number in 0..BATCH {
        let stream = first + 2 * number;
        let path = format!("/item/{}", stream % 1000);
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", &path),
            ("user-agent", "a client of some sort"),
            ("cookie", "session=0123456789abcdef0123456789"),
        ] {
            encoder.field(&mut block, name.as_bytes(), value.as_bytes());
        }
        let body = number % 2 == 0;
        Headers {
            stream,
            dependency: None,
            fragment: &block,
            padding: None,
            end_stream: !body,
            end_headers: true,
        }
        .encode(&mut wire);
        if body {
            Data {
                stream,
                data: &[b'x'; 1000],
                padding: None,
                end_stream: true,
            }
            .encode(&mut wire);
        }
    }
    // What the responses take.
    WindowUpdate {
        stream: 0,
        increment: BATCH * 3000,
    }
    .encode(&mut wire);
    wire
}

#[test]
fn requests_in_the_steady_state_allocate_nothing() {
    let mut encoder = Encoder::new();
    let batches: Vec<_> = (0..300)
        .map(|batch| requests(&mut encoder, 1 + 2 * BATCH * batch))
        .collect();
    let mut greeting = PREFACE.to_vec();
    SettingsFrame::encode(&[], &mut greeting);
    let mut defaults = Defaults::new(Some("ferrule"), true, &[]).unwrap();
    defaults.refresh(1_800_000_000);
    let mut head = ResponseHead::new();
    let body = [b'y'; 3000];
    let (mut events, mut out) = (VecDeque::new(), Vec::new());

    let before = BYTES.load(Ordering::Relaxed);
    let mut connection = Connection::new(Settings::default(), &Limits::default());
    connection.receive(&greeting, 0, &mut events).unwrap();
    let mut served = 0;
    let mut serve = |connection: &mut Connection, wire: &[u8]| {
        assert_eq!(connection.receive(wire, 0, &mut events), Ok(wire.len()));
        while let Some(event) = events.pop_front() {
            match event {
                Event::Request {
                    stream,
                    request,
                    end_stream,
                } => {
                    if end_stream {
                        connection.recycle(request);
                        head.start(200, None).unwrap();
                        head.push(b"content-type", b"text/plain").unwrap();
                        connection
                            .respond(stream, &head, &defaults, Some(3000), false)
                            .unwrap();
                        assert_eq!(connection.data(stream, &body, true), Ok(3000));
                        connection.release(stream);
                        served += 1;
                    } else {
                        connection.recycle(request);
                    }
                }
                Event::Data {
                    stream,
                    range,
                    end_stream: true,
                } => {
                    connection.consumed(stream, range.len());
                    head.start(204, None).unwrap();
                    connection
                        .respond(stream, &head, &defaults, None, true)
                        .unwrap();
                    connection.release(stream);
                    served += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        loop {
            out.clear();
            if !connection.poll_output(&mut out, 65_536, &mut events) {
                break;
            }
        }
        assert_eq!(connection.streams(), 0);
    };
    let (warm_up, steady) = batches.split_at(100);
    for wire in warm_up {
        serve(&mut connection, wire);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    for wire in steady {
        serve(&mut connection, wire);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    assert_eq!(served, 300 * BATCH);
    assert_eq!(allocations, 0);

    let held = BYTES.load(Ordering::Relaxed) - before;
    println!("{held} bytes for a connection, its queues and the caller's buffers");
    assert!(held < 512 * 1024, "{held} bytes");
}

#[test]
fn a_fresh_connection_is_small() {
    assert!(
        size_of::<Connection>() <= 1536,
        "{}",
        size_of::<Connection>()
    );
}
