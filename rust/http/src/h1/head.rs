//! Request heads and trailer sections (RFC 9112 sections 2, 3 and 5): lines to spans. Knows syntax
//! and bounds, never what a field means.

use super::semantics::{Names, Tally, finish};
use super::target::request_line;
use crate::error::{Error, ErrorKind};
use crate::fields::{
    Field, HeaderBlock, Known, Span, forbidden_in_trailers, mimics_framing, trim_ows, valid_name,
};
use crate::limits::{Limits, or_ceiling};
use crate::request::Request;
use crate::scan::{self, Block, Class, Input, Job, Level, Stops};

/// Parses a request head that starts at the front of `input`.
///
/// `line` is where the first line lies that was not complete in the call before, 0 at first. Lines
/// before it are in `request` already and are not looked at again.
///
/// Returns the length of the head once it is complete.
///
/// # Errors
/// The outcome depends on the bytes alone, not on how they were split over calls.
pub(crate) fn parse(
    limits: &Limits,
    input: &[u8],
    line: &mut u32,
    request: &mut Request,
) -> Result<Option<usize>, Error> {
    scan::run(Parse {
        limits,
        input,
        line,
        request,
    })
}

/// Panics unless `input` is the same request, or the same error, at every level of the scanner.
#[cfg(feature = "fuzzing")]
pub fn levels_agree(input: &[u8]) {
    struct Whole<'a>(&'a [u8]);

    impl Job for Whole<'_> {
        type Output = String;

        #[inline(always)]
        fn run<L: Level>(self, level: L) -> String {
            let (limits, mut line, mut request) = (Limits::default(), 0, Request::new());
            let parse = Parse {
                limits: &limits,
                input: self.0,
                line: &mut line,
                request: &mut request,
            };
            let parsed = parse.run(level);
            format!("{parsed:?} {line} {request:?}")
        }
    }

    let outcomes = scan::run_at_every_level(|| Whole(input));
    assert!(
        outcomes.windows(2).all(|pair| pair[0] == pair[1]),
        "{outcomes:#?}"
    );
}

struct Parse<'a> {
    limits: &'a Limits,
    input: &'a [u8],
    line: &'a mut u32,
    request: &'a mut Request,
}

impl Job for Parse<'_> {
    type Output = Result<Option<usize>, Error>;

    #[inline(always)]
    fn run<L: Level>(self, level: L) -> Self::Output {
        let Self {
            limits,
            input,
            line,
            request,
        } = self;
        let max_fields = or_ceiling(limits.fields, Limits::FIELDS_CEILING);
        let (field_size, head) = bounds(limits);
        let input = &Input::new(input);
        let mut stops = Stops::new(level, input, *line as usize);
        if *line == 0 {
            let size = or_ceiling(limits.request_line, Limits::CEILING) + 2;
            let bound = Bound::new(size, ErrorKind::RequestLineTooLong, head);
            let Some(line_and_crlf) = bound.line(input.bytes(), 0, &mut stops)? else {
                return Ok(None);
            };
            request_line(level, input, line_and_crlf.len() - 2, request)?;
            *line = line_and_crlf.len() as u32;
        }
        let bound = Bound::new(field_size, ErrorKind::FieldTooLarge, head);
        let fields = &mut request.block.fields;
        let mut names = Names::default();
        let mut last = [0; Known::COUNT];
        for (index, field) in fields.iter().enumerate() {
            names.note(field.known, index, &mut last);
        }
        let mut start = *line as usize;
        let mut count = fields.len();
        loop {
            let rest = input.bytes().get(start..).unwrap_or_default();
            let Some(line_and_crlf) = bound.line(rest, start, &mut stops)? else {
                *line = start as u32;
                return Ok(None);
            };
            let length = line_and_crlf.len();
            if length == 2 {
                break;
            }
            if count >= max_fields {
                return Err(ErrorKind::TooManyFields.into());
            }
            let block = match rest.first_chunk() {
                Some(block) => block,
                None => input.last_block(start),
            };
            // Two ways to push, so that the usual one stays in registers.
            let known = match field_line(level, block, line_and_crlf, start) {
                Some(field) => {
                    fields.push(field);
                    field.known
                }
                None => push_any_field_line(input.bytes(), start, start + length - 2, fields)?,
            };
            names.note(known, count, &mut last);
            count += 1;
            start += length;
        }
        let tally = Tally::new(names, &last);
        let plain_host = tally.has_plain_host(level, input, fields);
        let head = input.bytes().get(..start + 2).unwrap_or_default();
        request.block.bytes.extend_from_slice(head);
        finish(limits, &tally, plain_host, request)?;
        Ok(Some(head.len()))
    }
}

