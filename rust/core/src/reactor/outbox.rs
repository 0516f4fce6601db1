//! What waits to be written to one socket: bytes, and parts of files between them.
//! Knows nothing of HTTP. Never blocks; every call says how far it came.

mod sealed;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

/// Bytes of a file sent per call, so that one download does not keep a worker from its other connections.
const FILE_STEP: u64 = 2 * 1024 * 1024;
/// A file part that cannot go through sendfile(2) is read in pieces of this size.
const READ_STEP: usize = 64 * 1024;
/// What is copied from a cache that still has it when it was left for a while.
const SHORT: usize = 4 * 1024;
/// A buffer that grew beyond this is freed when empty instead of being kept for the next response.
pub(crate) const KEEP_CAPACITY: usize = 32 * 1024;

enum Segment {
    Bytes(Vec<u8>),
    File { file: File, offset: u64, left: u64 },
}

#[derive(Default)]
pub(crate) struct Outbox {
    /// Bytes before any file part; responses without files never leave this buffer.
    first: Vec<u8>,
    /// How much of `first` the kernel has.
    sent: usize,
    /// File parts and the bytes behind them. Boxed: an idle connection pays a pointer.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<Segment>>>,
    /// Under TLS: what goes out before all that.
    sealed: Option<Box<sealed::Sealed>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flush {
    /// Nothing is left.
    Done,
    /// The kernel's buffer is full; a write event will come.
    Blocked,
    /// More could be written at once, but others shall have their turn.
    Yielded,
}

/// Bytes of the segments that are in memory.
fn in_memory(segments: &VecDeque<Segment>) -> usize {
    let lengths = segments.iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.len(),
        Segment::File { .. } => 0,
    });
    lengths.sum()
}

fn flags() -> SendFlags {
    SendFlags::NOSIGNAL | SendFlags::DONTWAIT
}

