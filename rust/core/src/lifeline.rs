//! The end of a worker whose arbiter is gone.
//!
//! A native thread, because an application that keeps the GIL, in a C function or in an import that never returns, keeps
//! every Python thread from running. Knows nothing of what the worker serves.

use std::os::fd::RawFd;
use std::time::Duration;
use std::{io, thread};

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

use crate::sendfile::duplicate;

/// Between looks at who the parent is: the pipe tells at once, unless somebody else has inherited its other end.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};
/// It calls nothing that needs more.
const STACK: usize = 64 * 1024;

/// Once `parent` is not the parent any more: SIGTERM to this process, and SIGKILL `limit` seconds later. `lifeline` is a
/// pipe that closes with the parent.
#[pyfunction]
pub(crate) fn leave_with(lifeline: RawFd, parent: i32, limit: f64) -> PyResult<()> {
    let limit = Duration::try_from_secs_f64(limit)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let lifeline = duplicate(lifeline)?;
    let thread = thread::Builder::new()
        .name("ferrule-lifeline".to_owned())
        .stack_size(STACK);
    thread.spawn(move || {
        let watched = PollFd::new(&lifeline, PollFlags::IN);
        while getppid() == Pid::from_raw(parent) {
            // The pipe ends a moment before the parent does.
            if poll(&mut [watched.clone()], Some(&LOOK)) != Ok(0) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        // Signals to oneself do not fail.
        let _ = kill_process(getpid(), Signal::TERM);
        thread::sleep(limit);
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(())
}
