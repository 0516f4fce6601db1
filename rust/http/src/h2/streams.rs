//! All streams of a connection: the live ones by number, and the recently closed ones, so that a
//! late frame can be told from a wrong one. Knows numbers and counts, never frames.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::error::Code;
use super::stream::{Cause, Frame, Refusal, Stream};

/// Closed streams that are remembered. Frames that cross a reset on the wire belong to streams of
/// the last round trip; those of more than this many streams at once are refused.
const REMEMBERED: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Streams {
    live: HashMap<u32, Stream, BuildHasherDefault<NumberHasher>>,
    /// How many of them are not closed on the wire.
    open: usize,
    /// The highest stream that the client opened.
    last: u32,
    /// A ring; `next` is the oldest once it is full.
    closed: Vec<(u32, Cause)>,
    next: usize,
}

impl Streams {
    pub(super) fn get(&self, stream: u32) -> Option<&Stream> {
        self.live.get(&stream)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, stream: u32) -> Option<&mut Stream> {
        self.live.get_mut(&stream)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        self.live
            .iter_mut()
            .map(|(number, stream)| (*number, stream))
    }

    /// Streams that are open or half closed.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// Streams that are open, or that the application is not done with.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// The highest stream that the client opened; 0 before the first.
    pub(super) const fn last(&self) -> u32 {
        self.last
    }

    /// Whether the client has not opened this stream yet (RFC 9113 section 5.1.1: odd numbers,
    /// each higher than the one before).
    pub(super) const fn is_idle(&self, stream: u32) -> bool {
        stream.is_multiple_of(2) || stream > self.last
    }

    /// The client opened a stream, whether or not it becomes a live one.
    pub(super) const fn opened(&mut self, stream: u32) {
        self.last = stream;
    }

    pub(super) fn insert(&mut self, number: u32, stream: Stream) {
        self.live.insert(number, stream);
        self.open += 1;
    }

    /// A live stream came to its end on the wire.
    pub(super) const fn ended(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Takes out a stream that is closed and released.
    pub(super) fn remove(&mut self, number: u32, cause: Cause) -> Option<Stream> {
        self.remember(number, cause);
        self.live.remove(&number)
    }

    /// Gives back the memory of streams that are gone.
    pub(super) fn shrink(&mut self) {
        self.live.shrink_to_fit();
    }

    /// Keeps in mind how a stream ended that is not live, or not any more.
    pub(super) fn remember(&mut self, number: u32, cause: Cause) {
        if self.closed.len() < REMEMBERED {
            self.closed.push((number, cause));
        } else if let Some(oldest) = self.closed.get_mut(self.next) {
            *oldest = (number, cause);
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// A stream that is not live was reset from here, whatever it was before.
    pub(super) fn reset_again(&mut self, number: u32) {
        match self.closed.iter_mut().find(|(other, _)| *other == number) {
            Some((_, cause)) => *cause = Cause::ResetHere,
            None => self.remember(number, Cause::ResetHere),
        }
    }

    /// What a frame on a stream deserves that is neither live nor idle.
    pub(super) fn refusal(&self, number: u32, frame: Frame) -> Refusal {
        let known = self.closed.iter().find(|(other, _)| *other == number);
        match (known, frame) {
            (Some((_, cause)), _) => super::stream::State::Closed(*cause)
                .receive(frame)
                .map_or_else(|refusal| refusal, |_| Refusal::Ignore),
            // Skipped by the client, or closed long ago.
            (None, Frame::Reset | Frame::WindowUpdate) => Refusal::Ignore,
            (None, Frame::Data { .. }) => {
                Refusal::Stream(Code::StreamClosed, "DATA on a closed stream")
            }
            // Section 5.1.1: a number below the last one cannot be opened any more.
            (None, Frame::Headers { .. }) => {
                Refusal::Connection(Code::ProtocolError, "stream number below the last one")
            }
        }
    }
}

/// Stream numbers are a client's choice, but a connection has few live streams: spreading them
/// needs no secret.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u32(u32::from(*octet));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: both ends of the product depend on the whole number.
        let product = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: Frame = Frame::Headers { end_stream: true };
    const DATA: Frame = Frame::Data { end_stream: true };

    #[test]
    fn idle_streams_are_odd_and_above_the_last() {
        let mut streams = Streams::default();
        assert!(streams.is_idle(1));
        streams.opened(5);
        assert!(!streams.is_idle(3) && !streams.is_idle(5));
        assert!(streams.is_idle(7) && streams.is_idle(2));
    }

    #[test]
    fn closed_streams_are_remembered_for_a_while_in_bounded_memory() {
        let mut streams = Streams::default();
        for number in 0..10_000 {
            streams.remember(2 * number + 1, Cause::ResetHere);
        }
        assert_eq!(streams.closed.len(), REMEMBERED);
        assert_eq!(streams.refusal(19_999, HEADERS), Refusal::Ignore);
        assert_eq!(streams.refusal(20_001 - 2 * 256, DATA), Refusal::Ignore);
        let forgotten = 19_999 - 2 * 256;
        assert!(matches!(
            streams.refusal(forgotten, HEADERS),
            Refusal::Connection(..)
        ));
        assert!(matches!(
            streams.refusal(forgotten, DATA),
            Refusal::Stream(..)
        ));
        assert_eq!(
            streams.refusal(forgotten, Frame::WindowUpdate),
            Refusal::Ignore
        );
    }

    #[test]
    fn ended_and_reset_streams_are_told_apart() {
        let mut streams = Streams::default();
        streams.remember(1, Cause::Ended);
        streams.remember(3, Cause::ResetByPeer);
        assert!(matches!(
            streams.refusal(1, HEADERS),
            Refusal::Connection(Code::StreamClosed, _)
        ));
        assert!(matches!(
            streams.refusal(3, HEADERS),
            Refusal::Stream(Code::StreamClosed, _)
        ));
    }
}
