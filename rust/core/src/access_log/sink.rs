//! Where access lines go: a pipe, socket, terminal or file, written without ever blocking the
//! caller.
//!
//! An inherited descriptor shares its flags with whoever gave it (often a shell and all other
//! workers), so O_NONBLOCK is never set on it: each kind of sink has its own way to ask for a write
//! that does not wait.
//!
//! This file must never know what a line says, only where lines end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::{SendFlags, send};
use rustix::pipe::PIPE_BUF;

/// Bytes of one write to a file: few calls at load, and a buffer that stays in the cache.
const FILE_BATCH: usize = 32 * 1024;

/// How often a file is looked at for having been rotated.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Socket,
    Terminal,
    File,
}

/// An open sink and the bytes on their way to it.
pub(super) struct Sink {
    file: File,
    kind: Kind,
    /// What to open again after rotation, and the inode that `file` is.
    path: Option<PathBuf>,
    inode: Option<(u64, u64)>,
    checked: Instant,
    /// The kernel is known not to have RWF_NOWAIT for this pipe.
    must_poll: bool,
    /// Whole lines; those before `sent` are out.
    bytes: Vec<u8>,
    sent: usize,
}

impl Sink {
    pub(super) fn new(fd: OwnedFd, path: Option<PathBuf>) -> io::Result<Self> {
        let mut file = File::from(fd);
        let (kind, inode) = inspect(&file)?;
        if kind == Kind::Terminal {
            file = non_blocking_twin(&file).unwrap_or(file);
        }
        let checked = Instant::now();
        Ok(Self {
            file,
            kind,
            path,
            inode,
            checked,
            must_poll: false,
            bytes: Vec::new(),
            sent: 0,
        })
    }

    /// Bytes of one write at most. To pipes and sockets PIPE_BUF, so that lines of several workers
    /// never tear: a pipe takes so much as one piece (POSIX write), and Linux stream sockets do as
    /// well.
    pub(super) fn batch(&self) -> usize {
        match self.kind {
            Kind::File => FILE_BATCH,
            Kind::Pipe | Kind::Socket | Kind::Terminal => PIPE_BUF,
        }
    }

    /// Bytes not written yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Take over whole lines. Leaves an empty vector with capacity in `lines`, so that two buffers
    /// take turns.
    pub(super) fn take(&mut self, lines: &mut Vec<u8>) {
        self.bytes.drain(..self.sent);
        self.sent = 0;
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, lines);
        } else {
            self.bytes.append(lines);
        }
    }

    /// Write until less than one batch is left, or nothing if `everything`, or the sink takes no
    /// more. Bytes that a sink refuses, for whatever reason, are kept for the next time: the caller
    /// bounds how many that can be. Returns whether the sink took all it was offered.
    pub(super) fn write(&mut self, everything: bool) -> bool {
        let batch = self.batch();
        loop {
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            if rest.is_empty() || (rest.len() < batch && !everything) {
                return true;
            }
            let piece = whole_lines(rest, batch);
            match write_now(&self.file, self.kind, &mut self.must_poll, piece) {
                Ok(written) if written > 0 => self.sent += written.min(piece.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Open the path again if it no longer names the open file. Looks at most once per second.
    pub(super) fn follow_rotation(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.kind == Kind::File) else {
            return;
        };
        if self.checked.elapsed() < ROTATION_CHECK {
            return;
        }
        self.checked = Instant::now();
        let named = std::fs::metadata(path)
            .ok()
            .map(|file| (file.dev(), file.ino()));
        if named != self.inode {
            // Should it fail, lines go on to the old file, which somebody may still read, until it
            // succeeds.
            let _ = self.reopen();
        }
    }

    /// Open the path again. On an error the old file stays in use; without a path nothing happens.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_deref() else {
            return Ok(());
        };
        // Non-blocking for the case that it is a FIFO; this descriptor is ours alone. Opened before
        // the old one is closed, which happens by assignment below.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        (self.kind, self.inode) = inspect(&file)?;
        self.file = file;
        self.must_poll = false;
        // A line that the old file took half of is written whole to the new one.
        let sent = self.bytes.get(..self.sent).unwrap_or_default();
        self.sent = sent
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        Ok(())
    }
}

fn inspect(file: &File) -> io::Result<(Kind, Option<(u64, u64)>)> {
    let metadata = file.metadata()?;
    let kind = match metadata.file_type() {
        kind if kind.is_fifo() => Kind::Pipe,
        kind if kind.is_socket() => Kind::Socket,
        _ if file.is_terminal() => Kind::Terminal,
        _ => Kind::File,
    };
    Ok((kind, Some((metadata.dev(), metadata.ino()))))
}

/// The same terminal, opened once more: a terminal takes any part of a write and waits for the
/// rest, however ready it was, unless its own descriptor says O_NONBLOCK. `None` where that cannot
/// be done.
fn non_blocking_twin(terminal: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .ok()
}

/// The longest start of `bytes` within `limit` that ends at a line.
fn whole_lines(bytes: &[u8], limit: usize) -> &[u8] {
    let Some(head) = bytes.get(..limit) else {
        return bytes;
    };
    match head.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => head.get(..=newline).unwrap_or(head),
        None => head,
    }
}

/// One write of at most [`Sink::batch`] bytes that does not wait for a reader.
fn write_now(file: &File, kind: Kind, must_poll: &mut bool, bytes: &[u8]) -> io::Result<usize> {
    match kind {
        Kind::Socket => Ok(send(file, bytes, SendFlags::DONTWAIT)?),
        // A disk may be slow, but it does not wait for anybody.
        Kind::File => (&*file).write(bytes),
        Kind::Pipe => write_pipe(file, must_poll, bytes),
        Kind::Terminal => write_if_ready(file, bytes),
    }
}

/// With RWF_NOWAIT the kernel decides at the moment of the write (Linux 6.4 for pipes). Polling
/// first leaves a gap in which another worker can take the last place in a full pipe, but it is
/// what other kernels offer.
#[cfg(target_os = "linux")]
fn write_pipe(file: &File, must_poll: &mut bool, bytes: &[u8]) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};
    if *must_poll {
        return write_if_ready(file, bytes);
    }
    // u64::MAX: no offset, as pipes have none.
    match pwritev2(
        file,
        &[io::IoSlice::new(bytes)],
        u64::MAX,
        ReadWriteFlags::NOWAIT,
    ) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            *must_poll = true;
            write_if_ready(file, bytes)
        }
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn write_pipe(file: &File, _must_poll: &mut bool, bytes: &[u8]) -> io::Result<usize> {
    write_if_ready(file, bytes)
}

/// A pipe that polls writable takes PIPE_BUF bytes without blocking. A sink that hung up polls
/// ready too: the write then says what is wrong.
fn write_if_ready(file: &File, bytes: &[u8]) -> io::Result<usize> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&now))? == 0 {
        return Err(ErrorKind::WouldBlock.into());
    }
    (&*file).write(bytes)
}
