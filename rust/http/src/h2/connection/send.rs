//! Responses as the application gives them: heads, data as far as there is room, trailers. What
//! goes out when windows and sockets are full is decided in `output`.

use super::{Connection, SendError};
use crate::fields::{HeaderBlock, Known, forbidden_in_trailers, trim_ows, valid_name, valid_value};
use crate::h1::encode::{Defaults, ResponseError, ResponseHead};
use crate::h2::error::Code;
use crate::h2::frame::{Data, HeadersFrame, MIN_MAX_FRAME_SIZE};
use crate::h2::guard::Flood;
use crate::h2::stream::{Cause, Finish, Method, Response, State, Stream};

/// Data that a stream may have queued, in octets: a few round trips of frames, so that the wire
/// stays busy while the application makes more.
const STREAM_QUEUE: usize = 64 * 1024;

/// The same for all streams together; beyond it each one may still have [`STREAM_SHARE`], so that
/// streams whose client opens no window cannot starve the others.
const CONNECTION_QUEUE: usize = 1024 * 1024;

const STREAM_SHARE: usize = 16 * 1024;

/// A stream that waited for room is told once it has no more than this queued.
pub(super) const LOW_WATER: usize = STREAM_SHARE / 2;

/// Data goes straight behind the pending frames while there are no more octets of them than this,
/// and nobody else waits: then there is nothing to schedule, and nothing to copy twice.
const DIRECT: usize = 32 * 1024;

/// Octets of the largest DATA payload that is sent, whatever the client allows: between two frames
/// another stream can have its turn.
pub(super) const DATA_FRAME: usize = MIN_MAX_FRAME_SIZE as usize;

impl Connection {
    /// Sends a response head.
    ///
    /// `body_length` is the complete length of the body in octets, where the server knows it; it
    /// is without effect where the application gave Content-Length. `end_stream`: there is no body
    /// and there are no trailers. A response that cannot have a body (HEAD, 204, 304) ends here,
    /// and what [`Connection::data`] is given is swallowed.
    ///
    /// # Errors
    /// [`SendError`]; [`ResponseError::TooLittleBody`] when `end_stream` contradicts the length.
    /// Nothing was sent then, and another head may be.
    pub fn respond(
        &mut self,
        stream: u32,
        head: &ResponseHead,
        defaults: &Defaults,
        body_length: Option<u64>,
        end_stream: bool,
    ) -> Result<(), SendError> {
        let number = stream;
        let stream = self.streams.get_mut(number).ok_or(SendError::Closed)?;
        open_for(stream, Response::Awaited)?;
        let status = head.status();
        let bodiless = stream.method == Method::Head || matches!(status, 204 | 304);
        let tunnel = stream.method == Method::Connect && (200..300).contains(&status);
        // RFC 9110 section 8.6.
        let length = match status {
            204 => None,
            304 => head.content_length(),
            _ if tunnel => None,
            _ => head.content_length().or(body_length),
        };
        if end_stream && !bodiless && length.is_some_and(|length| length > 0) {
            return Err(ResponseError::TooLittleBody.into());
        }
        stream.response = match (end_stream, bodiless) {
            (true, _) => Response::Complete,
            (false, true) => Response::Bodiless,
            (false, false) => Response::Body { left: length },
        };

        let frame = HeadersFrame::begin(&mut self.pending);
        self.encoder.begin(&mut self.pending);
        self.encoder.status(&mut self.pending, status);
        for (name, value) in head.fields() {
            self.encoder.field(&mut self.pending, name, value);
        }
        if let Some(length) = length {
            let mut digits = [0; MAX_DIGITS];
            self.encoder.field(
                &mut self.pending,
                b"content-length",
                decimal(length, &mut digits),
            );
        }
        for (known, name, value) in defaults.fields() {
            if !head.gives(known, name) && !connection_specific(known) {
                self.encoder.field(&mut self.pending, name, value);
            }
        }
        let ends = end_stream || bodiless;
        frame.finish(&mut self.pending, number, ends, self.peer.max_frame_size);
        if ends {
            self.ended(number);
        }
        Ok(())
    }

