//! Dates of access lines, in UTC, rendered once per second. Pure: numbers in, bytes out.
//!
//! This file must never know what else a line says, or read a clock.

use std::io::Write;

/// The date of the last line, as text: most lines of a busy server share their second.
#[derive(Default)]
pub struct Stamp {
    second: Option<u64>,
    text: Vec<u8>,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Stamp {
    /// `20/Nov/2025:11:07:00 +0000`
    pub fn apache(&mut self, unix_ms: u64) -> &[u8] {
        self.cached(unix_ms / 1000, |text, time| {
            let month = MONTHS
                .get(time.month as usize - 1)
                .copied()
                .unwrap_or_default();
            let _ = write!(text, "{:02}/{month}/{:04}:", time.day, time.year);
            time.clock(text);
            text.extend_from_slice(b" +0000");
        })
    }

    /// `2025-11-20T11:07:00` (RFC 3339, without the fraction and the zone)
    pub fn rfc3339(&mut self, unix_ms: u64) -> &[u8] {
        self.cached(unix_ms / 1000, |text, time| {
            let _ = write!(text, "{:04}-{:02}-{:02}T", time.year, time.month, time.day);
            time.clock(text);
        })
    }

    fn cached(&mut self, second: u64, render: impl FnOnce(&mut Vec<u8>, &Civil)) -> &[u8] {
        if self.second != Some(second) {
            self.text.clear();
            render(&mut self.text, &Civil::new(second));
            self.second = Some(second);
        }
        &self.text
    }
}

/// A UTC date and time of the proleptic Gregorian calendar.
struct Civil {
    year: u64,
    /// 1 to 12
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Civil {
    fn new(unix_seconds: u64) -> Self {
        // Count from 1 March of year 0: then leap days end their years, and every 400 years are
        // alike. The shifted months have 31, 30, 31, 30, 31 days in turn, which is what the factors
        // 153 and 5 say.
        const FROM_YEAR_ZERO: u64 = 719_468;
        const DAYS_IN_400_YEARS: u64 = 146_097;
        let days = unix_seconds / 86_400 + FROM_YEAR_ZERO;
        let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: era * 400 + year + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            second_of_day: unix_seconds % 86_400,
        }
    }

    /// `11:07:00`
    fn clock(&self, text: &mut Vec<u8>) {
        let (hours, minutes) = (self.second_of_day / 3600, self.second_of_day / 60 % 60);
        let _ = write!(
            text,
            "{hours:02}:{minutes:02}:{:02}",
            self.second_of_day % 60
        );
    }
}
