//! The fuzz targets on a stable toolchain: samples, mutated by a seeded generator, for a bounded
//! time. Not guided by coverage, but good for every machine and every change.
//!
//! `FERRULE_FUZZ_SECONDS` (default 2) is the time per target, `FERRULE_FUZZ_SEED` (default 1)
//! begins another sequence, `FERRULE_FUZZ_TARGETS` (default all) names targets, with commas. A failure prints the seed, the target and the bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ferrule_fuzz::{TARGETS, Target};

/// Pieces that grammars hang on.
const DICTIONARY: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b":",
    b" ",
    b"\t",
    b";",
    b",",
    b"\"",
    b"_",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: ",
    b"chunked",
    b"Connection: close\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"content_length: 1\r\n",
    b"http://a/",
    b"*",
    b"?",
    b"#",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"connection: close\n",
    b"content-length: 5\n",
    // HTTP/2: heads of frames, and whole ones.
    b"\0\0\0\x01\x04\0\0\0\x03",
    b"\0\0\0\x09\x04\0\0\0\x01",
    b"\0\0\x01\0\x01\0\0\0\x01x",
    b"\0\0\x04\x08\0\0\0\0\x01\x7f\xff\xff\xff",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0",
    b"\0\0\x06\x01\x05\0\0\0\x07\x82\x86\x84\x01\x01t",
    b"\xff\xff\xff\x7f",
];

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }

    fn mutate(&mut self, data: &mut Vec<u8>, samples: &[&[u8]]) {
        let at = self.below(data.len() + 1);
        match self.below(8) {
            0 => data.insert(at, self.next() as u8),
            1 if at < data.len() => data[at] = self.next() as u8,
            2 if at < data.len() => data[at] ^= 1 << self.below(8),
            3 => drop(data.drain(at..(at + self.below(12)).min(data.len()))),
            4 => data.truncate(at),
            5 => {
                let piece = data[at..(at + self.below(60)).min(data.len())].to_vec();
                let to = self.below(data.len() + 1);
                data.splice(to..to, piece);
            }
            6 => {
                let sample = self.pick(samples);
                let piece = sample[self.below(sample.len())..].to_vec();
                data.splice(at..at, piece);
            }
            _ => drop(data.splice(at..at, self.pick(DICTIONARY).to_vec())),
        }
    }
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number"))
    })
}

fn fuzz(target: &Target) -> u64 {
    let seed = environment("FERRULE_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(environment("FERRULE_FUZZ_SECONDS", 2));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut runs = 0;
    for sample in target.samples {
        (target.run)(sample);
    }
    while Instant::now() < until {
        let mut data = random.pick(target.samples).to_vec();
        for _ in 0..1 + random.below(6) {
            random.mutate(&mut data, target.samples);
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&data))).is_err() {
                panic!(
                    "target {}, seed {seed}, run {runs}: b\"{}\"",
                    target.name,
                    data.escape_ascii()
                );
            }
            runs += 1;
        }
    }
    runs
}

#[test]
fn no_target_breaks_on_mutated_samples() {
    let chosen = std::env::var("FERRULE_FUZZ_TARGETS").unwrap_or_default();
    let is_chosen = |name| chosen.is_empty() || chosen.split(',').any(|other| other == name);
    for target in TARGETS.iter().filter(|target| is_chosen(target.name)) {
        let runs = fuzz(target);
        println!("{}: {runs} runs", target.name);
        assert!(runs > 0);
    }
}