    /// Sends an interim response: 100 when the application begins to read, 103 with its `link`
    /// fields (RFC 8297).
    ///
    /// # Errors
    /// [`SendError`]; [`ResponseError::BadStatus`] outside 100 to 199 and for 101, which HTTP/2
    /// does not have; [`ResponseError::BadName`] (also for framing and connection fields),
    /// [`ResponseError::BadValue`]. Nothing is sent then.
    pub fn interim(
        &mut self,
        stream: u32,
        status: u16,
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), SendError> {
        let number = stream;
        let stream = self.streams.get_mut(number).ok_or(SendError::Closed)?;
        open_for(stream, Response::Awaited)?;
        if !(100..=199).contains(&status) || status == 101 {
            return Err(ResponseError::BadStatus.into());
        }
        for (name, value) in fields {
            let known = Known::lookup(name);
            check_field(name, value)?;
            if connection_specific(known) || known == Known::ContentLength {
                return Err(ResponseError::BadName.into());
            }
        }
        let frame = HeadersFrame::begin(&mut self.pending);
        self.encoder.begin(&mut self.pending);
        self.encoder.status(&mut self.pending, status);
        for (name, value) in fields {
            self.encoder.field(&mut self.pending, name, trim_ows(value));
        }
        frame.finish(&mut self.pending, number, false, self.peer.max_frame_size);
        Ok(())
    }

    /// Octets of data that the stream takes now. When it is 0, [`super::Event::Writable`] comes
    /// as soon as it is not.
    pub fn room(&mut self, stream: u32) -> usize {
        let queued = self.queued;
        let Some(stream) = self.streams.get_mut(stream) else {
            return 0;
        };
        let room = room(queued, stream);
        stream.wants_room |= room == 0;
        room
    }

    /// Takes data of a response body, as much as there is room for, and returns how much that is;
    /// the rest is to be given again after [`super::Event::Writable`]. `end`: this is the last of
    /// it, which counts only when all of it was taken.
    ///
    /// # Errors
    /// [`SendError`]; [`ResponseError::TooMuchBody`] and [`ResponseError::TooLittleBody`] when the
    /// announced length is not met: the stream is reset, so that the client sees it.
    pub fn data(&mut self, stream: u32, octets: &[u8], end: bool) -> Result<usize, SendError> {
        let number = stream;
        let queued = self.queued;
        let stream = self.streams.get_mut(number).ok_or(SendError::Closed)?;
        let left = match body_of(stream)? {
            Some(left) => left,
            None => {
                if end {
                    stream.response = Response::Complete;
                }
                return Ok(octets.len());
            }
        };
        if left.is_some_and(|left| octets.len() as u64 > left) {
            return self.broken(number, ResponseError::TooMuchBody);
        }
        let mut direct = 0;
        if stream.queued() == 0 && self.scheduler.is_empty() && self.pending.len() < DIRECT {
            let window = stream.send.available().min(self.send.available());
            direct = octets.len().min(window).min(DIRECT);
        }
        let (now, later) = octets.split_at(direct);
        let taken = direct + later.len().min(room(queued, stream));
        let end = end && taken == octets.len();
        let left = left.map(|left| left - taken as u64);
        if end && left.is_some_and(|left| left > 0) {
            return self.broken(number, ResponseError::TooLittleBody);
        }
        stream.response = if end {
            Response::Complete
        } else {
            Response::Body { left }
        };
        stream.wants_room = taken < octets.len();

        stream.send.sent(direct);
        stream.sent += direct as u64;
        self.send.sent(direct);
        self.sent += direct as u64;
        self.guard.data_sent(direct, direct == octets.len());
        let later = later.get(..taken - direct).unwrap_or_default();
        let ends_now = end && later.is_empty() && stream.queued() == 0;
        write_data(
            &mut self.pending,
            number,
            now,
            self.peer.max_frame_size,
            ends_now,
        );
        if ends_now {
            self.ended(number);
            return Ok(taken);
        }
        if end {
            stream.finish = Finish::End;
        }
        if !later.is_empty() {
            if stream.queue.capacity() == 0 {
                stream.queue = self.spare_queues.pop().unwrap_or_default();
            }
            stream.enqueue(later);
            self.queued += later.len();
            if !stream.scheduled && stream.send.available() > 0 {
                stream.scheduled = true;
                self.scheduler.add(number, stream.priority);
            }
        }
        Ok(taken)
    }

