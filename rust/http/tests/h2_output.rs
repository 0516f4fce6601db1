//! Whose data goes out when: windows, queues, budgets and priorities.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use ferrule_http::h2::{Code, Waits};
use h2_support::{GET, Reply, Seen, Talk, ask};

const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;

/// Octets of data on a stream, and whether it ended.
fn data(replies: &[Reply], stream: u32) -> (usize, bool) {
    replies
        .iter()
        .fold((0, false), |(octets, end), reply| match reply {
            Reply::Data(other, data, last) if *other == stream => (octets + data.len(), end | last),
            _ => (octets, end),
        })
}

/// Streams in the order of their DATA frames.
fn order(replies: &[Reply]) -> Vec<u32> {
    let stream = |reply: &Reply| match reply {
        Reply::Data(stream, _, _) => Some(*stream),
        _ => None,
    };
    replies.iter().filter_map(stream).collect()
}

#[test]
fn data_stops_at_the_windows_and_goes_on_when_they_open() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 10)]);
    talk.replies();
    ask(&mut talk, 1);
    talk.respond(1, 200, &[], false).unwrap();
    assert_eq!(talk.connection.data(1, &[b'x'; 30], true), Ok(30));
    talk.connection.release(1);
    assert_eq!(data(&talk.replies(), 1), (10, false));
    assert_eq!(talk.connection.waits_for_client(1), Waits::Window);
    assert!(!talk.connection.has_output());
    talk.window_update(1, 5);
    assert_eq!(data(&talk.replies(), 1), (5, false));
    // A lower initial window takes away what was granted, below zero.
    talk.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    talk.window_update(1, 10);
    assert_eq!(talk.replies(), [Reply::SettingsAck]);
    talk.window_update(1, 1);
    assert_eq!(data(&talk.replies(), 1), (1, false));
    talk.settings(&[(INITIAL_WINDOW_SIZE, 100)]);
    assert_eq!(data(&talk.replies(), 1), (14, true));
    assert_eq!(talk.connection.streams(), 0);
    assert_eq!(talk.connection.data_sent(), 30);
}

#[test]
fn what_cannot_be_sent_any_more_is_not_announced_as_output() {
    for lose in [
        |talk: &mut Talk| talk.settings(&[(INITIAL_WINDOW_SIZE, 0)]),
        |talk: &mut Talk| talk.reset(1, Code::Cancel),
    ] {
        let mut talk = Talk::new();
        ask(&mut talk, 1);
        talk.respond(1, 200, &[], false).unwrap();
        talk.connection.data(1, &[b'x'; 60_000], true).unwrap();
        talk.replies_within(0);
        assert!(talk.connection.has_output());
        lose(&mut talk);
        talk.seen();
        assert_eq!(order(&talk.replies_within(0)), []);
        assert!(!talk.connection.has_output());
    }
}

#[test]
fn all_streams_share_the_connection_window() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)]);
    talk.replies();
    for stream in [1, 3] {
        ask(&mut talk, stream);
        talk.respond(stream, 200, &[], false).unwrap();
        assert_eq!(
            talk.connection.data(stream, &[b'x'; 60_000], true),
            Ok(60_000)
        );
    }
    let replies = talk.replies();
    assert_eq!(data(&replies, 1).0 + data(&replies, 3).0, 65_535);
    assert!(talk.connection.waits_for_window());
    // The end of a response needs no window, and neither does a head.
    ask(&mut talk, 5);
    talk.respond(5, 200, &[], false).unwrap();
    talk.connection.data(5, b"", true).unwrap();
    assert_eq!(talk.replies().len(), 2);
    talk.window_update(0, 100_000);
    let replies = talk.replies();
    assert_eq!(data(&replies, 1).0 + data(&replies, 3).0, 120_000 - 65_535);
    assert!(data(&replies, 3).1);
}

#[test]
fn frames_are_no_larger_than_the_client_allows_nor_than_16_kib() {
    for (allowed, expected) in [(16_384, 16_384), (1 << 20, 16_384)] {
        let mut talk = Talk::new();
        talk.settings(&[(MAX_FRAME_SIZE, allowed)]);
        talk.replies();
        ask(&mut talk, 1);
        talk.respond(1, 200, &[], false).unwrap();
        talk.connection.data(1, &[b'x'; 60_000], true).unwrap();
        let replies = talk.replies();
        let largest = replies.iter().map(|reply| match reply {
            Reply::Data(_, data, _) => data.len(),
            _ => 0,
        });
        assert_eq!(largest.max(), Some(expected));
        assert_eq!(data(&replies, 1), (60_000, true));
    }
}

