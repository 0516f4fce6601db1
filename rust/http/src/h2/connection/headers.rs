//! Header blocks: which stream they open or end, and what becomes of them.

use std::collections::VecDeque;

use super::{Connection, Drain, Event};
use crate::error::Error;
use crate::h2::error::{Code, Fault};
use crate::h2::flow::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use crate::h2::frame::{Continuation, Headers};
use crate::h2::guard::{Flood, MAX_CONTINUATIONS, calm};
use crate::h2::priority::Priority;
use crate::h2::request::{Extra, Purpose, Rejection, Section};
use crate::h2::stream::{self, Cause, Finish, Method, Response, State, Stream};
use crate::hpack::{self, Bounds};
use crate::request;

/// A header block whose end has not come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    end_stream: bool,
    purpose: Purpose,
    /// What is wrong with the stream, known before the block was decoded.
    fault: Option<Fault>,
    continuations: u32,
}

impl Connection {
    pub(super) fn headers(
        &mut self,
        headers: &Headers<'_>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        let stream = headers.stream;
        let (purpose, mut fault) = if let Some(live) = self.streams.get(stream) {
            let end_stream = headers.end_stream;
            match live.state.receive(stream::Frame::Headers { end_stream }) {
                Ok(_) => (Purpose::Trailers, None),
                Err(refusal) => (Purpose::Nothing, refusal.fault(stream)),
            }
        } else if self.streams.is_idle(stream) {
            self.open(stream)?
        } else {
            let refusal = self.streams.refusal(
                stream,
                stream::Frame::Headers {
                    end_stream: headers.end_stream,
                },
            );
            (Purpose::Nothing, refusal.fault(stream))
        };
        if let Some(fault @ Fault::Connection(_)) = fault {
            return Err(fault);
        }
        if headers
            .dependency
            .is_some_and(|dependency| dependency.stream == stream)
        {
            fault.get_or_insert(Fault::stream(
                stream,
                Code::ProtocolError,
                "stream depends on itself",
            ));
        }
        let purpose = if fault.is_some() {
            Purpose::Nothing
        } else {
            purpose
        };
        self.section.begin(purpose, &self.limits);
        self.decoder.begin(Bounds {
            list_size: self.settings.max_header_list as usize,
            lines: Section::max_lines(&self.limits),
        });
        let block = Block {
            stream,
            end_stream: headers.end_stream,
            purpose,
            fault,
            continuations: 0,
        };
        self.fragment(block, headers.fragment, headers.end_headers, events)
    }

    pub(super) fn continuation(
        &mut self,
        continuation: &Continuation<'_>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        // That one is there was checked with the frame's head.
        let Some(mut block) = self.block.take() else {
            return Ok(());
        };
        block.continuations += 1;
        if block.continuations > MAX_CONTINUATIONS {
            return Err(calm("too many CONTINUATION frames").into());
        }
        self.fragment(
            block,
            continuation.fragment,
            continuation.end_headers,
            events,
        )
    }

    fn fragment(
        &mut self,
        block: Block,
        fragment: &[u8],
        end: bool,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        // The lines go into the request's own buffer while the section looks at them.
        let mut lines = std::mem::take(&mut self.section.request.block);
        let decoded = self.decoder.decode(fragment, &mut lines, &mut self.section);
        self.section.request.block = lines;
        decoded.map_err(broken_compression)?;
        if !end {
            self.block = Some(block);
            return Ok(());
        }
        let excess = self.decoder.end().map_err(broken_compression)?;
        let Block {
            stream,
            end_stream,
            purpose,
            fault,
            ..
        } = block;
        if let Some(fault) = fault {
            return Err(fault);
        }
        match purpose {
            Purpose::Nothing => Ok(()),
            Purpose::Request => {
                let outcome = self
                    .section
                    .finish_request(&self.limits, excess, end_stream);
                self.request(stream, end_stream, outcome, events)
            }
            Purpose::Trailers => {
                let outcome = self.section.finish_trailers(excess);
                self.end_with(stream)?;
                let trailers = outcome.map_err(|rejection| rejected(stream, rejection))?;
                let delivered = self
                    .streams
                    .get(stream)
                    .is_some_and(|stream| !stream.discard);
                if delivered {
                    events.push_back(Event::Trailers { stream, trailers });
                }
                Ok(())
            }
        }
    }