    /// Ends a response with trailers, behind all data given before.
    ///
    /// # Errors
    /// [`SendError`]; [`ResponseError::BadName`], [`ResponseError::BadValue`] and
    /// [`ResponseError::ForbiddenTrailer`], after which the response is still open;
    /// [`ResponseError::TooLittleBody`], after which the stream is reset.
    pub fn trailers(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) -> Result<(), SendError> {
        let number = stream;
        let stream = self.streams.get_mut(number).ok_or(SendError::Closed)?;
        let left = body_of(stream)?;
        for (name, value) in fields {
            check_field(name, value)?;
            if forbidden_in_trailers(Known::lookup(name), name) {
                return Err(ResponseError::ForbiddenTrailer.into());
            }
        }
        let Some(left) = left else {
            stream.response = Response::Complete;
            return Ok(());
        };
        if left.is_some_and(|left| left > 0) {
            return self.broken(number, ResponseError::TooLittleBody);
        }
        stream.response = Response::Complete;
        let mut trailers = Box::new(HeaderBlock::new());
        for (name, value) in fields {
            trailers.push(name, trim_ows(value));
        }
        if stream.queued() > 0 {
            stream.finish = Finish::Trailers(trailers);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        self.write_trailers(&mut pending, number, &trailers);
        self.pending = pending;
        self.ended(number);
        Ok(())
    }

    /// Appends trailers, or, without any, what else ends a stream.
    pub(super) fn write_trailers(
        &mut self,
        dst: &mut Vec<u8>,
        number: u32,
        trailers: &HeaderBlock,
    ) {
        if trailers.is_empty() {
            return write_data(dst, number, b"", self.peer.max_frame_size, true);
        }
        let frame = HeadersFrame::begin(dst);
        self.encoder.begin(dst);
        for (_, name, value) in trailers.iter() {
            self.encoder.field(dst, name, value);
        }
        frame.finish(dst, number, true, self.peer.max_frame_size);
    }

    /// END_STREAM is on its way.
    pub(super) fn ended(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let before = stream.state;
        stream.state = before.send_end();
        if stream.state.is_closed() && !before.is_closed() {
            self.streams.ended();
        }
        // An answered request explains some of what clients do around it.
        self.guard.earn(Flood::Reset, 1);
        self.guard.earn(Flood::WindowUpdate, 2);
        self.guard.earn(Flood::Ping, 1);
        self.settle(number);
    }

    /// The response cannot be completed as it was announced.
    fn broken<T>(&mut self, number: u32, error: ResponseError) -> Result<T, SendError> {
        self.reset(number, Code::InternalError);
        Err(error.into())
    }
}

/// Whether a response may go on from `step`.
fn open_for(stream: &Stream, step: Response) -> Result<(), SendError> {
    if stream.released || matches!(stream.state, State::Closed(cause) if cause != Cause::Ended) {
        return Err(SendError::Closed);
    }
    if stream.response != step {
        return Err(SendError::Order);
    }
    Ok(())
}

/// Octets still to come of an announced length, if one was; `None` for a response whose body is
/// swallowed.
fn body_of(stream: &Stream) -> Result<Option<Option<u64>>, SendError> {
    open_for(stream, stream.response)?;
    match stream.response {
        Response::Body { left } => Ok(Some(left)),
        Response::Bodiless => Ok(None),
        Response::Awaited | Response::Complete => Err(SendError::Order),
    }
}

fn room(queued: usize, stream: &Stream) -> usize {
    let bound = if queued < CONNECTION_QUEUE {
        STREAM_QUEUE
    } else {
        STREAM_SHARE
    };
    bound.saturating_sub(stream.queued())
}

/// Appends data in as few frames as possible; no frame at all for no data and no end.
pub(super) fn write_data(
    dst: &mut Vec<u8>,
    stream: u32,
    data: &[u8],
    max_frame_size: u32,
    end_stream: bool,
) {
    let max = DATA_FRAME.min(max_frame_size as usize).max(1);
    let mut rest = data;
    while !rest.is_empty() {
        let (data, others) = rest.split_at(rest.len().min(max));
        rest = others;
        let end_stream = end_stream && rest.is_empty();
        Data {
            stream,
            data,
            padding: None,
            end_stream,
        }
        .encode(dst);
    }
    if data.is_empty() && end_stream {
        Data {
            stream,
            data,
            padding: None,
            end_stream,
        }
        .encode(dst);
    }
}

fn check_field(name: &[u8], value: &[u8]) -> Result<(), ResponseError> {
    if !valid_name(name) {
        return Err(ResponseError::BadName);
    }
    if !valid_value(value) {
        return Err(ResponseError::BadValue);
    }
    Ok(())
}

/// RFC 9113 section 8.2.2.
const fn connection_specific(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

const MAX_DIGITS: usize = 20;

fn decimal(mut number: u64, digits: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}