#[test]
fn a_full_queue_takes_no_more_until_it_has_drained() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    talk.replies();
    ask(&mut talk, 1);
    talk.respond(1, 200, &[], false).unwrap();
    let body = vec![b'x'; 100_000];
    assert_eq!(talk.connection.room(1), 65_536);
    assert_eq!(talk.connection.data(1, &body, true), Ok(65_536));
    assert_eq!(talk.connection.room(1), 0);
    assert_eq!(talk.connection.data(1, &body[65_536..], true), Ok(0));
    talk.replies();
    talk.window_update(1, 40_000);
    talk.window_update(0, 1 << 20);
    assert_eq!(data(&talk.replies(), 1), (40_000, false));
    assert_eq!(
        talk.seen(),
        [],
        "more than the low-water mark is still queued"
    );
    talk.window_update(1, 1 << 20);
    talk.replies();
    assert_eq!(talk.seen(), [Seen::Writable(1)]);
    assert_eq!(
        talk.connection.data(1, &body[65_536..], true),
        Ok(100_000 - 65_536)
    );
    assert_eq!(data(&talk.replies(), 1), (100_000 - 65_536, true));
    assert_eq!(talk.seen(), [], "nobody waits any more");
}

#[test]
fn streams_without_a_window_do_not_starve_the_others() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    talk.replies();
    let body = vec![b'x'; 65_536];
    let mut queued = 0;
    for stream in (1..=255).step_by(2) {
        ask(&mut talk, stream);
        talk.respond(stream, 200, &[], false).unwrap();
        let taken = talk.connection.data(stream, &body, false).unwrap();
        assert!(taken >= 16_384, "stream {stream} got room for {taken}");
        queued += taken;
    }
    assert!(
        queued <= (1 << 20) + 65_536 + 128 * 16_384,
        "{queued} octets are queued"
    );
    talk.window_update(0, 1 << 20);
    talk.window_update(255, 1 << 20);
    assert_eq!(data(&talk.replies(), 255), (16_384, false));
}

#[test]
fn a_budget_bounds_one_write() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    talk.respond(1, 200, &[], false).unwrap();
    talk.connection.data(1, &[b'x'; 60_000], true).unwrap();
    let (first, _) = data(&talk.replies_within(40_000), 1);
    assert!((39_000..=40_000).contains(&first), "{first}");
    assert!(talk.connection.has_output());
    assert_eq!(data(&talk.replies(), 1), (60_000 - first, true));
}

/// Answers streams 1, 3 and 5 with 40,000 octets each while the window is closed, then opens it.
fn race(talk: &mut Talk, priorities: [&str; 3]) -> Vec<u32> {
    talk.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    talk.window_update(0, 1 << 20);
    for (stream, priority) in [1, 3, 5].into_iter().zip(priorities) {
        let mut fields = GET.to_vec();
        if !priority.is_empty() {
            fields.push(("priority", priority));
        }
        talk.headers(stream, &fields, true);
        talk.respond(stream, 200, &[], false).unwrap();
        talk.connection.data(stream, &[b'x'; 40_000], true).unwrap();
    }
    talk.replies();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)]);
    talk.seen();
    order(&talk.replies())
}

#[test]
fn urgent_responses_go_first_and_incremental_ones_take_turns() {
    assert_eq!(
        race(&mut Talk::new(), ["", "", ""]),
        [1, 1, 1, 3, 3, 3, 5, 5, 5]
    );
    assert_eq!(
        race(&mut Talk::new(), ["u=5", "u=1", ""]),
        [3, 3, 3, 5, 5, 5, 1, 1, 1]
    );
    let turns = race(&mut Talk::new(), ["i", "i", "i"]);
    assert_eq!(turns.len(), 9);
    for round in turns.chunks(3) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [1, 3, 5]);
    }
}

#[test]
fn priority_updates_apply_to_queued_live_and_future_streams() {
    let mut talk = Talk::new();
    talk.priority_update(5, "u=0");
    assert_eq!(
        race(&mut talk, ["", "", "u=7"]),
        [5, 5, 5, 1, 1, 1, 3, 3, 3]
    );

    let mut talk = Talk::new();
    talk.window_update(0, 1 << 20);
    for stream in [1, 3] {
        ask(&mut talk, stream);
        talk.respond(stream, 200, &[], false).unwrap();
        talk.connection.data(stream, &[b'x'; 40_000], true).unwrap();
    }
    talk.priority_update(3, "u=0");
    // The first 32 KiB of stream 1 went out when nothing else was there.
    assert_eq!(order(&talk.replies()), [1, 1, 3, 3, 3, 1]);
    // Not about a live stream any more, and not an error.
    talk.priority_update(1, "u=0");
    assert_eq!(
        talk.fails(&h2_support::raw(
            0x10,
            0,
            0,
            &[0, 0, 0, 2, b'u', b'=', b'1']
        )),
        Code::ProtocolError
    );
}
