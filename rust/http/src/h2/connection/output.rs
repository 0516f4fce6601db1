//! Output: whose queued data goes out when the socket takes octets.

use std::collections::VecDeque;

use super::send::{DATA_FRAME, LOW_WATER, write_data};
use super::{Connection, Event};
use crate::h2::stream::Finish;

/// A frame is not cut below this for the sake of the budget.
const MIN_PIECE: usize = 1024;

impl Connection {
    /// Appends to `out` what is to be sent: pending frames first, all of them, then data of the
    /// streams in the order of their priorities, until `out` has about `budget` octets. Returns
    /// whether there is more to send right now. To be called when the octets of the call before
    /// have gone to the socket, because that is what bounds a peer that makes us write and does
    /// not read.
    pub fn poll_output(
        &mut self,
        out: &mut Vec<u8>,
        budget: usize,
        events: &mut VecDeque<Event>,
    ) -> bool {
        self.guard.sent();
        self.take_pending(out);
        while out.len() < budget
            && self.can_send_data()
            && let Some(number) = self.scheduler.take_next()
        {
            let piece = (budget - out.len()).max(MIN_PIECE);
            self.send_piece(number, piece, out, events);
        }
        self.take_pending(out);
        self.has_output()
    }

    fn take_pending(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            // The two buffers change places, and nothing is copied.
            std::mem::swap(out, &mut self.pending);
        } else {
            out.append(&mut self.pending);
        }
    }

    /// One frame of a stream's data, and the stream's end behind its last one.
    fn send_piece(
        &mut self,
        number: u32,
        piece: usize,
        out: &mut Vec<u8>,
        events: &mut VecDeque<Event>,
    ) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        stream.scheduled = false;
        let window = stream.send.available().min(self.send.available());
        let max = DATA_FRAME.min(self.peer.max_frame_size as usize);
        let length = stream.queued().min(window).min(max).min(piece);
        let drained = length == stream.queued();
        let ends = drained && matches!(stream.finish, Finish::End);
        let data = stream
            .queue
            .get(stream.start..stream.start + length)
            .unwrap_or_default();
        write_data(out, number, data, self.peer.max_frame_size, ends);
        stream.send.sent(length);
        stream.sent += length as u64;
        stream.dequeue(length);
        self.send.sent(length);
        self.sent += length as u64;
        self.queued -= length;
        self.guard.data_sent(length, drained);

        if stream.wants_room && stream.queued() <= LOW_WATER {
            stream.wants_room = false;
            events.push_back(Event::Writable { stream: number });
        }
        if !drained {
            if stream.send.available() > 0 {
                stream.scheduled = true;
                self.scheduler.add(number, stream.priority);
            }
            return;
        }
        match std::mem::take(&mut stream.finish) {
            Finish::Open => return,
            Finish::End => {}
            Finish::Trailers(trailers) => self.write_trailers(out, number, &trailers),
        }
        self.ended(number);
    }
}