    /// A client opens a stream (RFC 9113 section 5.1.1).
    fn open(&mut self, stream: u32) -> Result<(Purpose, Option<Fault>), Fault> {
        if stream.is_multiple_of(2) {
            return Err(Fault::connection(
                Code::ProtocolError,
                "client opens a stream with an even number",
            ));
        }
        self.streams.opened(stream);
        if let Drain::Final(_) = self.drain {
            // Section 6.8: the client knows by now, or will, that this one is not served.
            self.streams.remember(stream, Cause::ResetHere);
            return Ok((Purpose::Nothing, None));
        }
        let max = self.settings.max_streams as usize;
        // Reset streams that the application still works on are counted too, up to as many again:
        // a client cannot have more work done by cancelling it.
        if self.streams.open() >= max || self.streams.len() >= max.saturating_mul(2) {
            self.guard.spend(Flood::Refused)?;
            self.guard.earn(Flood::Reset, 1);
            let fault = Fault::stream(stream, Code::RefusedStream, "more streams than allowed");
            return Ok((Purpose::Nothing, Some(fault)));
        }
        Ok((Purpose::Request, None))
    }

    fn request(
        &mut self,
        number: u32,
        end_stream: bool,
        outcome: Result<Extra, Rejection>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        let early = self.early.iter().position(|(stream, _)| *stream == number);
        let early = early
            .and_then(|at| self.early.remove(at))
            .map(|(_, priority)| priority);
        let (extra, refused) = match outcome {
            Ok(extra) => (extra, None),
            Err(Rejection::Refused(error)) => (Extra::default(), Some(error)),
            Err(rejection @ Rejection::Malformed(_)) => return Err(rejected(number, rejection)),
        };
        let method = match self.section.request.method {
            request::Method::Head => Method::Head,
            request::Method::Connect => Method::Connect,
            _ => Method::Other,
        };
        let window = if self.acknowledged {
            self.settings.window
        } else {
            self.settings.window.max(DEFAULT_WINDOW)
        };
        self.streams.insert(
            number,
            Stream {
                state: if end_stream {
                    State::HalfClosedRemote
                } else {
                    State::Open
                },
                // RFC 9218 section 7: the frame overrides the field, whichever comes first.
                priority: early.or(extra.priority).unwrap_or_else(Priority::default),
                scheduled: false,
                wants_room: false,
                released: false,
                discard: refused.is_some(),
                method,
                response: Response::Awaited,
                receive: ReceiveWindow::new(window, self.settings.window),
                unconsumed: 0,
                received: 0,
                late: 0,
                expected: extra.content_length,
                send: SendWindow::new(self.peer.initial_window),
                sent: 0,
                queue: Vec::new(),
                start: 0,
                finish: Finish::Open,
            },
        );
        // A request explains a few frames about its place in the page.
        self.guard.earn(Flood::Priority, 4);
        if let Some(kind) = refused {
            events.push_back(Event::Refused {
                stream: number,
                error: Error { kind },
            });
            return Ok(());
        }
        let spare = self.spare_requests.pop().unwrap_or_default();
        let request = std::mem::replace(&mut self.section.request, spare);
        events.push_back(Event::Request {
            stream: number,
            request,
            end_stream,
        });
        Ok(())
    }

    /// The client's END_STREAM in trailers.
    fn end_with(&mut self, number: u32) -> Result<(), Fault> {
        let Some(stream) = self.streams.get_mut(number) else {
            return Ok(());
        };
        let before = stream.state;
        if let Ok(state) = before.receive(stream::Frame::Headers { end_stream: true }) {
            stream.state = state;
        }
        let short = stream
            .expected
            .is_some_and(|expected| expected != stream.received);
        if short {
            stream.state = before;
            return Err(Fault::stream(
                number,
                Code::ProtocolError,
                "body shorter than its Content-Length",
            ));
        }
        if stream.state.is_closed() && !before.is_closed() {
            self.streams.ended();
            self.settle(number);
        }
        Ok(())
    }
}

fn broken_compression(error: hpack::Error) -> Fault {
    let code = match error {
        hpack::Error::TooLong => Code::EnhanceYourCalm,
        _ => Code::CompressionError,
    };
    Fault::connection(code, error.message())
}

fn rejected(stream: u32, rejection: Rejection) -> Fault {
    let reason = match rejection {
        Rejection::Malformed(reason) => reason,
        Rejection::Refused(error) => error.message(),
    };
    Fault::stream(stream, Code::ProtocolError, reason)
}
