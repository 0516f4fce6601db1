//! One edge-triggered poller (epoll, kqueue) and the waker that ends its sleep.
//! Knows tokens, not connections.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

/// Events taken per call: bounds the time until the caller's loop gets its turn again.
const BATCH: usize = 128;
const WAKER: Token = Token(usize::MAX);
/// Tokens from here on are listeners; below are connections (slab keys).
const LISTENERS: usize = usize::MAX / 2;

/// What became ready, as bits so that events of a busy connection can be collected.
pub(crate) mod ready {
    pub const READ: u8 = 0b0001;
    pub const WRITE: u8 = 0b0010;
    /// The peer will send no more (FIN), or the connection is gone.
    pub const READ_CLOSED: u8 = 0b0100;
    /// Reset or both directions closed: nothing that is written arrives any more.
    pub const GONE: u8 = 0b1000;
    /// Nothing new on the socket, but what is here already deserves another look.
    pub const AGAIN: u8 = 0b1_0000;
}

pub(crate) enum Source {
    Connection(usize),
    /// One of the listeners: all are asked.
    Listener,
}

/// The sleeping side. One thread at a time polls.
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

/// The registering side, shared by all threads.
pub(crate) struct Handle {
    registry: Registry,
    waker: Arc<Waker>,
    fd: RawFd,
}

/// Ends the poller's sleep, from threads that know nothing else of the reactor.
pub(crate) struct Alarm(Arc<Waker>);

impl Alarm {
    pub(crate) fn ring(&self) {
        let Alarm(waker) = self;
        // Fails only when the poller is gone, and then nobody sleeps.
        let _ = waker.wake();
    }
}

pub(crate) fn new() -> io::Result<(Poller, Handle)> {
    let poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let handle = Handle {
        registry,
        waker,
        fd: poll.as_raw_fd(),
    };
    Ok((
        Poller {
            poll,
            events: Events::with_capacity(BATCH),
        },
        handle,
    ))
}

impl Poller {
    /// Waits up to `timeout` (None: until something happens) and reports each ready source.
    /// Returns true when the batch was full, so that more may be waiting.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut report: impl FnMut(Source, u8),
    ) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut count = 0;
        for event in &self.events {
            count += 1;
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if token.0 >= LISTENERS {
                report(Source::Listener, ready::READ);
                continue;
            }
            let mut bits = 0;
            if event.is_readable() {
                bits |= ready::READ;
            }
            if event.is_writable() {
                bits |= ready::WRITE;
            }
            if event.is_read_closed() {
                bits |= ready::READ | ready::READ_CLOSED;
            }
            // is_write_closed is EPOLLHUP, or EPOLLOUT with EPOLLERR: both directions are down, or it was reset.
            if event.is_error() || event.is_write_closed() {
                bits |= ready::READ | ready::GONE;
            }
            report(Source::Connection(token.0), bits);
        }
        Ok(count >= BATCH)
    }
}

impl Handle {
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn wake(&self) {
        // Fails only when the poller is gone, and then nobody sleeps.
        let _ = self.waker.wake();
    }

    pub(crate) fn alarm(&self) -> Alarm {
        Alarm(self.waker.clone())
    }

    pub(crate) fn add_connection(&self, fd: RawFd, key: usize) -> io::Result<()> {
        self.registry.register(
            &mut SourceFd(&fd),
            Token(key),
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    pub(crate) fn add_listener(&self, fd: RawFd, index: usize) -> io::Result<()> {
        let token = Token(LISTENERS.saturating_add(index));
        self.registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    /// Needed where another process holds a copy of the descriptor: closing ours does not end the registration then.
    pub(crate) fn remove(&self, fd: RawFd) {
        let _ = self.registry.deregister(&mut SourceFd(&fd));
    }
}
