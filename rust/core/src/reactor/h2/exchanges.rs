//! The exchanges of one HTTP/2 connection, found by id or by stream, and what their applications gave that does not
//! fit into the streams' queues yet. Knows no frames and no sockets.

use std::collections::VecDeque;

use super::pace::StreamPace;
use crate::exchange::{FilePart, Slot};

/// One exchange and its stream.
pub(crate) struct Entry {
    pub id: u64,
    pub stream: u32,
    /// The application has taken it up.
    pub taken: bool,
    /// The application is done; what it gave is still on its way.
    pub left: bool,
    /// None: the stream is gone, and the application has not left yet. It counts until then, so that a client cannot
    /// have more work done by resetting streams.
    pub slot: Option<Box<Slot>>,
    /// The end of the response that the stream's queue had no room for.
    pub rest: Option<Box<Rest>>,
    pub(super) pace: StreamPace,
}

/// A stream whose exchange is over, and whose client has not taken all of the response or not ended its request.
pub(super) struct Tail {
    pub stream: u32,
    pub pace: StreamPace,
}

/// Ids and stream numbers both only grow, so that one list in order of arrival finds by either.
#[derive(Default)]
pub(crate) struct Exchanges {
    list: VecDeque<Entry>,
    /// The last stream that had an exchange.
    newest: u32,
}

impl Exchanges {
    pub(crate) fn push(&mut self, id: u64, stream: u32, slot: Box<Slot>) -> usize {
        self.list.push_back(Entry {
            id,
            stream,
            taken: false,
            left: false,
            slot: Some(slot),
            rest: None,
            pace: StreamPace::default(),
        });
        self.newest = stream;
        self.list.len().saturating_sub(1)
    }

    /// Whether a stream has, or had, an exchange.
    pub(crate) fn has_known(&self, stream: u32) -> bool {
        stream <= self.newest
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<usize> {
        self.list.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    pub(crate) fn by_stream(&self, stream: u32) -> Option<usize> {
        self.list
            .binary_search_by_key(&stream, |entry| entry.stream)
            .ok()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Entry> {
        self.list.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.list.get_mut(at)
    }

    pub(crate) fn slot(&mut self, at: usize) -> Option<&mut Slot> {
        self.list.get_mut(at)?.slot.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<Entry> {
        self.list.remove(at)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.list.iter_mut()
    }

    /// Gives back the memory of a list that was long once.
    pub(crate) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }
}

pub(crate) enum Piece {
    /// Bytes from the offset on.
    Bytes(Vec<u8>, usize),
    File(FilePart),
}

/// What comes behind the last piece.
#[derive(Default)]
pub(crate) enum Ending {
    /// The application has more to give, and waits until this much is gone.
    #[default]
    Open,
    End,
    Trailers(Vec<(Vec<u8>, Vec<u8>)>),
}

/// The end of a response that waits for its client.
#[derive(Default)]
pub(crate) struct Rest {
    pub pieces: VecDeque<Piece>,
    pub ending: Ending,
}

impl Rest {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pieces.push_back(Piece::Bytes(bytes.to_vec(), 0));
        }
    }
}
