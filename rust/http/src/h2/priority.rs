//! Whose data goes next (RFC 9218): urgency first, then turns.

use std::collections::VecDeque;

/// How urgent a response is, and whether its client can use it piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0, the most urgent, to 7.
    pub urgency: u8,
    pub incremental: bool,
}

impl Default for Priority {
    /// RFC 9218 sections 4.1 and 4.2.
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// A Priority field value (section 4): a dictionary whose unknown members and bad values are
    /// ignored. It is advice, so nothing in it is an error.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|octet| *octet == b',') {
            // Parameters of a member mean nothing here.
            let member = member
                .split(|octet| *octet == b';')
                .next()
                .unwrap_or_default();
            match member.trim_ascii() {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

const LEVELS: usize = 8;

/// Streams that have data and may send it, in the order of their turns.
///
/// Within an urgency, responses that are of use only as a whole are sent one after the other, in
/// the order of their streams; incremental ones take turns; and the two kinds alternate, so that
/// neither waits for the other's end (RFC 9218 section 10).
#[derive(Debug, Default)]
pub struct Scheduler {
    levels: [Level; LEVELS],
    len: usize,
}

#[derive(Debug, Default)]
struct Level {
    /// By stream, the oldest first.
    whole: VecDeque<u32>,
    incremental: VecDeque<u32>,
    /// An incremental stream had the last turn.
    incremental_last: bool,
}

impl Scheduler {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a stream that is not there yet.
    pub fn add(&mut self, stream: u32, priority: Priority) {
        let Some(level) = self.levels.get_mut(usize::from(priority.urgency)) else {
            return;
        };
        if priority.incremental {
            level.incremental.push_back(stream);
        } else {
            // New streams have the highest numbers: this is the end, nearly always.
            let place = level.whole.partition_point(|other| *other < stream);
            level.whole.insert(place, stream);
        }
        self.len += 1;
    }

    /// The stream whose turn it is; it leaves the schedule until it is added again.
    pub fn take_next(&mut self) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let level = self
            .levels
            .iter_mut()
            .find(|level| !level.whole.is_empty() || !level.incremental.is_empty())?;
        level.incremental_last = match (level.whole.is_empty(), level.incremental.is_empty()) {
            (false, false) => !level.incremental_last,
            (whole_empty, _) => whole_empty,
        };
        let stream = if level.incremental_last {
            level.incremental.pop_front()
        } else {
            level.whole.pop_front()
        };
        self.len -= 1;
        stream
    }

    /// Gives back the memory of turns that are over.
    pub fn shrink(&mut self) {
        for level in &mut self.levels {
            level.whole.shrink_to_fit();
            level.incremental.shrink_to_fit();
        }
    }

    /// Takes a stream out, wherever `priority` put it.
    pub fn remove(&mut self, stream: u32, priority: Priority) {
        let Some(level) = self.levels.get_mut(usize::from(priority.urgency)) else {
            return;
        };
        let queue = if priority.incremental {
            &mut level.incremental
        } else {
            &mut level.whole
        };
        if let Some(place) = queue.iter().position(|other| *other == stream) {
            queue.remove(place);
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn priority(urgency: u8, incremental: bool) -> Priority {
        Priority {
            urgency,
            incremental,
        }
    }

    /// Serves `turns` turns; every stream always has more to send.
    fn turns(scheduler: &mut Scheduler, streams: &[(u32, Priority)], turns: usize) -> Vec<u32> {
        for (stream, priority) in streams {
            scheduler.add(*stream, *priority);
        }
        let mut order = Vec::new();
        for _ in 0..turns {
            let stream = scheduler.take_next().unwrap();
            order.push(stream);
            let (_, priority) = streams.iter().find(|(other, _)| *other == stream).unwrap();
            scheduler.add(stream, *priority);
        }
        order
    }

    #[test]
    fn field_values_are_read_leniently() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("i", 3, true),
            ("u=5, i", 5, true),
            ("u=1,i=?1", 1, true),
            ("i, u=7, i=?0", 7, false),
            ("u=2;x=1, i;y", 2, true),
            ("u=8", 3, false),
            ("u=-1, i=1", 3, false),
            ("u=10, x=\"a\", foo", 3, false),
            ("\u{0}\u{ff}=,,=,", 3, false),
        ] {
            assert_eq!(
                Priority::parse(value.as_bytes()),
                priority(urgency, incremental),
                "{value}"
            );
        }
    }

    #[test]
    fn the_more_urgent_go_first() {
        let streams = [
            (1, priority(3, true)),
            (3, priority(0, false)),
            (5, priority(7, false)),
        ];
        assert_eq!(turns(&mut Scheduler::default(), &streams, 3), [3, 3, 3]);
    }

    #[test]
    fn whole_responses_follow_each_other_and_incremental_ones_take_turns() {
        let whole = [
            (5, priority(3, false)),
            (1, priority(3, false)),
            (3, priority(3, false)),
        ];
        assert_eq!(turns(&mut Scheduler::default(), &whole, 3), [1, 1, 1]);
        let incremental = [
            (1, priority(3, true)),
            (3, priority(3, true)),
            (5, priority(3, true)),
        ];
        assert_eq!(
            turns(&mut Scheduler::default(), &incremental, 6),
            [1, 3, 5, 1, 3, 5]
        );
        let mixed = [
            (1, priority(3, false)),
            (3, priority(3, true)),
            (5, priority(3, true)),
        ];
        assert_eq!(
            turns(&mut Scheduler::default(), &mixed, 6),
            [3, 1, 5, 1, 3, 1]
        );
    }

    #[test]
    fn a_removed_stream_has_no_turn() {
        let mut scheduler = Scheduler::default();
        scheduler.add(1, priority(3, false));
        scheduler.add(3, priority(3, true));
        scheduler.remove(1, priority(3, false));
        scheduler.remove(7, priority(3, false));
        assert_eq!(scheduler.take_next(), Some(3));
        assert!(scheduler.is_empty());
        assert_eq!(scheduler.take_next(), None);
    }
}