/// The most bytes of a field line and of a head, CRLFs included.
#[inline(always)]
fn bounds(limits: &Limits) -> (usize, usize) {
    // An empty line is no field: it always has room.
    let field_size = or_ceiling(limits.field_size, Limits::CEILING).max(2);
    (field_size, or_ceiling(limits.head, Limits::CEILING))
}

/// How long a line and the head may be, and what a longer line is called.
struct Bound {
    /// Bytes of a line, CRLF included.
    line: usize,
    beyond: ErrorKind,
    /// Bytes of the head up to the end of the line, CRLF included.
    head: usize,
}

impl Bound {
    #[inline(always)]
    fn new(line: usize, beyond: ErrorKind, head: usize) -> Self {
        Self { line, beyond, head }
    }

    /// The line, CRLF included, that `rest` begins with, or `None` if its CRLF is not there yet.
    /// `start` is where `rest` starts in the head.
    #[inline(always)]
    fn line<'a, L: Level>(
        &self,
        rest: &'a [u8],
        start: usize,
        stops: &mut Stops<'_, L>,
    ) -> Result<Option<&'a [u8]>, Error> {
        const CRLF: u16 = u16::from_le_bytes(*b"\r\n");
        // None of these is beyond the ceilings of the limits or the length of the input.
        let length = stops.next() - start + 2;
        if length > self.line || start + length > self.head {
            return Err(self.exceeded(start));
        }
        if let Some(line) = rest.get(..length)
            && let Some(end) = line.last_chunk()
            && u16::from_le_bytes(*end) == CRLF
        {
            // The LF is the next stop.
            stops.next();
            return Ok(Some(line));
        }
        no_line_end(rest, length - 2)
    }

    /// The tighter of the two bounds.
    #[cold]
    fn exceeded(&self, start: usize) -> Error {
        if start + self.line <= self.head {
            self.beyond
        } else {
            ErrorKind::HeadTooLarge
        }
        .into()
    }
}

/// A stop that is no CRLF: the end of the input, or an error.
#[cold]
fn no_line_end<'a>(input: &[u8], stop: usize) -> Result<Option<&'a [u8]>, Error> {
    match input.get(stop..).unwrap_or_default() {
        [] | [b'\r'] => Ok(None),
        [b'\r', ..] => Err(ErrorKind::BareCarriageReturn.into()),
        [b'\n', ..] => Err(ErrorKind::BareLineFeed.into()),
        _ => Err(ErrorKind::ControlByte.into()),
    }
}

/// One field line, free of control bytes but HTAB and the CRLF at its end (RFC 9112 section 5).
/// `block` begins with it; it starts at `start` of the head.
///
/// What nearly everybody sends is taken here: a token of less than 32 bytes, a colon, at most one
/// space, and a value without white space around it. All else is left to [`any_field_line`].
#[inline(always)]
fn field_line<L: Level>(level: L, block: &Block, line: &[u8], start: usize) -> Option<Field> {
    let bytes = level.load(block);
    let colons = scan::class(level, Class::Colon, bytes);
    let name = colons.trailing_zeros() as usize;
    // The colon is in the line, before the CRLF.
    if colons == 0 || name + 2 >= line.len() {
        return None;
    }
    let known = Known::in_block(level, block, bytes, colons, name);
    // Known names are tokens by themselves.
    if known == Known::Other {
        let before = colons.wrapping_sub(1) & !colons;
        if before == 0 || scan::class(level, Class::NotPlainName, bytes) & before != 0 {
            return None;
        }
    }
    let value = name + 1 + usize::from(line[name + 1] == b' ');
    if is_ows(*line.get(value)?) || is_ows(line[line.len() - 3]) {
        return None;
    }
    // All of a head is within 32 bits, see `Limits::CEILING`.
    Some(Field {
        name: Span {
            offset: start as u32,
            len: name as u32,
        },
        value: Span {
            offset: (start + value) as u32,
            len: (line.len() - 2 - value) as u32,
        },
        known,
    })
}

