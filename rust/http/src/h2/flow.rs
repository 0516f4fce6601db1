//! Flow-control windows (RFC 9113 sections 5.2 and 6.9), of a stream or of the connection.

/// The window of every stream and connection before anybody says otherwise.
pub const DEFAULT_WINDOW: u32 = 65_535;

/// No window may exceed this (section 6.9.1).
pub const MAX_WINDOW: u32 = (1 << 31) - 1;

/// A window went beyond its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// What we may still send.
#[derive(Clone, Copy, Debug)]
pub struct SendWindow {
    /// Negative when the peer lowered its initial window under what was sent (section 6.9.2).
    left: i64,
}

impl SendWindow {
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self { left: size as i64 }
    }

    /// Octets that may be sent now.
    #[must_use]
    #[inline]
    pub fn available(self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }

    /// Octets were sent; no more than are available.
    #[inline]
    pub fn sent(&mut self, octets: usize) {
        self.left -= octets as i64;
    }

    /// WINDOW_UPDATE.
    ///
    /// # Errors
    /// Beyond 2^31 - 1 (section 6.9.1).
    pub fn grow(&mut self, increment: u32) -> Result<(), Overflow> {
        self.shift(i64::from(increment))
    }

    /// The difference that a changed SETTINGS_INITIAL_WINDOW_SIZE makes (section 6.9.2).
    ///
    /// # Errors
    /// Beyond 2^31 - 1.
    pub fn shift(&mut self, difference: i64) -> Result<(), Overflow> {
        let left = self.left.saturating_add(difference);
        if left > i64::from(MAX_WINDOW) {
            return Err(Overflow);
        }
        self.left = left;
        Ok(())
    }
}

/// What the peer may still send.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveWindow {
    left: i64,
    /// Octets that were received and dealt with, and that the peer has not been told about.
    credit: u32,
    size: u32,
}

impl ReceiveWindow {
    /// `left` is what the peer takes the window for now, `size` what it is to be kept at.
    #[must_use]
    pub const fn new(left: u32, size: u32) -> Self {
        Self {
            left: left as i64,
            credit: 0,
            size,
        }
    }

    /// Counts octets of the peer's.
    ///
    /// # Errors
    /// More than it was allowed.
    #[inline]
    pub fn receive(&mut self, octets: u32) -> Result<(), Overflow> {
        if i64::from(octets) > self.left {
            return Err(Overflow);
        }
        self.left -= i64::from(octets);
        Ok(())
    }

    /// Octets were dealt with. Returns the increment to announce once half of the window has come
    /// together: then a peer that keeps its window full never waits, and few frames are needed.
    #[inline]
    pub fn credit(&mut self, octets: u32) -> Option<u32> {
        self.credit = self.credit.saturating_add(octets);
        let due = self.credit > 0 && self.credit >= self.size / 2;
        due.then(|| {
            let increment = std::mem::take(&mut self.credit);
            self.left += i64::from(increment);
            increment
        })
    }

    /// Octets that the peer may send before it hears from us.
    #[must_use]
    pub fn available(self) -> u32 {
        u32::try_from(self.left).unwrap_or(0)
    }

    /// Octets that were received and not yet dealt with.
    #[must_use]
    pub fn held(self) -> u32 {
        let open = self.left.saturating_add(i64::from(self.credit));
        u32::try_from(i64::from(self.size) - open).unwrap_or(0)
    }

    /// The peer now knows the size that was announced for new streams: a smaller one than it
    /// started with counts from here.
    pub fn shrink(&mut self, difference: u32) {
        self.left -= i64::from(difference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_never_exceeds_its_maximum_and_may_be_negative() {
        let mut window = SendWindow::new(100);
        window.sent(60);
        assert_eq!(window.available(), 40);
        window.shift(-100).unwrap();
        assert_eq!(window.available(), 0);
        window.grow(59).unwrap();
        assert_eq!(window.available(), 0);
        window.grow(1).unwrap();
        window.grow(1).unwrap();
        assert_eq!(window.available(), 1);
        assert_eq!(window.grow(MAX_WINDOW), Err(Overflow));
        assert_eq!(window.available(), 1);
        assert_eq!(window.grow(MAX_WINDOW - 1), Ok(()));
        assert_eq!(window.shift(1), Err(Overflow));
    }

    #[test]
    fn a_receive_window_is_announced_again_by_halves() {
        let mut window = ReceiveWindow::new(100, 100);
        assert_eq!(window.receive(101), Err(Overflow));
        assert_eq!(window.receive(100), Ok(()));
        assert_eq!(window.receive(1), Err(Overflow));
        assert_eq!(window.credit(49), None);
        assert_eq!(window.credit(1), Some(50));
        assert_eq!(window.receive(51), Err(Overflow));
        assert_eq!(window.receive(50), Ok(()));
    }

    #[test]
    fn a_window_of_one_octet_still_moves() {
        let mut window = ReceiveWindow::new(1, 1);
        window.receive(1).unwrap();
        assert_eq!(window.credit(0), None);
        assert_eq!(window.credit(1), Some(1));
        assert_eq!(window.receive(1), Ok(()));
    }
}
