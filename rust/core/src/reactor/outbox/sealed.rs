//! The outbox under TLS: what waits is sealed piece by piece into a buffer of the thread's and sent from there, so that
//! a connection holds sealed bytes only while the kernel does not take them.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::send;

use super::{FILE_STEP, Flush, Outbox, Segment, flags, read_file, shortened};
use crate::tls::{OVERHEAD, RECORD, Session};

/// Records per send.
const RECORDS: usize = 4;
/// Room in a send for alerts and key updates that go before the data.
const ASIDE: usize = 1024;

thread_local! {
    static STAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sealed bytes that the kernel did not take.
pub(super) struct Sealed {
    bytes: Vec<u8>,
    sent: usize,
}

impl Sealed {
    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }
}

impl Outbox {
    /// Queues bytes that are sealed already, before all that is not.
    pub(crate) fn push_sealed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.sealed {
            Some(sealed) => sealed.bytes.extend_from_slice(bytes),
            None => {
                self.sealed = Some(Box::new(Sealed {
                    bytes: bytes.to_vec(),
                    sent: 0,
                }));
            }
        }
    }

    /// Writes what is sealed.
    pub(crate) fn flush_sealed(&mut self, fd: BorrowedFd<'_>) -> io::Result<(u64, Flush)> {
        let Some(sealed) = &mut self.sealed else {
            return Ok((0, Flush::Done));
        };
        let count = send_some(fd, sealed.bytes.get(sealed.sent..).unwrap_or_default())?;
        sealed.sent = sealed.sent.saturating_add(count);
        if sealed.len() > 0 {
            return Ok((count as u64, Flush::Blocked));
        }
        self.sealed = None;
        Ok((count as u64, Flush::Done))
    }

    /// Seals and writes what waits followed by `data`, as much as the kernel takes; the rest of `data` is kept.
    pub(crate) fn write_tls(
        &mut self,
        fd: BorrowedFd<'_>,
        session: &mut Session,
        mut data: &[u8],
    ) -> io::Result<(u64, Flush)> {
        let (mut written, mut how) = self.flush_sealed(fd)?;
        let mut left = FILE_STEP;
        STAGE.with_borrow_mut(|stage| {
            stage.resize(RECORDS * (RECORD + OVERHEAD) + ASIDE, 0);
            while how == Flush::Done {
                let filled = self.seal_some(session, stage, &mut data)?;
                let ready = stage.get(..filled).unwrap_or_default();
                if ready.is_empty() {
                    return Ok(());
                }
                let count = send_some(fd, ready)?;
                written = written.saturating_add(count as u64);
                left = left.saturating_sub(count as u64);
                if count < filled {
                    self.push_sealed(ready.get(count..).unwrap_or_default());
                    how = Flush::Blocked;
                } else if self.is_empty() && data.is_empty() {
                    return Ok(());
                } else if left == 0 {
                    how = Flush::Yielded;
                }
            }
            io::Result::Ok(())
        })?;
        if !data.is_empty() {
            self.tail().extend_from_slice(data);
        }
        Ok((written, how))
    }

    /// Fills `stage` with records; returns how far.
    fn seal_some(
        &mut self,
        session: &mut Session,
        stage: &mut [u8],
        data: &mut &[u8],
    ) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let room = stage.get_mut(filled..).unwrap_or_default();
            // In whole records.
            let most = room.len().saturating_sub(ASIDE) / (RECORD + OVERHEAD) * RECORD;
            if most == 0 {
                return Ok(filled);
            }
            let head = self.first.get(self.sent..).unwrap_or_default();
            if !head.is_empty() {
                let piece = head.get(..most).unwrap_or(head);
                filled += session.seal(piece, room).map_err(io::Error::other)?;
                self.sent += piece.len();
                continue;
            }
            self.first.clear();
            self.sent = 0;
            let Some(rest) = &mut self.rest else {
                let (piece, after) = data.split_at(data.len().min(most));
                if piece.is_empty() {
                    return Ok(filled);
                }
                filled += session.seal(piece, room).map_err(io::Error::other)?;
                *data = after;
                continue;
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
                    let want = (*left).min(most as u64);
                    match read_file(file, offset, want, &mut self.first) {
                        Ok(0) => return Err(shortened()),
                        Ok(count) => *left = left.saturating_sub(count),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

fn send_some(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match send(fd, bytes, flags()) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}
