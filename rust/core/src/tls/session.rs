//! One TLS connection after its handshake: received records opened within the buffer they were read into, and bytes to
//! send sealed into the caller's. Keeps nothing between calls but the start of a record whose end is still to come.

use rustls::Error;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

/// Most plaintext of a record (RFC 8446, 5.1).
pub(crate) const RECORD: usize = 16 * 1024;
/// What a record adds at most: header, explicit nonce or content type, tag.
pub(crate) const OVERHEAD: usize = 64;
/// Sealed bytes that are not data (alerts, key updates) and go out before it.
const ASIDE: usize = 1024;
/// Space at the start of the buffer for the plaintext of the record at hand.
const FRONT: usize = RECORD + OVERHEAD;
/// More than any record: what is kept beyond is an attack.
const PARTIAL: usize = RECORD + 2 * 1024;
/// Received bytes in a row that carry no data (empty records, key updates, alerts) after which a client is up to no good.
const SILENT: usize = 64 * 1024;

pub(crate) struct Session {
    rustls: Box<UnbufferedServerConnection>,
    /// Received and not yet whole. rustls wants to see it with every call until it is.
    partial: Vec<u8>,
    silent: usize,
    /// The client has sent close_notify.
    closed: bool,
    /// After an error rustls must not be asked again: it counts on seeing the bytes that it failed at, and panics
    /// without them.
    failed: bool,
}

/// What a read brought.
pub(crate) struct Opened {
    /// Plaintext at the start of the buffer.
    pub plain: usize,
    /// The client will send no more.
    pub closed: bool,
}

/// What rustls wants next.
pub(super) enum Next {
    Again,
    /// More from the client, or something to send.
    Wait,
    Closed,
}

/// One step of rustls over what was received. `reply` gets what the client has to be sent, `data` plaintext. Returns how
/// much of `received` is done with, also with an error.
pub(super) fn step(
    rustls: &mut UnbufferedServerConnection,
    received: &mut [u8],
    reply: &mut Vec<u8>,
    mut data: impl FnMut(&[u8]),
) -> (usize, Result<Next, Error>) {
    let UnbufferedStatus { mut discard, state } = rustls.process_tls_records(received);
    let next = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard = discard.saturating_add(record.discard);
                    data(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Next::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let start = reply.len();
            // The first try says how long it is.
            if let Err(EncodeError::InsufficientSize(need)) = message.encode(&mut []) {
                reply.resize(start.saturating_add(need.required_size), 0);
                let room = reply.get_mut(start..).unwrap_or_default();
                // Fails only for want of room.
                let written = message.encode(room).unwrap_or(0);
                reply.truncate(start.saturating_add(written));
            }
            Ok(Next::Again)
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            // Its order among what is sent is kept by whoever takes `reply`.
            sent.done();
            Ok(Next::Again)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Next::Closed),
        // Early data is not accepted, so none comes.
        Ok(_) => Ok(Next::Wait),
    };
    (discard, next)
}

/// After an error: the alert that tells the client.
pub(super) fn alert(
    rustls: &mut UnbufferedServerConnection,
    received: &mut [u8],
    reply: &mut Vec<u8>,
) {
    // It waits behind what else was to be sent. Then there is nothing that makes progress.
    while matches!(step(rustls, received, reply, |_| {}), (_, Ok(Next::Again))) {}
}

impl Session {
    pub(super) fn new(
        rustls: Box<UnbufferedServerConnection>,
        partial: Vec<u8>,
        closed: bool,
    ) -> Session {
        Session {
            rustls,
            partial,
            silent: 0,
            closed,
            failed: false,
        }
    }

