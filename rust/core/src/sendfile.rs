//! Files as response bodies: from what an application hands over to a part that the outbox can send.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::exchange::FilePart;

/// A copy of an application's descriptor, so that the application may close its own.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<File> {
    if fd < 0 {
        return Err(io::Error::from(rustix::io::Errno::BADF));
    }
    // SAFETY: the application passed a descriptor it holds open; it is borrowed for this call only. A number that is
    // not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(File::from(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?))
}

/// All of the regular file at `path`.
pub(crate) fn whole(path: &Path) -> io::Result<FilePart> {
    // A FIFO would block the open, and with it the loop, until somebody writes.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    part(file, Some(0), None)
}

/// The part of a regular file from `offset` (default: its current position) with `count` bytes (default: all the rest).
pub(crate) fn part(
    mut file: File,
    offset: Option<u64>,
    count: Option<u64>,
) -> io::Result<FilePart> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "only a regular file can be sent this way",
        ));
    }
    let offset = match offset {
        Some(offset) => offset,
        None => file.stream_position()?,
    };
    let rest = meta.len().saturating_sub(offset);
    let length = count.map_or(rest, |count| count.min(rest));
    Ok(FilePart {
        file,
        offset,
        length,
    })
}
