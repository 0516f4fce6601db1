//! HPACK beside the public implementations that can be called: the stories of the shared vectors
//! (mostly literals), and the same browser-like request over and over (mostly indexes). Every
//! story is a connection of its own, in order.

use std::hint::black_box;
use std::rc::Rc;

use ferrule_http::HeaderBlock;
use ferrule_http::hpack::{Bounds, Decoder, Encoder, Line, Sink};

use crate::vectors;

pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Blocks that belong together: one connection's.
pub type Story = Vec<Vec<u8>>;

pub type Stories = Rc<[Story]>;

/// The field lists of stories, to encode.
pub type Lists = Rc<[Vec<Fields>]>;

/// As cheap as a sink can be: the octets are in the block already.
struct Count(usize);

impl Sink for Count {
    fn line(&mut self, _: &mut HeaderBlock, _: Line) {
        self.0 += 1;
    }
}

fn decode(stories: &[Story], block: &mut HeaderBlock) -> usize {
    let mut lines = Count(0);
    for story in stories {
        let mut decoder = Decoder::new(4096);
        for wire in story {
            block.clear();
            decoder.begin(Bounds {
                list_size: 65536,
                lines: 1000,
            });
            decoder.decode(wire, block, &mut lines).unwrap();
            decoder.end().unwrap();
        }
    }
    lines.0
}

/// How many lines there are, which every decoder has to find.
fn lines(stories: &[Story]) -> usize {
    decode(stories, &mut HeaderBlock::new())
}

pub fn ferrule(stories: Stories) -> impl FnMut() {
    let (expected, mut block) = (lines(&stories), HeaderBlock::new());
    move || assert_eq!(decode(black_box(&stories), &mut block), expected)
}

pub fn nghttp2(stories: Stories) -> impl FnMut() {
    let expected = lines(&stories);
    move || {
        let found: usize = black_box(&stories)
            .iter()
            .map(|story| nghttp2::inflate(story))
            .sum();
        assert_eq!(found, expected);
    }
}

pub fn hpack(stories: Stories) -> impl FnMut() {
    let expected = lines(&stories);
    move || {
        let mut found = 0;
        for story in black_box(&stories).iter() {
            let mut decoder = hpack::Decoder::new();
            for wire in story {
                decoder.decode_with_cb(wire, |_, _| found += 1).unwrap();
            }
        }
        assert_eq!(found, expected);
    }
}

pub fn httlib_hpack(stories: Stories) -> impl FnMut() {
    let expected = lines(&stories);
    move || {
        let mut found = Vec::new();
        for story in black_box(&stories).iter() {
            let mut decoder = httlib_hpack::Decoder::default();
            for wire in story {
                decoder.decode(&mut wire.clone(), &mut found).unwrap();
            }
        }
        assert_eq!(found.len(), expected);
    }
}

pub fn ferrule_encoder(lists: Lists) -> impl FnMut() {
    let mut out = Vec::new();
    move || {
        for story in black_box(&lists).iter() {
            let mut encoder = Encoder::new();
            for message in story {
                out.clear();
                encoder.begin(&mut out);
                for (name, value) in message {
                    encoder.field(&mut out, name, value);
                }
                black_box(&out);
            }
        }
    }
}

pub fn nghttp2_encoder(lists: Lists) -> impl FnMut() {
    move || {
        for story in black_box(&lists).iter() {
            black_box(nghttp2::deflate(story));
        }
    }
}

pub fn hpack_encoder(lists: Lists) -> impl FnMut() {
    move || {
        for story in black_box(&lists).iter() {
            let mut encoder = hpack::Encoder::new();
            for message in story {
                let fields = message.iter().map(|(name, value)| (&name[..], &value[..]));
                black_box(encoder.encode(fields));
            }
        }
    }
}

/// 100 requests of one browser.
pub fn browser() -> Stories {
    let requests: Vec<Fields> = (0..100).map(browser_request).collect();
    Rc::new([encode(&requests)])
}

/// 100 responses of one server.
pub fn responses() -> Lists {
    Rc::new([(0..100).map(|number| response(number % 10)).collect()])
}

/// Octets on the wire.
pub fn coded_size(stories: &[Story]) -> usize {
    stories.iter().flatten().map(Vec::len).sum()
}

/// Octets of names and values.
pub fn plain_size(lists: &[Vec<Fields>]) -> usize {
    let lines = lists.iter().flatten().flatten();
    lines.map(|(name, value)| name.len() + value.len()).sum()
}

