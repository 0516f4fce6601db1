//! What is counted and logged about requests, and the budget of collected bodies.

use std::sync::atomic::Ordering;

use super::connection::Conn;
use super::{Expired, NEVER, Reactor, lock};
use crate::access_log::Line;
use crate::exchange::Slot;
use crate::scoreboard::Field;

impl Reactor {
    pub(crate) fn count(&self, field: Field, amount: u64) {
        if let Some(board) = &self.scoreboard {
            board.get().add(field, amount);
        }
    }

    /// The time of this turn on the scoreboard's clock.
    fn turn_ns(&self) -> u64 {
        self.start_ns
            .saturating_add(self.turn_us().saturating_mul(1000))
    }

    pub(super) fn gauge(&self, field: Field, value: usize) {
        if let Some(board) = &self.scoreboard {
            board.get().set(field, value as u64);
        }
    }

    /// A request goes to the application (or its body is collected for it).
    pub(super) fn request_started(&self, slot: &mut Slot) {
        slot.counted = true;
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.gauge(Field::InFlight, before.saturating_add(1));
        self.count(Field::Requests, 1);
        if let Some(board) = &self.scoreboard {
            let request = slot.request();
            board.get().show(
                slot.id,
                self.turn_ns(),
                request.method_bytes(),
                request.target_bytes(),
            );
        }
    }

    /// A thread has had a request for too long.
    pub(super) fn expire(&self, slot: &Slot) {
        lock(&self.expired).push(Expired::new(slot));
    }

    pub(crate) fn take_expired(&self) -> Vec<Expired> {
        std::mem::take(&mut *lock(&self.expired))
    }

    /// The slot of a request is given up, answered or not.
    pub(super) fn end_slot(&self, mut slot: Box<Slot>) {
        self.release_body(std::mem::take(&mut slot.reserved));
        self.request_ended(&mut slot);
        self.give_slot(slot);
    }

    /// The application has done its part, or never will.
    pub(crate) fn request_ended(&self, slot: &mut Slot) {
        if std::mem::take(&mut slot.counted) {
            let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.gauge(Field::InFlight, before.saturating_sub(1));
            if let Some(board) = &self.scoreboard {
                board.get().hide(slot.id);
            }
        }
    }

    pub(super) fn response_completed(&self, slot: &Slot, conn: &Conn) {
        self.record(slot, conn, slot.status);
    }

    /// The client went away before its response was complete: 499, as nginx logs it, if there was no status yet.
    pub(super) fn response_lost(&self, slot: &Slot, conn: &Conn) {
        self.count(Field::Disconnects, 1);
        self.record(slot, conn, if slot.status == 0 { 499 } else { slot.status });
    }

    fn record(&self, slot: &Slot, conn: &Conn, status: u16) {
        if self.access_log.is_none() && self.scoreboard.is_none() {
            return;
        }
        let duration_us = self.precise_us().saturating_sub(slot.started_us);
        if let Some(board) = &self.scoreboard {
            board.get().response(status);
            board.get().latency(duration_us);
        }
        if let Some(log) = &self.access_log
            && slot.log_access
        {
            let ip = conn.peer.ip();
            log.get().record(&Line {
                request: slot.request(),
                status,
                size: slot.sent,
                duration_us,
                queue_us: slot.queue_us,
                ip: ip.as_bytes(),
                request_id: slot.id,
                unix_ms: self.unix_ms(),
                now_ms: self.now(),
            });
        }
    }

    /// Takes `length` bytes of the budget for collected bodies, if it has them.
    pub(super) fn reserve_body(&self, length: u64) -> bool {
        let limit = self.config.body_memory_total;
        self.buffered_bodies
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                let held = held.checked_add(length)?;
                (limit == 0 || held <= limit).then_some(held)
            })
            .is_ok()
    }

    pub(super) fn release_body(&self, length: u64) {
        if length > 0 {
            self.buffered_bodies.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// When idle connections have to go because the worker drains.
    pub(super) fn idle_until(&self) -> u64 {
        if self.is_draining() {
            self.drain_idle_until.load(Ordering::Acquire)
        } else {
            NEVER
        }
    }
}