/// White space; here also the CR after an empty value, as a line has no other control bytes.
#[inline(always)]
fn is_ows(byte: u8) -> bool {
    byte <= b' '
}

#[inline(never)]
fn push_any_field_line(
    input: &[u8],
    start: usize,
    end: usize,
    fields: &mut Vec<Field>,
) -> Result<Known, Error> {
    let field = any_field_line(input, start, end)?;
    fields.push(field);
    Ok(field.known)
}

/// As [`field_line`], for whatever a line may be.
fn any_field_line(input: &[u8], start: usize, end: usize) -> Result<Field, Error> {
    let line = input.get(start..end).unwrap_or_default();
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(|| no_colon(line))?;
    let (name, rest) = line.split_at(colon);
    let known = Known::lookup(name);
    if known == Known::Other {
        if !valid_name(name) {
            return Err(bad_name(name));
        }
        if mimics_framing(name) {
            return Err(ErrorKind::AmbiguousFieldName.into());
        }
    }
    // From behind the colon.
    let rest = rest.get(1..).unwrap_or_default();
    let value = trim_ows(rest);
    let front = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let from = start + colon + 1 + front;
    Ok(Field {
        name: Span::new(start, start + colon),
        value: Span::new(from, from + value.len()),
        known,
    })
}

#[cold]
fn bad_name(name: &[u8]) -> Error {
    match name {
        [b' ' | b'\t', ..] => ErrorKind::ObsoleteFold,
        [.., b' ' | b'\t'] => ErrorKind::SpaceBeforeColon,
        _ => ErrorKind::BadFieldName,
    }
    .into()
}

#[cold]
fn no_colon(line: &[u8]) -> Error {
    if matches!(line, [b' ' | b'\t', ..]) {
        ErrorKind::ObsoleteFold
    } else {
        ErrorKind::MissingColon
    }
    .into()
}

/// What became of the front of a trailer section.
pub(crate) enum Trailer {
    /// Its CRLF is not there yet.
    Partial,
    /// A field, now in the block; the line was this long.
    Field(usize),
    /// The empty line.
    End,
}

/// Takes one line of a trailer section (RFC 9112 section 7.1.2). `seen` counts its bytes so far.
///
/// # Errors
/// As for heads, and 400 for fields that have no business in trailers.
pub(crate) fn trailer_line(
    limits: &Limits,
    input: &[u8],
    seen: usize,
    trailers: &mut HeaderBlock,
) -> Result<Trailer, Error> {
    let (field_size, head) = bounds(limits);
    let bound = Bound::new(
        field_size,
        ErrorKind::FieldTooLarge,
        head.saturating_sub(seen),
    );
    let whole = Input::new(input);
    let mut stops = Stops::new(scan::BASELINE, &whole, 0);
    let Some(line) = bound.line(input, 0, &mut stops)? else {
        return Ok(Trailer::Partial);
    };
    if line.len() == 2 {
        return Ok(Trailer::End);
    }
    if trailers.len() >= or_ceiling(limits.fields, Limits::FIELDS_CEILING) {
        return Err(ErrorKind::TooManyFields.into());
    }
    let field = any_field_line(input, 0, line.len() - 2)?;
    let text = |span: Span| {
        input
            .get(span.offset as usize..)
            .and_then(|rest| rest.get(..span.len as usize))
            .unwrap_or_default()
    };
    if forbidden_in_trailers(field.known, text(field.name)) {
        return Err(ErrorKind::ForbiddenTrailer.into());
    }
    trailers.push(text(field.name), text(field.value));
    Ok(Trailer::Field(line.len()))
}
