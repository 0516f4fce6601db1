//! Parsers beside each other, made to stand noise: short batches of every contender in turn, timed
//! by the CPU time of this thread, so that their ratio can be taken batch by batch. Prints JSON.
//!
//! ```text
//! cargo bench --bench side_by_side -- [--llhttp LIBRARY]
//! cargo bench --bench side_by_side -- [--llhttp LIBRARY] --only CASE CONTENDER TIMES
//! ```
//!
//! The second form prints nothing and is for profilers that count instructions.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(dead_code, reason = "other benchmarks measure the other contenders")]

mod contenders;
#[path = "../tests/vectors/mod.rs"]
mod vectors;

use std::mem::MaybeUninit;

use contenders::{head, hpack, llhttp};
use serde_json::json;

/// Long enough for the clock (a system call) not to count, short beside a time slice.
const BATCH_NANOSECONDS: u64 = 400_000;
const BATCHES: u64 = 300;
/// Whatever takes longer has fewer batches.
const CASE_NANOSECONDS: u64 = 2_500_000_000;

/// Does its work this many times.
type Work = Box<dyn FnMut(u64)>;

struct Case {
    name: String,
    /// Octets that go in.
    size: usize,
    contenders: Vec<(&'static str, Work)>,
}

fn work(mut once: impl FnMut() + 'static) -> Work {
    Box::new(move |times| (0..times).for_each(|_| once()))
}

fn cases(llhttp: Option<llhttp::Library>) -> Vec<Case> {
    let heads = head::HEADS.map(|(fields, head)| {
        let mut contenders = vec![
            ("ferrule", work(head::ferrule(head))),
            ("httparse", work(head::httparse(head))),
            ("httparse-uninit", work(head::httparse_uninit(head))),
        ];
        if let Some(library) = llhttp {
            contenders.push(("llhttp", work(library.parser(head))));
        }
        Case {
            name: format!("head-{fields}"),
            size: head.len(),
            contenders,
        }
    });
    let decoding = [
        ("hpack-stories", hpack::stories()),
        ("hpack-browser", hpack::browser()),
    ]
    .map(|(name, stories)| Case {
        name: name.into(),
        size: hpack::coded_size(&stories),
        contenders: vec![
            ("ferrule", work(hpack::ferrule(stories.clone()))),
            ("nghttp2", work(hpack::nghttp2(stories.clone()))),
            ("hpack", work(hpack::hpack(stories.clone()))),
            ("httlib-hpack", work(hpack::httlib_hpack(stories))),
        ],
    });
    let encoding = [("hpack-encode", hpack::lists())].map(|(name, lists)| Case {
        name: name.into(),
        size: hpack::plain_size(&lists),
        contenders: vec![
            ("ferrule", work(hpack::ferrule_encoder(lists.clone()))),
            ("nghttp2", work(hpack::nghttp2_encoder(lists.clone()))),
            ("hpack", work(hpack::hpack_encoder(lists))),
        ],
    });
    // Without the public vectors there are no stories, and nothing to tell of them.
    let all = heads.into_iter().chain(decoding).chain(encoding);
    all.filter(|case| case.size > 0).collect()
}

/// CPU time of this thread.
fn now() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills the place that it is given, unless it fails.
    let time = unsafe {
        assert_eq!(
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()),
            0
        );
        time.assume_init()
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn time(work: &mut Work, times: u64) -> u64 {
    let began = now();
    work(times);
    now() - began
}

/// How often the work is done in one batch; warms it up on the way.
fn batch_size(work: &mut Work) -> u64 {
    let mut times = 1;
    loop {
        let spent = time(work, times);
        if spent >= BATCH_NANOSECONDS / 2 {
            return (times * BATCH_NANOSECONDS / spent).max(1);
        }
        times *= 2;
    }
}

/// Nanoseconds per time, by contender, batch by batch.
fn measure(case: &mut Case) -> Vec<Vec<f64>> {
    let sizes: Vec<u64> = case
        .contenders
        .iter_mut()
        .map(|(_, work)| batch_size(work))
        .collect();
    let mut found = vec![Vec::new(); sizes.len()];
    let end = now() + CASE_NANOSECONDS;
    for batch in 0..BATCHES {
        for turn in 0..sizes.len() {
            // To and fro, so that nobody always follows the same neighbour.
            let turn = match batch % 2 {
                0 => turn,
                _ => sizes.len() - 1 - turn,
            };
            let work = &mut case.contenders[turn].1;
            // What the neighbour left in the caches and the branch predictor is not this one's doing.
            work(1);
            let spent = time(work, sizes[turn]);
            found[turn].push(spent as f64 / sizes[turn] as f64);
        }
        if now() > end {
            break;
        }
    }
    found
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut library, mut only) = (None, None);
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().unwrap();
        match &argument[..] {
            "--llhttp" => library = Some(llhttp::Library::open(&next())),
            "--only" => only = Some((next(), next(), next().parse().unwrap())),
            // Cargo's.
            "--bench" => {}
            other => panic!("{other}: no such argument"),
        }
    }
    let mut cases = cases(library);
    if let Some((name, contender, times)) = only {
        let case = cases.iter_mut().find(|case| case.name == name).unwrap();
        let mut contenders = case.contenders.iter_mut();
        let (_, work) = contenders.find(|(each, _)| *each == contender).unwrap();
        work(times);
        return;
    }
    let told = cases.iter_mut().map(|case| {
        let found = measure(case);
        let names = case.contenders.iter().map(|(name, _)| *name);
        let rows: serde_json::Map<_, _> = names
            .zip(found)
            .map(|(name, nanoseconds)| (name.to_owned(), json!(nanoseconds)))
            .collect();
        json!({"case": case.name, "bytes": case.size, "nanoseconds": rows})
    });
    println!("{}", serde_json::Value::Array(told.collect()));
}