/// Those of the shared vectors, as nghttp2 coded them; none where there are no vectors.
pub fn stories() -> Stories {
    let Some(directory) = vectors::directory("hpack") else {
        return Rc::new([]);
    };
    let blocks = |file: &std::path::PathBuf| {
        let story = vectors::json(file);
        let cases = story["cases"].as_array().unwrap().iter();
        cases
            .map(|case| vectors::unhex(case["wire"].as_str().unwrap()))
            .collect()
    };
    vectors::files(&directory.join("nghttp2"))
        .iter()
        .map(blocks)
        .collect()
}

/// The field lists of the same stories, to encode.
pub fn lists() -> Lists {
    let Some(directory) = vectors::directory("hpack") else {
        return Rc::new([]);
    };
    let list = |case: &serde_json::Value| -> Fields {
        let lines = case["headers"].as_array().unwrap().iter();
        let pairs = lines.flat_map(|line| line.as_object().unwrap());
        pairs
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_str().unwrap().into()))
            .collect()
    };
    vectors::files(&directory.join("nghttp2"))
        .iter()
        .map(|file| {
            let story = vectors::json(file);
            story["cases"]
                .as_array()
                .unwrap()
                .iter()
                .map(list)
                .collect()
        })
        .collect()
}

fn fields(text: &[(&str, &str)]) -> Fields {
    text.iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn browser_request(number: usize) -> Fields {
    fields(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "www.example.com"),
        (":path", &format!("/assets/page-{number}.css?v=20260101")),
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
            "session=5f4dcc3b5aa765d61d8327deb882cf99; theme=dark; consent=1",
        ),
        ("sec-fetch-mode", "no-cors"),
    ])
}

fn response(number: usize) -> Fields {
    fields(&[
        (":status", "200"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", &format!("{}", 1000 + number)),
        ("date", "Tue, 01 Dec 2026 12:00:00 GMT"),
        ("server", "ferrule"),
        ("cache-control", "max-age=3600"),
    ])
}

fn encode(messages: &[Fields]) -> Story {
    let mut encoder = Encoder::new();
    let block = |message: &Fields| {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in message {
            encoder.field(&mut out, name, value);
        }
        out
    };
    messages.iter().map(block).collect()
}

mod nghttp2 {
    use std::ptr;

    use libnghttp2_sys as ffi;

    /// Decodes one connection's blocks and counts their lines.
    pub fn inflate(story: &[Vec<u8>]) -> usize {
        let mut inflater = ptr::null_mut();
        let mut lines = 0;
        // SAFETY: the inflater lives until its `del`; input pointers come with their lengths and
        // stay within `wire`, because nghttp2 returns how much it took.
        unsafe {
            assert_eq!(ffi::nghttp2_hd_inflate_new(&raw mut inflater), 0);
            for wire in story {
                let mut rest = &wire[..];
                loop {
                    let mut field = std::mem::zeroed();
                    let mut flags = 0;
                    let taken = ffi::nghttp2_hd_inflate_hd2(
                        inflater,
                        &raw mut field,
                        &raw mut flags,
                        rest.as_ptr(),
                        rest.len(),
                        1,
                    );
                    rest = &rest[usize::try_from(taken).unwrap()..];
                    if flags as u32 & ffi::NGHTTP2_HD_INFLATE_EMIT != 0 {
                        lines += 1;
                    }
                    if flags as u32 & ffi::NGHTTP2_HD_INFLATE_FINAL != 0 {
                        break;
                    }
                }
                ffi::nghttp2_hd_inflate_end_headers(inflater);
            }
            ffi::nghttp2_hd_inflate_del(inflater);
        }
        lines
    }

    /// Encodes one connection's field lists; how many octets came out.
    pub fn deflate(story: &[super::Fields]) -> usize {
        let mut deflater = ptr::null_mut();
        let mut out = vec![0; 64 * 1024];
        let mut octets = 0;
        // SAFETY: the deflater lives until its `del`; names, values and `out` come with their
        // lengths and outlive the call, and nghttp2 only reads the former, pointers to mutable
        // octets or not.
        unsafe {
            assert_eq!(ffi::nghttp2_hd_deflate_new(&raw mut deflater, 4096), 0);
            for message in story {
                let mut fields: Vec<_> = message
                    .iter()
                    .map(|(name, value)| ffi::nghttp2_nv {
                        name: name.as_ptr().cast_mut(),
                        value: value.as_ptr().cast_mut(),
                        namelen: name.len(),
                        valuelen: value.len(),
                        flags: 0,
                    })
                    .collect();
                let written = ffi::nghttp2_hd_deflate_hd(
                    deflater,
                    out.as_mut_ptr(),
                    out.len(),
                    fields.as_mut_ptr(),
                    fields.len(),
                );
                octets += usize::try_from(written).unwrap();
            }
            ffi::nghttp2_hd_deflate_del(deflater);
        }
        octets
    }
}
