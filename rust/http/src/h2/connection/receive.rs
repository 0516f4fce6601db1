//! Input: octets to frames, and what each frame does to the connection.

use std::collections::VecDeque;

use super::{Connection, DRAIN_PING, Drain, Event, PREFACE, Reading};
use crate::h2::error::{Code, ConnectionError, Fault};
use crate::h2::frame::{
    self, Continuation, Data, GoAway, HEAD_LEN, Head, Headers, Kind, Ping, PriorityUpdate,
    RstStream, WindowUpdate,
};
use crate::h2::guard::Flood;
use crate::h2::priority::Priority;
use crate::h2::stream::{self, State};

/// Priorities kept for streams that are not open yet. Browsers send one right before its request.
const EARLY_PRIORITIES: usize = 32;

impl Connection {
    /// Takes as much of `input` as can be acted on and returns how many octets that was; the
    /// caller keeps the rest, and calls again with more behind it. The ranges of
    /// [`Event::Data`] lie in this `input`. `now`: milliseconds of a clock that never goes back.
    ///
    /// # Errors
    /// When the connection is over. GOAWAY is pending then, and every further call returns the
    /// same error.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: u64,
        events: &mut VecDeque<Event>,
    ) -> Result<usize, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.guard.tick(now);
        let mut at = 0;
        loop {
            let step = match self.reading {
                Reading::Frame => self.frame(input, at, events),
                Reading::Data { .. } => Ok(self.deliver(input, at, events)),
                Reading::Skip(left) => Ok(self.skip(input.len() - at, left)),
                Reading::Preface(done) => self.preface(input, at, done),
            };
            match step {
                Ok(None) => return Ok(at),
                Ok(Some(taken)) => at += taken,
                Err(error) => {
                    self.fail(error);
                    return Err(error);
                }
            }
        }
    }

    /// RFC 9113 section 3.4.
    fn preface(
        &mut self,
        input: &[u8],
        at: usize,
        done: usize,
    ) -> Result<Option<usize>, ConnectionError> {
        let rest = input.get(at..).unwrap_or_default();
        let expected = PREFACE.get(done..).unwrap_or_default();
        let length = rest.len().min(expected.len());
        if rest.get(..length) != expected.get(..length) {
            return Err(ConnectionError {
                code: Code::ProtocolError,
                reason: "not the HTTP/2 client preface",
            });
        }
        self.reading = if length == expected.len() {
            Reading::Frame
        } else {
            Reading::Preface(done + length)
        };
        Ok((length > 0).then_some(length))
    }

    fn skip(&mut self, there: usize, left: u32) -> Option<usize> {
        let taken = there.min(left as usize);
        self.reading = match left - taken as u32 {
            0 => Reading::Frame,
            left => Reading::Skip(left),
        };
        (taken > 0).then_some(taken)
    }

    /// One frame; `None` if it is not all there.
    #[inline]
    fn frame(
        &mut self,
        input: &[u8],
        at: usize,
        events: &mut VecDeque<Event>,
    ) -> Result<Option<usize>, ConnectionError> {
        let rest = input.get(at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEAD_LEN>() else {
            return Ok(None);
        };
        let head = Head::load(head);
        self.expected(head)?;
        if head.kind == Kind::Data {
            let Some((taken, outcome)) = self.data_head(head, rest, events) else {
                return Ok(None);
            };
            self.contain(outcome, events)?;
            return Ok(Some(HEAD_LEN + taken));
        }
        if let Kind::Unknown(_) = head.kind {
            self.guard.spend(Flood::Unknown)?;
            self.reading = Reading::Skip(head.length);
            if head.length == 0 {
                self.reading = Reading::Frame;
            }
            return Ok(Some(HEAD_LEN));
        }
        let Some(payload) = rest.get(..head.length as usize) else {
            return Ok(None);
        };
        let outcome = self.act(head, payload, events);
        self.contain(outcome, events)?;
        Ok(Some(HEAD_LEN + payload.len()))
    }

    /// Whether this frame may come now at all.
    #[inline]
    fn expected(&self, head: Head) -> Result<(), ConnectionError> {
        let error = |code, reason| Err(ConnectionError { code, reason });
        if head.length > self.settings.max_frame_size {
            return error(Code::FrameSizeError, "frame larger than allowed");
        }
        match &self.block {
            // Section 4.3: a header block is contiguous.
            Some(block) if head.kind != Kind::Continuation || head.stream != block.stream => {
                return error(Code::ProtocolError, "frame inside a header block");
            }
            None if head.kind == Kind::Continuation => {
                return error(Code::ProtocolError, "CONTINUATION without a header block");
            }
            _ => {}
        }
        if !self.greeted && head.kind != Kind::Settings {
            return error(Code::ProtocolError, "first frame is not SETTINGS");
        }
        Ok(())
    }

    /// A stream's fault stays with the stream.
    #[inline]
    fn contain(
        &mut self,
        outcome: Result<(), Fault>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), ConnectionError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Fault::Connection(error)) => Err(error),
            Err(Fault::Stream {
                stream,
                code,
                reason,
            }) => self.stream_fault(stream, code, reason, events),
        }
    }

    #[inline]
    fn act(
        &mut self,
        head: Head,
        payload: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        match head.kind {
            Kind::Headers => self.headers(&Headers::load(head, payload)?, events),
            Kind::Continuation => self.continuation(&Continuation::load(head, payload)?, events),
            Kind::WindowUpdate => self.window_update(WindowUpdate::load(head, payload)?),
            Kind::Settings => self.peer_settings(&frame::Settings::load(head, payload)?),
            Kind::Ping => self.ping(Ping::load(head, payload)?),
            Kind::RstStream => self.peer_reset(RstStream::load(head, payload)?, events),
            Kind::Priority => {
                self.guard.spend(Flood::Priority)?;
                frame::Priority::load(head, payload).map(|_| ())
            }
            Kind::PriorityUpdate => self.priority_update(&PriorityUpdate::load(head, payload)?),
            Kind::GoAway => {
                self.guard.spend(Flood::Settings)?;
                let GoAway {
                    last_stream, code, ..
                } = GoAway::load(head, payload)?;
                self.peer_leaves = true;
                events.push_back(Event::GoAway { code, last_stream });
                Ok(())
            }
            // Section 8.4: clients cannot push.
            Kind::PushPromise => Err(Fault::connection(
                Code::ProtocolError,
                "PUSH_PROMISE from a client",
            )),
            // Read in pieces, before this.
            Kind::Data | Kind::Unknown(_) => Ok(()),
        }
    }

    fn peer_settings(&mut self, settings: &frame::Settings<'_>) -> Result<(), Fault> {
        if settings.ack {
            if !self.greeted {
                return Err(Fault::connection(
                    Code::ProtocolError,
                    "first frame is an acknowledgement",
                ));
            }
            self.guard.spend(Flood::Settings)?;
            if !self.acknowledged {
                self.acknowledged = true;
                self.shrink_windows();
            }
            return Ok(());
        }
        self.greeted = true;
        self.guard.spend(Flood::Settings)?;
        self.guard.queue_reply()?;
        let window = self.peer.initial_window;
        for setting in settings.iter() {
            self.peer.apply(setting)?;
        }
        self.encoder.set_limit(self.peer.header_table_size);
        // Section 6.9.2. Only the last value of a frame matters: no data is sent in between.
        let difference = i64::from(self.peer.initial_window) - i64::from(window);
        if difference != 0 {
            for (number, stream) in self.streams.iter_mut() {
                stream.send.shift(difference).map_err(|_| {
                    Fault::connection(
                        Code::FlowControlError,
                        "SETTINGS_INITIAL_WINDOW_SIZE overflows a window",
                    )
                })?;
                let ready = stream.queued() > 0 && stream.send.available() > 0;
                if ready != stream.scheduled {
                    stream.scheduled = ready;
                    if ready {
                        self.scheduler.add(number, stream.priority);
                    } else {
                        self.scheduler.remove(number, stream.priority);
                    }
                }
            }
        }
        frame::Settings::encode_ack(&mut self.pending);
        Ok(())
    }

    /// Until a client acknowledged our SETTINGS it may use the larger of the default window and
    /// ours; from then on ours.
    fn shrink_windows(&mut self) {
        let window = self.settings.window;
        if let Some(difference) = crate::h2::flow::DEFAULT_WINDOW.checked_sub(window) {
            for (_, stream) in self.streams.iter_mut() {
                stream.receive.shrink(difference);
            }
        }
    }

    fn ping(&mut self, ping: Ping) -> Result<(), Fault> {
        self.guard.spend(Flood::Ping)?;
        if !ping.ack {
            self.guard.queue_reply()?;
            Ping { ack: true, ..ping }.encode(&mut self.pending);
        } else if ping.opaque == DRAIN_PING && self.drain == Drain::Announced {
            self.drain();
        }
        Ok(())
    }

    fn window_update(&mut self, update: WindowUpdate) -> Result<(), Fault> {
        self.guard.spend(Flood::WindowUpdate)?;
        let WindowUpdate {
            stream: number,
            increment,
        } = update;
        if number == 0 {
            return self.send.grow(increment).map_err(|_| {
                Fault::connection(Code::FlowControlError, "connection window overflows")
            });
        }
        let Some(stream) = self.streams.get_mut(number) else {
            return self.not_live(number, stream::Frame::WindowUpdate);
        };
        if stream.state.receive(stream::Frame::WindowUpdate).is_err() {
            return Ok(());
        }
        if stream.send.grow(increment).is_err() {
            return Err(Fault::stream(
                number,
                Code::FlowControlError,
                "stream window overflows",
            ));
        }
        if !stream.scheduled && stream.queued() > 0 && stream.send.available() > 0 {
            stream.scheduled = true;
            self.scheduler.add(number, stream.priority);
        }
        Ok(())
    }

    fn peer_reset(&mut self, reset: RstStream, events: &mut VecDeque<Event>) -> Result<(), Fault> {
        let RstStream {
            stream: number,
            code,
        } = reset;
        self.guard.spend(Flood::Reset)?;
        let Some(stream) = self.streams.get_mut(number) else {
            return self.not_live(number, stream::Frame::Reset);
        };
        if let Ok(state) = stream.state.receive(stream::Frame::Reset) {
            let State::Closed(_) = state else {
                return Ok(());
            };
            stream.state = state;
            self.streams.ended();
            self.drop_output(number);
            events.push_back(Event::Reset {
                stream: number,
                code,
                by_peer: true,
                reason: "reset by the client",
            });
            self.settle(number);
        }
        Ok(())
    }

    /// A frame on a stream that is not live.
    pub(super) fn not_live(&self, number: u32, frame: stream::Frame) -> Result<(), Fault> {
        if self.streams.is_idle(number) {
            return Err(Fault::connection(
                Code::ProtocolError,
                "frame on an idle stream",
            ));
        }
        match self.streams.refusal(number, frame).fault(number) {
            None => Ok(()),
            Some(fault) => Err(fault),
        }
    }

    fn priority_update(&mut self, update: &PriorityUpdate<'_>) -> Result<(), Fault> {
        self.guard.spend(Flood::Priority)?;
        let priority = Priority::parse(update.value);
        if let Some(stream) = self.streams.get_mut(update.stream) {
            if stream.scheduled {
                self.scheduler.remove(update.stream, stream.priority);
                self.scheduler.add(update.stream, priority);
            }
            stream.priority = priority;
        } else if update.stream.is_multiple_of(2) {
            // RFC 9218 section 7.1: a pushed stream, and there are none.
            return Err(Fault::connection(
                Code::ProtocolError,
                "PRIORITY_UPDATE about a pushed stream",
            ));
        } else if self.streams.is_idle(update.stream) {
            self.early.retain(|(stream, _)| *stream != update.stream);
            if self.early.len() == EARLY_PRIORITIES {
                self.early.pop_front();
            }
            self.early.push_back((update.stream, priority));
        }
        Ok(())
    }

    /// Whether this DATA frame's head can be acted on, and then how much of `rest` that takes.
    fn data_head(
        &mut self,
        head: Head,
        rest: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Option<(usize, Result<(), Fault>)> {
        let layout = if !Data::is_padded(head) {
            Ok((head.length, 0))
        } else if head.length == 0 {
            Err(Fault::connection(
                Code::FrameSizeError,
                "padded frame without a pad length",
            ))
        } else {
            Data::layout(head, *rest.first()?)
        };
        let pad_length = usize::from(Data::is_padded(head) && head.length > 0);
        Some((
            pad_length,
            layout.and_then(|(data, padding)| self.data_frame(head, data, padding, events)),
        ))
    }
}