impl Outbox {
    /// Gives an unused buffer to write into; ignored while something is pending.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        if self.first.capacity() == 0 {
            self.first = buffer;
        }
    }

    /// Takes the buffer back for reuse if nothing is pending, else an empty one. A large one is let go.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        if !self.is_empty() {
            return Vec::new();
        }
        self.sent = 0;
        let mut buffer = std::mem::take(&mut self.first);
        if buffer.capacity() > KEEP_CAPACITY {
            buffer = Vec::new();
        }
        buffer
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none() && self.sent >= self.first.len() && self.sealed.is_none()
    }

    /// Whether all that waits is in memory, and little.
    pub(crate) fn is_short(&self) -> bool {
        self.rest.is_none() && self.pending() <= SHORT
    }

    /// Bytes in memory that wait (file parts count as nothing: they hold no memory).
    pub(crate) fn pending(&self) -> usize {
        let first = self.first.len().saturating_sub(self.sent);
        let rest = match &self.rest {
            None => 0,
            Some(rest) => in_memory(rest),
        };
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.len());
        first.saturating_add(rest).saturating_add(sealed)
    }

    /// The buffer whose end is the end of all that waits.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        match &mut self.rest {
            None => &mut self.first,
            Some(rest) => {
                if !matches!(rest.back(), Some(Segment::Bytes(_))) {
                    rest.push_back(Segment::Bytes(Vec::new()));
                }
                match rest.back_mut() {
                    Some(Segment::Bytes(bytes)) => bytes,
                    // Not reached: a Bytes segment was just pushed.
                    _ => &mut self.first,
                }
            }
        }
    }

    /// Queues `left` bytes of `file` from `offset`.
    pub(crate) fn push_file(&mut self, file: File, offset: u64, left: u64) {
        if left > 0 {
            self.rest
                .get_or_insert_default()
                .push_back(Segment::File { file, offset, left });
        }
    }

    /// Whether a part of a file follows on the bytes at the front.
    fn file_is_next(&self) -> bool {
        let next = self.rest.as_ref().and_then(|rest| rest.front());
        matches!(next, Some(Segment::File { left: 1.., .. }))
    }

    pub(crate) fn clear(&mut self) {
        self.first = Vec::new();
        self.sent = 0;
        self.rest = None;
        self.sealed = None;
    }

    /// Writes what waits followed by `data`, which is copied only as far as the kernel does not take it.
    /// Returns the bytes written and how it ended.
    pub(crate) fn write_through(
        &mut self,
        fd: BorrowedFd<'_>,
        data: &[u8],
    ) -> io::Result<(u64, Flush)> {
        if self.rest.is_some() {
            self.tail().extend_from_slice(data);
            return self.flush(fd, true);
        }
        let head = self.first.get(self.sent..).unwrap_or_default();
        let head_len = head.len();
        let parts = [IoSlice::new(head), IoSlice::new(data)];
        let written = loop {
            match sendmsg(fd, &parts, &mut SendAncillaryBuffer::default(), flags()) {
                Ok(count) => break count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break 0,
                Err(error) => return Err(error.into()),
            }
        };
        if written < head_len {
            self.sent += written;
            self.first.extend_from_slice(data);
        } else {
            self.first.clear();
            self.sent = 0;
            self.first
                .extend_from_slice(data.get(written - head_len..).unwrap_or_default());
        }
        let flush = if self.first.is_empty() {
            Flush::Done
        } else {
            Flush::Blocked
        };
        Ok((written as u64, flush))
    }

    /// Writes as much as the kernel takes. Returns the bytes written and how it ended.
    pub(crate) fn flush(&mut self, fd: BorrowedFd<'_>, sendfile: bool) -> io::Result<(u64, Flush)> {
        let mut written = 0u64;
        loop {
            let head = self.first.get(self.sent..).unwrap_or_default();
            if !head.is_empty() {
                // A head shares a segment with the beginning of its file.
                let flags = match self.file_is_next() {
                    true => flags() | SendFlags::MORE,
                    false => flags(),
                };
                match send(fd, head, flags) {
                    Ok(count) => {
                        self.sent = self.sent.saturating_add(count);
                        written = written.saturating_add(count as u64);
                        if self.sent < self.first.len() {
                            // A short write means a full buffer: asking again would only say so.
                            return Ok((written, Flush::Blocked));
                        }
                    }
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => return Ok((written, Flush::Blocked)),
                    Err(error) => return Err(error.into()),
                }
            }
            self.first.clear();
            self.sent = 0;
            let Some(rest) = &mut self.rest else {
                return Ok((written, Flush::Done));
            };
            match rest.front_mut() {
                None => self.rest = None,
                Some(Segment::Bytes(bytes)) => {
                    self.first = std::mem::take(bytes);
                    rest.pop_front();
                }
                Some(Segment::File { left: 0, .. }) => {
                    rest.pop_front();
                }
                Some(Segment::File { file, offset, left }) => {
                    if written >= FILE_STEP {
                        return Ok((written, Flush::Yielded));
                    }
                    match send_file(fd, file, offset, *left, sendfile, &mut self.first) {
                        Ok(0) => return Err(shortened()),
                        Ok(count) => {
                            *left = left.saturating_sub(count);
                            if self.first.is_empty() {
                                written = written.saturating_add(count);
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Ok((written, Flush::Blocked));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Moves some of a file towards the socket: through sendfile(2), or into `buffer` where that is not to be had.
/// Returns how much of the file was taken; 0 means that it ended.
fn send_file(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: &mut u64,
    left: u64,
    sendfile: bool,
    buffer: &mut Vec<u8>,
) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    if sendfile {
        let count = usize::try_from(left.min(FILE_STEP)).unwrap_or(READ_STEP);
        match rustix::fs::sendfile(fd, file, Some(offset), count) {
            Ok(count) => return Ok(count as u64),
            // Not every file can be mapped (some FUSE and proc files): read it instead.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (fd, sendfile);
    read_file(file, offset, left, buffer)
}

/// Reads some of a file into an empty `buffer`.
fn read_file(file: &File, offset: &mut u64, left: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    let want = usize::try_from(left).unwrap_or(READ_STEP).min(READ_STEP);
    buffer.resize(want, 0);
    let read = rustix::io::pread(file, buffer.as_mut_slice(), *offset);
    let count = match read {
        Ok(count) => count,
        Err(error) => {
            buffer.clear();
            return Err(error.into());
        }
    };
    buffer.truncate(count);
    *offset = offset.saturating_add(count as u64);
    Ok(count as u64)
}

fn shortened() -> io::Error {
    let why = "the file became shorter while it was sent";
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}
