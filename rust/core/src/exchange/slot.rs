//! All there is about one request while it lives, whatever carries it.
//! Knows no sockets and no applications.

use std::mem::MaybeUninit;
use std::sync::{Arc, OnceLock};

use ferrule_http::h1::encode::{BodyWriter, Defaults, HeadOptions, encode_simple};
use ferrule_http::request::{Method, Request};

use crate::reactor::Reactor;
use crate::reactor::connection::Waiter;
use crate::reactor::outbox::Outbox;

/// A body's buffer of up to this size is kept for the next request.
const KEPT_BODY: usize = 16 * 1024;

/// Where a request is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// Its head is being received.
    #[default]
    Head,
    /// Its body is collected before the application starts.
    Collecting,
    /// The application has it.
    Running,
    /// Answered; the rest of its body is being skipped.
    Skipping,
}

#[derive(Default)]
pub(crate) enum Response {
    /// Nothing was sent.
    #[default]
    Waiting,
    /// The head is out (or in the outbox); the writer frames what follows.
    Body(BodyWriter),
    /// The head is out, and the HTTP/2 connection frames what follows.
    Stream,
    Complete,
}

/// All there is about one request while it lives; reused for the next.
#[derive(Default)]
pub(crate) struct Slot {
    pub id: u64,
    pub request: Option<Arc<Request>>,
    pub phase: Phase,
    /// Received and not yet read by the application, from `body_start`.
    pub body: Vec<u8>,
    pub body_start: usize,
    pub body_ended: bool,
    /// Bytes received so far and since when (ms), for the rate floor; paused while the application does not read.
    pub body_seen: u64,
    pub body_since: u64,
    pub body_paused: Option<u64>,
    /// A thread waits for more of the body (WSGI).
    pub reading: bool,
    /// Part of `--body-memory-total` held by this body.
    pub reserved: u64,
    pub want_continue: bool,
    pub response: Response,
    pub status: u16,
    pub sent: u64,
    pub log_access: bool,
    pub started_us: u64,
    /// Time between the complete request and the application taking it up.
    pub queue_us: u64,
    pub counted: bool,
    pub receivers: Vec<Waiter>,
    pub senders: Vec<Waiter>,
    /// An output buffer while the outbox does not have it.
    pub spare: Vec<u8>,
}

impl Slot {
    pub(crate) fn request(&self) -> &Request {
        static NONE: OnceLock<Request> = OnceLock::new();
        match &self.request {
            Some(request) => request,
            None => NONE.get_or_init(Request::new),
        }
    }

    /// Whether its response is whole with the head, whatever the application sends (HEAD, 204, 304).
    pub(crate) fn is_bodiless(&self) -> bool {
        self.request().is_head() || matches!(self.status, 204 | 304)
    }

    /// Whether a response of this status is held to the length that it announces.
    pub(super) fn is_measured(&self, status: u16) -> bool {
        let request = self.request();
        let tunnel = request.method == Method::Connect && matches!(status, 200..=299);
        !(tunnel || request.is_head() || matches!(status, 204 | 304))
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.len().saturating_sub(self.body_start)
    }

    /// Moves what is here of the body to `to`, up to `limit` bytes; returns how many.
    pub(super) fn take_body(&mut self, to: &mut Vec<u8>, limit: usize) -> usize {
        let here = self.body_len();
        let take = here.min(limit);
        let end = self.body_start.saturating_add(take);
        if to.is_empty() && take == self.body.len() {
            std::mem::swap(to, &mut self.body);
        } else {
            to.extend_from_slice(self.body.get(self.body_start..end).unwrap_or_default());
        }
        self.drop_body(take);
        take
    }

    /// The first `count` bytes of what is here have been read.
    fn drop_body(&mut self, count: usize) {
        let end = self.body_start.saturating_add(count);
        if end >= self.body.len() {
            self.body.clear();
            self.body_start = 0;
        } else {
            self.body_start = end;
            // A reader that is always a little behind must not keep what it has read.
            if end >= self.body_len() {
                self.body.drain(..end);
                self.body_start = 0;
            }
        }
    }

    /// Moves what is here of the body to the front of `to`, as far as there is room; returns how many bytes.
    pub(crate) fn move_body(&mut self, to: &mut [MaybeUninit<u8>]) -> usize {
        let here = self.body.get(self.body_start..).unwrap_or_default();
        let taken = here.len().min(to.len());
        for (place, byte) in to.iter_mut().zip(here) {
            place.write(*byte);
        }
        self.drop_body(taken);
        taken
    }

    /// Runs or stops the clock of the body-rate floor.
    pub(crate) fn run_body_clock(&mut self, runs: bool, now: u64) {
        match (runs, self.body_paused) {
            (false, None) => self.body_paused = Some(now),
            (true, Some(at)) => {
                self.body_since = self.body_since.saturating_add(now.saturating_sub(at));
                self.body_paused = None;
            }
            _ => {}
        }
    }

    /// Clean for the next request; buffers of ordinary size stay.
    pub(crate) fn reset(&mut self) {
        // Field by field, because most are as they should be; named one by one, so that none is forgotten.
        let Slot {
            id,
            request: _,
            phase,
            body,
            body_start,
            body_ended,
            body_seen,
            body_since,
            body_paused,
            reading,
            reserved,
            want_continue,
            response,
            status,
            sent,
            log_access,
            started_us,
            queue_us,
            counted,
            receivers,
            senders,
            spare: _,
        } = self;
        (*id, *status, *sent, *started_us, *queue_us) = (0, 0, 0, 0, 0);
        (*phase, *response) = (Phase::Head, Response::Waiting);
        (*body_start, *body_seen, *body_since, *reserved) = (0, 0, 0, 0);
        (*body_ended, *reading, *want_continue, *counted) = (false, false, false, false);
        (*body_paused, *log_access) = (None, true);
        body.clear();
        if body.capacity() > KEPT_BODY {
            *body = Vec::new();
        }
        receivers.clear();
        senders.clear();
    }

    pub(super) fn options<'a>(
        &self,
        go_on: bool,
        length: Option<u64>,
        defaults: &'a Defaults,
    ) -> HeadOptions<'a> {
        let request = self.request();
        HeadOptions {
            version: request.version,
            head_request: request.is_head(),
            connect_request: request.method == Method::Connect,
            keep_alive: go_on,
            body_length: length,
            defaults,
        }
    }

    /// Writes a complete answer of the server's own.
    pub(crate) fn answer(
        &mut self,
        cx: &Reactor,
        out: &mut Outbox,
        status: u16,
        detail: &str,
        extra: &[(&str, &str)],
        go_on: bool,
    ) {
        out.lend(std::mem::take(&mut self.spare));
        let before = out.pending();
        {
            let defaults = cx.defaults();
            let how = self.options(go_on, None, &defaults);
            encode_simple(out.tail(), status, detail, extra, &how);
        }
        self.status = status;
        self.sent = out.pending().saturating_sub(before) as u64;
        self.response = Response::Complete;
    }
}
