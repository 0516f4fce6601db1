//! Request bodies: flow control, the declared length, and delivery in pieces.

use std::collections::VecDeque;

use super::{Connection, Event, LATE_BODY, Reading};
use crate::error::{Error, ErrorKind};
use crate::h2::error::{Code, Fault};
use crate::h2::frame::{Data, Head, WindowUpdate};
use crate::h2::guard::Flood;
use crate::h2::stream::{self, Cause, State};

impl Connection {
    /// The head of a DATA frame, of which `data` octets are data. The windows are charged for the
    /// whole frame at once, wherever its octets go (RFC 9113 section 6.9).
    pub(super) fn data_frame(
        &mut self,
        head: Head,
        data: u32,
        padding: u32,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        let number = head.stream;
        if number == 0 {
            return Err(Fault::connection(Code::ProtocolError, "DATA on stream 0"));
        }
        if self.receive.receive(head.length).is_err() {
            return Err(Fault::connection(
                Code::FlowControlError,
                "more data than the connection window",
            ));
        }
        let end_stream = Data::ends_stream(head);
        if data == 0 && !end_stream {
            self.guard.spend(Flood::EmptyData)?;
        }
        // Unless the stream takes it.
        self.reading = match data + padding {
            0 => Reading::Frame,
            octets => Reading::Skip(octets),
        };
        let outcome = self.charge(number, head.length, data, end_stream, events);
        self.credit_connection(head.length - outcome.unwrap_or(0));
        if outcome? > 0 || (data == 0 && end_stream) {
            self.reading = Reading::Data {
                stream: number,
                left: data,
                padding,
                end_stream,
            };
        }
        Ok(())
    }

    /// Charges a stream, and returns how many octets its owner has to consume.
    fn charge(
        &mut self,
        number: u32,
        length: u32,
        data: u32,
        end_stream: bool,
        events: &mut VecDeque<Event>,
    ) -> Result<u32, Fault> {
        let frame = stream::Frame::Data { end_stream };
        let Some(stream) = self.streams.get_mut(number) else {
            return self.not_live(number, frame).map(|()| 0);
        };
        let before = stream.state;
        match before.receive(frame) {
            Ok(state) => stream.state = state,
            Err(refusal) => return refusal.fault(number).map_or(Ok(0), Err),
        }
        let error = |code, reason| Err(Fault::stream(number, code, reason));
        if stream.receive.receive(length).is_err() {
            stream.state = before;
            return error(Code::FlowControlError, "more data than the stream window");
        }
        stream.received += u64::from(data);
        // RFC 9113 section 8.1.1.
        let wrong = match stream.expected {
            Some(expected) if stream.received > expected => "body longer than its Content-Length",
            Some(expected) if end_stream && stream.received < expected => {
                "body shorter than its Content-Length"
            }
            _ => "",
        };
        if !wrong.is_empty() {
            stream.state = before;
            return error(Code::ProtocolError, wrong);
        }
        if !stream.discard && over_limit(self.limits.body, stream.received) {
            stream.discard = true;
            let error = Error {
                kind: ErrorKind::BodyTooLarge,
            };
            events.push_back(Event::Refused {
                stream: number,
                error,
            });
        }
        let kept = if stream.discard { 0 } else { data };
        stream.unconsumed += kept;
        let receives = stream.state.receives();
        let increment = stream.receive.credit(length - kept).filter(|_| receives);
        if stream.released {
            stream.late = stream.late.saturating_add(data);
        }
        let too_late = stream.late > LATE_BODY && receives;
        if stream.state.is_closed() {
            self.streams.ended();
            self.settle(number);
        } else if too_late {
            self.reset(number, Code::NoError);
        } else if let Some(increment) = increment {
            WindowUpdate {
                stream: number,
                increment,
            }
            .encode(&mut self.pending);
        }
        Ok(kept)
    }

    /// Hands on what is there of the DATA frame that is being read; `None` if nothing is.
    pub(super) fn deliver(
        &mut self,
        input: &[u8],
        at: usize,
        events: &mut VecDeque<Event>,
    ) -> Option<usize> {
        let Reading::Data {
            stream: number,
            left,
            padding,
            end_stream,
        } = self.reading
        else {
            return None;
        };
        let taken = (input.len() - at).min(left as usize);
        let still = left - taken as u32;
        if taken == 0 && still > 0 {
            return None;
        }
        self.reading = match (still, padding) {
            (0, 0) => Reading::Frame,
            (0, padding) => Reading::Skip(padding),
            (left, _) => Reading::Data {
                stream: number,
                left,
                padding,
                end_stream,
            },
        };
        // A stream that was reset or given up in the middle of a frame was charged for all of it,
        // and gives all of it back when it is released.
        if let Some(stream) = self.streams.get(number)
            && !stream.discard
            && !matches!(stream.state, State::Closed(cause) if cause != Cause::Ended)
        {
            events.push_back(Event::Data {
                stream: number,
                range: at..at + taken,
                end_stream: end_stream && still == 0,
            });
        }
        Some(taken)
    }

    /// The owner has dealt with `octets` of a stream's data: the client may send as many more.
    pub fn consumed(&mut self, stream: u32, octets: usize) {
        let number = stream;
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let octets = u32::try_from(octets)
            .unwrap_or(u32::MAX)
            .min(stream.unconsumed);
        stream.unconsumed -= octets;
        let increment = stream.receive.credit(octets);
        if let Some(increment) = increment.filter(|_| stream.state.receives()) {
            WindowUpdate {
                stream: number,
                increment,
            }
            .encode(&mut self.pending);
        }
        self.credit_connection(octets);
    }

    /// Octets that a client with something to send on every stream cannot send, because the
    /// connection's window is taken up by data that nobody consumes; 0 while a good part of the
    /// window is open.
    #[must_use]
    pub fn blocked_by_held(&self) -> u32 {
        if self.receive.available() < self.settings.connection_window / 4 {
            self.receive.held()
        } else {
            0
        }
    }

    /// Opens the connection's window by `octets` of what [`Connection::blocked_by_held`] says, so
    /// that streams that somebody reads go on beside those that nobody does. What is consumed
    /// later pays for it first: memory stays bounded by the window and what was lent.
    pub fn lend(&mut self, octets: u32) {
        let octets = octets.min(self.receive.held());
        self.lent = self.lent.saturating_add(octets);
        self.credit_window(octets);
    }

    /// Octets that were lent and are not consumed yet.
    #[must_use]
    pub const fn lent(&self) -> u32 {
        self.lent
    }
}

fn over_limit(limit: u64, octets: u64) -> bool {
    limit != 0 && octets > limit
}