    /// Whether the client has sent close_notify: what follows means nothing.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Where in `buffer` the next bytes from the socket belong.
    pub(crate) fn room<'a>(&self, buffer: &'a mut [u8]) -> &'a mut [u8] {
        let start = FRONT.saturating_add(self.partial.len());
        if let Some(place) = buffer.get_mut(FRONT..start) {
            place.copy_from_slice(&self.partial);
        }
        buffer.get_mut(start..).unwrap_or_default()
    }

    /// Opens what `room` gave a place to, `count` bytes of it.
    pub(crate) fn open(
        &mut self,
        buffer: &mut [u8],
        count: usize,
        reply: &mut Vec<u8>,
    ) -> Result<Opened, Error> {
        let end = FRONT
            .saturating_add(self.partial.len())
            .saturating_add(count)
            .min(buffer.len());
        let mut at = FRONT;
        let mut plain = 0usize;
        let mut lost = false;
        let closed = loop {
            // A record is longer than its plaintext, so there always is room before the record for that.
            let (front, received) = buffer.split_at_mut(at);
            let received = received
                .get_mut(..end.saturating_sub(at))
                .unwrap_or_default();
            let (used, next) = step(&mut self.rustls, received, reply, |data| {
                let after = plain.saturating_add(data.len());
                match front.get_mut(plain..after) {
                    Some(place) => place.copy_from_slice(data),
                    None => lost = true,
                }
                plain = after;
            });
            match next {
                Ok(Next::Again) => at = at.saturating_add(used),
                Ok(Next::Wait) => {
                    at = at.saturating_add(used);
                    break false;
                }
                Ok(Next::Closed) => break true,
                Err(error) => {
                    self.failed = true;
                    alert(&mut self.rustls, received, reply);
                    return Err(error);
                }
            }
        };
        self.silent = match plain {
            0 => self.silent.saturating_add(at.saturating_sub(FRONT)),
            _ => 0,
        };
        self.closed |= closed;
        let rest = buffer.get(at..end).unwrap_or_default();
        if lost {
            return Err(Error::General(
                "a record is longer than it can be".to_owned(),
            ));
        }
        if self.silent > SILENT || !closed && rest.len() > PARTIAL {
            return Err(Error::General("too much that carries no data".to_owned()));
        }
        if closed || rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
        Ok(Opened { plain, closed })
    }

    /// Seals all of `plain` into `to`, which has room for it. Returns how long that is.
    pub(crate) fn seal(&mut self, plain: &[u8], to: &mut [u8]) -> Result<usize, Error> {
        self.write(Some(plain), to)
    }

    /// Seals the word that nothing follows (RFC 8446, 6.1).
    pub(crate) fn close_notify(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; ASIDE];
        // One that cannot be said is left out: the connection ends either way.
        let sealed = self.write(None, &mut bytes).unwrap_or(0);
        bytes.truncate(sealed);
        bytes
    }

    fn write(&mut self, data: Option<&[u8]>, to: &mut [u8]) -> Result<usize, Error> {
        if self.failed {
            return Err(Error::General("the connection is broken".to_owned()));
        }
        let mut written = 0usize;
        loop {
            let room = to.get_mut(written..).unwrap_or_default();
            // With what it waits for the rest of: rustls counts on seeing it again.
            let status = self.rustls.process_tls_records(&mut self.partial);
            let used = status.discard;
            let (count, done) = match status.state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let sealed = match data {
                        Some(data) => traffic.encrypt(data, room),
                        None => traffic.queue_close_notify(room),
                    };
                    (sealed.map_err(|why| Error::General(why.to_string()))?, true)
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    let written = message.encode(room);
                    (
                        written.map_err(|why| Error::General(why.to_string()))?,
                        false,
                    )
                }
                ConnectionState::TransmitTlsData(sent) => {
                    sent.done();
                    (0, false)
                }
                // `open` has dealt with all that was whole.
                other => return Err(Error::General(format!("cannot send in {other:?}"))),
            };
            self.partial.drain(..used.min(self.partial.len()));
            written = written.saturating_add(count);
            if done {
                return Ok(written);
            }
        }
    }
}
