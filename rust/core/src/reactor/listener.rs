//! Listening sockets, inherited from the arbiter, and the addresses of those who connect.
//! Knows nothing of what is spoken on a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{SocketAddrAny, getsockname, sockopt};

/// The address of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Inet(SocketAddr),
    /// A unix socket; its clients have no address.
    Unix,
}

impl Peer {
    pub(crate) fn of(address: Option<SocketAddrAny>) -> Peer {
        match address.map(SocketAddr::try_from) {
            // A dual-stack listener reports v4 clients as ::ffff:a.b.c.d; applications expect a.b.c.d.
            Some(Ok(SocketAddr::V6(v6))) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Peer::Inet(SocketAddr::new(v4.into(), v6.port())),
                None => Peer::Inet(SocketAddr::V6(v6)),
            },
            Some(Ok(v4)) => Peer::Inet(v4),
            _ => Peer::Unix,
        }
    }

    /// The address as text, without the port; empty for unix sockets.
    pub(crate) fn ip(&self) -> IpText {
        let mut text = IpText {
            bytes: [0; 46],
            len: 0,
        };
        match self {
            Peer::Unix => {}
            Peer::Inet(SocketAddr::V4(v4)) => {
                for octet in v4.ip().octets() {
                    let (digits, len) = OCTETS[usize::from(octet)];
                    text.put(&digits);
                    text.len += usize::from(len);
                }
                // The last dot.
                text.len -= 1;
            }
            Peer::Inet(SocketAddr::V6(v6)) => {
                let written = v6.ip().to_string();
                text.put(written.as_bytes());
                text.len = written.len();
            }
        }
        text
    }
}

/// Each number of an IPv4 address and the dot behind it, with the length of both.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        table[octet] = match octet {
            0..10 => ([ones, b'.', 0, 0], 2),
            10..100 => ([tens, ones, b'.', 0], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        octet += 1;
    }
    table
};

/// An IP address as ASCII text on the stack (46 is INET6_ADDRSTRLEN).
pub(crate) struct IpText {
    bytes: [u8; 46],
    len: usize,
}

impl IpText {
    /// Writes behind what counts so far; the caller says how much of it does.
    fn put(&mut self, text: &[u8]) {
        if let Some(room) = self
            .bytes
            .get_mut(self.len..)
            .and_then(|rest| rest.get_mut(..text.len()))
        {
            room.copy_from_slice(text);
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

pub(crate) struct Listener {
    fd: OwnedFd,
    /// Where it listens; None for unix sockets.
    pub address: Option<SocketAddr>,
    /// The path of a unix socket.
    pub path: Option<String>,
}

impl Listener {
    /// Takes a copy of an inherited listening socket. Connections inherit TCP_NODELAY and non-blocking from what is set here.
    pub(crate) fn new(raw: RawFd) -> io::Result<Listener> {
        if raw < 0 {
            return Err(io::Error::from(rustix::io::Errno::BADF));
        }
        // SAFETY: the caller (the worker) passes an open descriptor that outlives this call; it is only borrowed to be duplicated.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        let fd = rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let name = getsockname(&fd)?;
        let address = SocketAddr::try_from(name.clone()).ok();
        let path = rustix::net::SocketAddrUnix::try_from(name)
            .ok()
            .and_then(|unix| unix.path().map(|path| path.to_string_lossy().into_owned()));
        if address.is_some() {
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        Ok(Listener { fd, address, path })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes one connection from the accept queue; None when it is empty.
    pub(crate) fn accept(&self) -> io::Result<Option<(OwnedFd, Peer)>> {
        loop {
            match accept_nonblocking(self.fd.as_fd()) {
                Ok((fd, address)) => return Ok(Some((fd, Peer::of(address)))),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    // The client was gone before we came; the next one may be there.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => return Err(error),
                },
            }
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn accept_nonblocking(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    Ok(acceptfrom_with(
        fd,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
    )?)
}

#[cfg(target_vendor = "apple")]
fn accept_nonblocking(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (fd, address) = rustix::net::acceptfrom(fd)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok((fd, address))
}
