//! The fields that the server adds to every response: date, server, configured ones. Knows their
//! text, formatted once per second; the caller says what second it is.

use super::{ResponseError, append_field};
use crate::fields::{HeaderBlock, Known, trim_ows, valid_name, valid_value};

/// Preformatted default fields. An application's own field of the same name wins over each.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// All lines, ready to be copied.
    lines: Vec<u8>,
    fields: HeaderBlock,
    /// Which known names are among them.
    known: u64,
    /// Where the value of `date` lies in `lines`.
    date: Option<usize>,
    /// The second that it shows.
    second: Option<u64>,
}

impl Defaults {
    /// `server`: the value of the Server field, `None` for no such field. `date`: whether to send
    /// Date; until the first [`Defaults::refresh`] it shows the epoch. `extra`: further fields,
    /// which replace `server` where they give it themselves.
    ///
    /// # Errors
    /// [`ResponseError::BadName`], [`ResponseError::BadValue`].
    pub fn new(
        server: Option<&str>,
        date: bool,
        extra: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Self, ResponseError> {
        let mut defaults = Self::default();
        let given = |known: Known| extra.iter().any(|(name, _)| Known::lookup(name) == known);
        if date && !given(Known::Date) {
            defaults.date = Some("date: ".len());
            defaults.add(b"date", &[b' '; DATE_LENGTH])?;
            defaults.refresh(0);
        }
        if let Some(server) = server.filter(|_| !given(Known::Server)) {
            defaults.add(b"server", server.as_bytes())?;
        }
        for (name, value) in extra {
            defaults.add(name, trim_ows(value))?;
        }
        Ok(defaults)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), ResponseError> {
        if !valid_name(name) {
            return Err(ResponseError::BadName);
        }
        if !valid_value(value) {
            return Err(ResponseError::BadValue);
        }
        append_field(&mut self.lines, name, value);
        self.fields.push(name, value);
        self.known |= Known::lookup(name).bit();
        Ok(())
    }

    /// Brings Date to this second (since the epoch, UTC). Cheap when it shows it already.
    pub fn refresh(&mut self, unix_seconds: u64) {
        if self.second == Some(unix_seconds) {
            return;
        }
        self.second = Some(unix_seconds);
        let Some(start) = self.date else { return };
        let date = imf_fixdate(unix_seconds);
        if let Some(place) = self.lines.get_mut(start..start + DATE_LENGTH) {
            place.copy_from_slice(&date);
        }
        // Date is the first field, after its name.
        if let Some(place) = self
            .fields
            .bytes
            .get_mut("date".len().."date".len() + DATE_LENGTH)
        {
            place.copy_from_slice(&date);
        }
    }

    /// All lines, each with its CRLF.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The fields one by one, for carriers other than HTTP/1.1.
    pub fn fields(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        self.fields.iter()
    }

    /// Appends the lines of fields that the application did not give itself.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>, given: u64, is_given: impl Fn(&[u8]) -> bool) {
        if self.known & given == 0 {
            out.extend_from_slice(&self.lines);
        } else {
            self.fields
                .iter()
                .filter(|(_, name, _)| !is_given(name))
                .for_each(|(_, name, value)| {
                    append_field(out, name, value);
                });
        }
    }
}

const DATE_LENGTH: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// IMF-fixdate (RFC 9110 section 5.6.7). Years beyond 9999 do not fit the format and show as 9999.
fn imf_fixdate(unix_seconds: u64) -> [u8; DATE_LENGTH] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"Jan",
        b"Feb",
    ];
    // 9999-12-31 23:59:59.
    let seconds = unix_seconds.min(253_402_300_799);
    let (days, clock) = (seconds / 86400, seconds % 86400);

    // Days to a civil date, with years that start in March so that leap days come last. Day 0 is
    // 0000-03-01; eras are the 400-year cycles of the Gregorian calendar.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);

    let two = |number: u64| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    let mut date = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    date[0..3].copy_from_slice(DAYS[(days % 7) as usize]);
    date[5..7].copy_from_slice(&two(day_of_month));
    date[8..11].copy_from_slice(MONTHS[(month % 12) as usize]);
    date[12..14].copy_from_slice(&two(year / 100));
    date[14..16].copy_from_slice(&two(year % 100));
    date[17..19].copy_from_slice(&two(clock / 3600));
    date[20..22].copy_from_slice(&two(clock / 60 % 60));
    date[23..25].copy_from_slice(&two(clock % 60));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdate() {
        // Checked against Python's email.utils.formatdate(usegmt=True).
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(
                std::str::from_utf8(&imf_fixdate(seconds)),
                Ok(expected),
                "{seconds}"
            );
        }
    }

    #[test]
    fn refresh_changes_the_date_and_nothing_else() {
        let extra = [(b"x-frame-options".to_vec(), b" DENY ".to_vec())];
        let mut defaults = Defaults::new(Some("ferrule"), true, &extra).unwrap();
        defaults.refresh(784_111_777);
        let expected =
            b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: ferrule\r\nx-frame-options: DENY\r\n";
        assert_eq!(defaults.lines(), expected);
        defaults.refresh(784_111_778);
        assert!(
            defaults
                .lines()
                .starts_with(b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\nserver")
        );
        let fields: Vec<_> = defaults
            .fields()
            .map(|(_, name, value)| (name, value))
            .collect();
        assert_eq!(
            fields[0],
            (&b"date"[..], &b"Sun, 06 Nov 1994 08:49:38 GMT"[..])
        );
        assert_eq!(fields[1], (&b"server"[..], &b"ferrule"[..]));
    }

    #[test]
    fn a_configured_server_or_date_field_replaces_the_own_one() {
        let extra = [
            (b"Server".to_vec(), b"x".to_vec()),
            (b"Date".to_vec(), b"never".to_vec()),
        ];
        let mut defaults = Defaults::new(Some("ferrule"), true, &extra).unwrap();
        defaults.refresh(1);
        assert_eq!(defaults.lines(), b"Server: x\r\nDate: never\r\n");
    }

    #[test]
    fn configured_fields_cannot_split_a_response() {
        let new = |name: &[u8], value: &[u8]| {
            Defaults::new(None, false, &[(name.to_vec(), value.to_vec())])
                .map(|defaults| defaults.lines().to_vec())
        };
        assert_eq!(new(b"a b", b""), Err(ResponseError::BadName));
        assert_eq!(new(b"a", b"x\r\ny: z"), Err(ResponseError::BadValue));
        assert_eq!(
            Defaults::new(Some("a\nb"), false, &[]).map(|_| ()),
            Err(ResponseError::BadValue)
        );
        assert_eq!(new(b"a", b"b"), Ok(b"a: b\r\n".to_vec()));
    }
}
