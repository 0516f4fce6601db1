//! The frame loop of a connection: batches of 32 concurrent requests and their responses, HPACK
//! included, from octets to octets. One iteration is one batch; throughput counts requests.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::collections::VecDeque;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrule_http::Limits;
use ferrule_http::h1::encode::{Defaults, ResponseHead};
use ferrule_http::h2::frame::{Data, Headers, Settings as SettingsFrame, WindowUpdate};
use ferrule_http::h2::{Connection, Event, PREFACE, Settings};
use ferrule_http::hpack::Encoder;

const BATCH: u32 = 32;

/// Stream numbers are used up at some point; a client opens another connection then.
const BATCHES: u32 = 1000;

const PLAIN: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:8000"),
    (":path", "/"),
];

const BROWSER: [(&str, &str); 7] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://www.example.com/"),
    (
        "cookie",
        "session=5f4dcc3b5aa765d61d8327deb882cf99; theme=dark",
    ),
    ("sec-fetch-mode", "no-cors"),
];

struct Client {
    batches: Vec<Vec<u8>>,
}

impl Client {
    fn new(fields: &[(&str, &str)], body: usize) -> Self {
        let mut encoder = Encoder::new();
        let body = vec![b'x'; body];
        let batch = |batch| {
            let mut wire = Vec::new();
            for number in 0..BATCH {
                let stream = 1 + 2 * (batch * BATCH + number);
                let mut block = Vec::new();
                encoder.begin(&mut block);
                for (name, value) in fields {
                    encoder.field(&mut block, name.as_bytes(), value.as_bytes());
                }
                Headers {
                    stream,
                    dependency: None,
                    fragment: &block,
                    padding: None,
                    end_stream: body.is_empty(),
                    end_headers: true,
                }
                .encode(&mut wire);
                if !body.is_empty() {
                    Data {
                        stream,
                        data: &body,
                        padding: None,
                        end_stream: true,
                    }
                    .encode(&mut wire);
                }
            }
            WindowUpdate {
                stream: 0,
                increment: 1 << 20,
            }
            .encode(&mut wire);
            wire
        };
        Self {
            batches: (0..BATCHES).map(batch).collect(),
        }
    }
}

struct Server {
    connection: Connection,
    events: VecDeque<Event>,
    out: Vec<u8>,
    head: ResponseHead,
    defaults: Defaults,
    now: u64,
}

impl Server {
    fn new() -> Self {
        let mut server = Self {
            connection: Connection::new(Settings::default(), &Limits::default()),
            events: VecDeque::new(),
            out: Vec::new(),
            head: ResponseHead::new(),
            defaults: Defaults::new(Some("ferrule"), true, &[]).unwrap(),
            now: 0,
        };
        server.greet();
        server
    }

    fn greet(&mut self) {
        self.connection = Connection::new(Settings::default(), &Limits::default());
        let mut greeting = PREFACE.to_vec();
        SettingsFrame::encode(&[], &mut greeting);
        SettingsFrame::encode_ack(&mut greeting);
        self.connection
            .receive(&greeting, self.now, &mut self.events)
            .unwrap();
    }

    fn answer(&mut self, stream: u32, body: &[u8]) {
        self.head.start(200, None).unwrap();
        self.head
            .push(b"content-type", b"text/plain; charset=utf-8")
            .unwrap();
        let length = Some(body.len() as u64);
        self.connection
            .respond(stream, &self.head, &self.defaults, length, false)
            .unwrap();
        self.connection.data(stream, body, true).unwrap();
        self.connection.release(stream);
    }

    fn serve(&mut self, wire: &[u8], body: &[u8]) {
        self.now += 1;
        let taken = self.connection.receive(wire, self.now, &mut self.events);
        assert_eq!(taken, Ok(wire.len()));
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Request {
                    stream,
                    request,
                    end_stream,
                } => {
                    self.connection.recycle(request);
                    if end_stream {
                        self.answer(stream, body);
                    }
                }
                Event::Data {
                    stream,
                    range,
                    end_stream,
                } => {
                    self.connection.consumed(stream, range.len());
                    if end_stream {
                        self.answer(stream, body);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        loop {
            self.out.clear();
            if !self
                .connection
                .poll_output(&mut self.out, 256 * 1024, &mut self.events)
            {
                break;
            }
        }
        assert_eq!(self.connection.streams(), 0);
    }
}

fn frame_loop(criterion: &mut Criterion) {
    let browser = [&PLAIN[..], &BROWSER].concat();
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], usize, usize);
    let rows: [Row<'_>; 4] = [
        ("GET, 13 octets back", &PLAIN, 0, 13),
        ("browser GET, 13 octets back", &browser, 0, 13),
        ("GET, 10 KB back", &PLAIN, 0, 10_000),
        ("POST of 10 KB, 13 octets back", &PLAIN, 10_000, 13),
    ];
    let mut group = criterion.benchmark_group("h2 frame loop");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (name, fields, request_body, response_body) in rows {
        let client = Client::new(fields, request_body);
        let body = vec![b'y'; response_body];
        let mut server = Server::new();
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if next == client.batches.len() {
                    server.greet();
                    next = 0;
                }
                server.serve(&client.batches[next], &body);
                next += 1;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frame_loop);
criterion_main!(benches);
