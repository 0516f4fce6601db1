//! What must hold of HPACK blocks and of HTTP/2 connections for any bytes at all.

use std::collections::VecDeque;

use ferrule_http::h1::encode::{Defaults, ResponseHead};
use ferrule_http::h2::{Code, Connection, Event, PREFACE, Settings};
use ferrule_http::hpack::{Bounds, Decoder, Encoder, Error, Excess, Line, Sink};
use ferrule_http::{HeaderBlock, Limits};

/// Blocks of RFC 7541, appendix C, and what no encoder would send.
pub const BLOCKS: &[&[u8]] = &[
    b"\x82\x86\x84\x41\x0fwww.example.com",
    b"\x82\x86\x84\xbe\x58\x08no-cache",
    b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x48\x03302\x58\x07private\x61\x1dMon, 21 Oct 2013 20:13:21 GMT\x6e\x17https://www.example.com",
    b"\x20\x3f\xe1\x1f\x10\x08password\x06secret",
    b"\x40\x06cookie\x03a=b\xbe\xbe\xbe\xbe\x0f\x11\x01x",
    b"\xff\x80\x01\x80\x7f\xff\xff\xff\xff\xff\x00",
];

/// What follows the preface.
pub const CONVERSATIONS: &[&[u8]] = &[
    b"\0\0\0\x04\0\0\0\0\0\0\0\x07\x01\x05\0\0\0\x01\x82\x86\x84\x41\x02a\x78\0\0\x05\x02\0\0\0\0\x03\0\0\0\0\x10",
    b"\0\0\x0c\x04\0\0\0\0\0\0\x04\0\0\0\x05\0\x05\0\0\x40\0\0\0\x08\x01\x04\0\0\0\x01\x83\x86\x84\x41\x02ab\x90\0\0\x05\0\x01\0\0\0\x01hello",
    b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\0\0\0\0\x01\x82\x86\x84\x01\0\0\x02\x09\x04\0\0\0\x01\x01t\0\0\x08\x06\0\0\0\0\0pingpong",
    b"\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x03\x82\x86\x84\x01\x01t\0\0\x04\x08\0\0\0\0\x03\0\0\0\x05\0\0\x04\x03\0\0\0\0\x03\0\0\0\x08",
    b"\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x04\0\0\0\x05\x83\x86\x84\x01\x01t\0\0\x06\0\x08\0\0\0\x05\x04a\0\0\0\0\0\0\x04\x01\x05\0\0\0\x05\0\x01a\0",
    b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x10\0\0\0\0\0\0\0\0\x07u=1\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
];

#[derive(Default)]
struct Lines(Vec<Line>);

impl Sink for Lines {
    fn line(&mut self, _: &mut HeaderBlock, line: Line) {
        self.0.push(line);
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const BOUNDS: Bounds = Bounds {
    list_size: 16 * 1024,
    lines: 200,
};

fn decode<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Fields, Option<Excess>), Error> {
    let mut block = HeaderBlock::new();
    let mut lines = Lines::default();
    decoder.begin(BOUNDS);
    for piece in pieces {
        decoder.decode(piece, &mut block, &mut lines)?;
    }
    let excess = decoder.end()?;
    assert!(block.bytes().len() <= BOUNDS.list_size && lines.0.len() <= BOUNDS.lines);
    let fields = lines.0.iter().map(|line| {
        let pair = (block.slice(line.name), block.slice(line.value));
        (pair.0.to_vec(), pair.1.to_vec())
    });
    Ok((fields.collect(), excess))
}

/// A block means the same however it is cut, again on a table that it has changed, takes bounded memory, and what it
/// means survives our own encoder.
pub fn hpack(data: &[u8]) {
    let (mut whole, mut cut) = (Decoder::new(4096), Decoder::new(4096));
    for _ in 0..2 {
        let outcome = decode(&mut whole, [data]);
        assert_eq!(decode(&mut cut, data.chunks(1)), outcome);
        let Ok((fields, None)) = outcome else {
            return;
        };
        let mut encoder = Encoder::new();
        let mut ours = Decoder::new(4096);
        for _ in 0..2 {
            let mut wire = Vec::new();
            encoder.begin(&mut wire);
            for (name, value) in &fields {
                encoder.field(&mut wire, name, value);
            }
            let lower = fields
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
            assert_eq!(decode(&mut ours, [&wire[..]]), Ok((lower.collect(), None)));
        }
    }
}

/// What a connection says of some bytes: its events, data of a stream joined, and what it sends.
fn hear<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>) {
    let mut connection = Connection::new(Settings::default(), &Limits::default());
    let mut events = VecDeque::new();
    let mut heard: Vec<String> = Vec::new();
    let mut joined: Option<(u32, Vec<u8>, bool)> = None;
    let mut buffer = PREFACE.to_vec();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let outcome = connection.receive(&buffer, 0, &mut events);
        for event in events.drain(..) {
            match event {
                Event::Data {
                    stream,
                    range,
                    end_stream,
                } => {
                    if let Some((other, octets, false)) = &mut joined
                        && *other == stream
                    {
                        octets.extend_from_slice(&buffer[range]);
                        joined.as_mut().expect("it is there").2 = end_stream;
                    } else {
                        heard.extend(joined.take().map(|data| format!("{data:?}")));
                        joined = Some((stream, buffer[range].to_vec(), end_stream));
                    }
                }
                other => {
                    heard.extend(joined.take().map(|data| format!("{data:?}")));
                    heard.push(format!("{other:?}"));
                }
            }
        }
        match outcome {
            Ok(taken) => drop(buffer.drain(..taken)),
            Err(error) => {
                heard.extend(joined.take().map(|data| format!("{data:?}")));
                heard.push(error.to_string());
                break;
            }
        }
    }
    heard.extend(joined.map(|data| format!("{data:?}")));
    let mut out = Vec::new();
    connection.poll_output(&mut out, usize::MAX, &mut events);
    (heard, out)
}

/// A connection hears the same however its bytes are cut, keeps little of them, and answers whatever is asked of it.
pub fn h2(data: &[u8]) {
    let whole = hear([data]);
    assert_eq!(hear(data.chunks(1)), whole);
    let (front, back) = data.split_at(data.len() / 3);
    assert_eq!(hear([front, back]), whole);
    serve(data);
}

/// Answers every request in one of several ways, and ends every stream.
fn serve(data: &[u8]) {
    let mut connection = Connection::new(Settings::default(), &Limits::default());
    let mut events = VecDeque::new();
    let (mut out, mut streams) = (Vec::new(), Vec::new());
    let mut head = ResponseHead::new();
    head.start(200, None).expect("200 is a status");
    let mut buffer = PREFACE.to_vec();
    for piece in data.chunks(40) {
        buffer.extend_from_slice(piece);
        let outcome = connection.receive(&buffer, 0, &mut events);
        for event in events.drain(..) {
            let (Event::Request { stream, .. } | Event::Refused { stream, .. }) = event else {
                continue;
            };
            if !streams.contains(&stream) {
                streams.push(stream);
            }
            let choice = piece.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            let _ = connection.respond(stream, &head, &Defaults::default(), None, choice % 5 == 0);
            let _ = connection.data(stream, &[b'x'; 300], choice % 3 == 0);
            connection.consumed(stream, usize::from(choice));
            match choice % 7 {
                0 => connection.reset(stream, Code::Cancel),
                1 | 2 => connection.release(stream),
                3 => drop(connection.trailers(stream, &[(b"x-trailer", b"1")])),
                4 => connection.drain(),
                _ => {}
            }
        }
        assert!(connection.backlog() < 1 << 20);
        out.clear();
        connection.poll_output(&mut out, 1000, &mut events);
        events.clear();
        match outcome {
            Ok(taken) => drop(buffer.drain(..taken)),
            Err(_) => break,
        }
    }
    for stream in streams {
        connection.release(stream);
        connection.reset(stream, Code::NoError);
    }
    assert_eq!(connection.streams(), 0);
}
