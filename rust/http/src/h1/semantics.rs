//! The fields that HTTP/1.1 itself reads: Host, framing, Connection, Expect, Upgrade. Knows whole
//! heads and what they mean for the connection; where the body ends is decided in `framing`.

use super::framing::Framing;
use crate::error::{Error, ErrorKind};
use crate::fields::{
    Field, HeaderBlock, Known, Span, check_host, has_token, same_authority, tokens,
};
use crate::limits::Limits;
use crate::request::{BodyLength, Method, Request, Version};
use crate::scan::{Class, Input, Level, class};

/// Which known names a head has. Apart from the indices in [`Tally`], so that it stays in registers
/// while fields are read.
#[derive(Clone, Copy, Default)]
pub(super) struct Names {
    seen: u64,
    repeated: u64,
}

impl Names {
    /// Notes the field at `index`, whose name is then the last of its kind.
    #[inline(always)]
    pub(super) fn note(&mut self, known: Known, index: usize, last: &mut [u16; Known::COUNT]) {
        let bit = known.bit();
        self.repeated |= self.seen & bit;
        self.seen |= bit;
        // Nothing is masked off: it shows that the index is within bounds.
        last[known as usize & (Known::COUNT - 1)] = index as u16;
    }
}

/// What is known of the fields of a head, by known name.
pub(super) struct Tally<'a> {
    seen: u64,
    repeated: u64,
    /// Index of the last field of each name in `seen`.
    last: &'a [u16; Known::COUNT],
}

impl<'a> Tally<'a> {
    #[inline(always)]
    pub(super) fn new(names: Names, last: &'a [u16; Known::COUNT]) -> Self {
        let Names { seen, repeated } = names;
        Self {
            seen,
            repeated,
            last,
        }
    }

    #[inline(always)]
    fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    #[inline(always)]
    fn repeats(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// Where the value of the last field of a name lies.
    #[inline(always)]
    fn span(&self, fields: &[Field], known: Known) -> Option<Span> {
        if !self.has(known) {
            return None;
        }
        fields
            .get(usize::from(self.last[known as usize]))
            .map(|field| field.value)
    }

    /// The value of the last field of a name.
    #[inline(always)]
    fn value<'f>(&self, fields: &'f HeaderBlock, known: Known) -> Option<&'f [u8]> {
        self.span(&fields.fields, known)
            .map(|span| fields.slice(span))
    }

    /// Whether Host is what nearly everybody sends: letters, digits, dots and hyphens in one block,
    /// with or without a port of up to four digits. What is not plain is not wrong yet.
    #[inline(always)]
    pub(super) fn has_plain_host<L: Level>(
        &self,
        level: L,
        input: &Input<'_>,
        fields: &[Field],
    ) -> bool {
        let Some(Span { offset, len }) = self.span(fields, Known::Host) else {
            return false;
        };
        if len == 0 || len > u32::BITS {
            return false;
        }
        let window = u32::MAX >> (u32::BITS - len);
        let bytes = level.load(input.block(offset as usize));
        let odd = class(level, Class::NotPlainHost, bytes) & window;
        if odd == 0 {
            return true;
        }
        let colon = odd.trailing_zeros();
        let port = (offset + colon) as usize..(offset + len) as usize;
        match input.bytes().get(port) {
            Some([b':', port @ ..]) => {
                colon > 0 && port.len() <= 4 && port.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
    }

    /// Refuses fields of which two readers could pick different ones.
    #[inline(always)]
    fn check_repeats(&self) -> Result<(), Error> {
        if !overlap(
            self.repeated,
            &[Known::Host, Known::ContentLength, Known::ContentType],
        ) {
            return Ok(());
        }
        Err(if self.repeats(Known::Host) {
            ErrorKind::DuplicateHost
        } else if self.repeats(Known::ContentLength) {
            ErrorKind::DuplicateContentLength
        } else {
            ErrorKind::DuplicateContentType
        }
        .into())
    }

    /// Whether this is the head of nearly every request without content: a plain Host, and none
    /// of the other fields that HTTP/1.1 itself reads, but perhaps `Connection: keep-alive`.
    #[inline(always)]
    fn is_plain(&self, plain_host: bool, request: &Request) -> bool {
        const READ: [Known; 4] = [
            Known::ContentLength,
            Known::TransferEncoding,
            Known::Expect,
            Known::Upgrade,
        ];
        plain_host
            && request.absolute_authority.is_none()
            && request.version == Version::Http11
            && !overlap(self.seen, &READ)
            && !overlap(
                self.repeated,
                &[Known::Host, Known::ContentType, Known::Connection],
            )
            && match self.value(&request.block, Known::Connection) {
                None => true,
                Some(value) => value == b"keep-alive",
            }
    }
}

#[inline(always)]
fn overlap(set: u64, known: &[Known]) -> bool {
    set & known.iter().fold(0, |other, known| other | known.bit()) != 0
}

/// The checks that need the whole head, and what HTTP itself reads from it.
///
/// # Errors
/// 400 for ambiguous routing or framing, 413 for a declared body beyond the limit, 417 for unknown
/// expectations, 501 for transfer codings.
#[inline(always)]
pub(super) fn finish(
    limits: &Limits,
    tally: &Tally<'_>,
    plain_host: bool,
    request: &mut Request,
) -> Result<(), Error> {
    if tally.is_plain(plain_host, request) {
        request.body = BodyLength::None;
        request.keep_alive = true;
        return Ok(());
    }
    finish_any(limits, tally, plain_host, request)
}

/// As [`finish`], for whatever a head may be.
#[inline(never)]
fn finish_any(
    limits: &Limits,
    tally: &Tally<'_>,
    plain_host: bool,
    request: &mut Request,
) -> Result<(), Error> {
    tally.check_repeats()?;
    check_routing(tally, plain_host, request)?;
    let fields = &request.block;

    let codings = tally
        .has(Known::TransferEncoding)
        .then(|| values(fields, Known::TransferEncoding));
    let body = Framing {
        version: request.version,
        content_length: tally.value(fields, Known::ContentLength),
        transfer_encoding: codings,
    }
    .decide()?;
    if matches!(body, BodyLength::Exact(length) if limits.body != 0 && length > limits.body) {
        return Err(ErrorKind::BodyTooLarge.into());
    }
    let empty = matches!(body, BodyLength::None | BodyLength::Exact(0));

    // RFC 9112 section 9.3.
    let options = ConnectionOptions::of(tally, fields);
    let http10 = request.version == Version::Http10;
    let keep_alive = !options.close && (options.keep_alive || !http10);

    // RFC 9110 section 10.1.1; HTTP/1.0 and requests without content are to ignore 100-continue.
    let expects = tally.has(Known::Expect);
    if expects
        && !values(fields, Known::Expect).all(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(ErrorKind::UnknownExpectation.into());
    }

    // RFC 6455 section 4.2.1; `h2c` and every other upgrade is ignored.
    let upgrade_websocket = options.upgrade
        && tally.has(Known::Upgrade)
        && request.method == Method::Get
        && request.version == Version::Http11
        && empty
        && values(fields, Known::Upgrade).any(|value| has_token(value, b"websocket"));

    request.body = body;
    request.keep_alive = keep_alive;
    request.expect_continue = expects && !http10 && !empty;
    request.upgrade_websocket = upgrade_websocket;
    Ok(())
}

/// RFC 9112 section 3.2, RFC 9110 section 7.2.
#[inline(always)]
fn check_routing(tally: &Tally<'_>, plain_host: bool, request: &Request) -> Result<(), Error> {
    let fields = &request.block;
    let Some(host) = tally.value(fields, Known::Host) else {
        return if request.version == Version::Http10 {
            Ok(())
        } else {
            Err(ErrorKind::MissingHost.into())
        };
    };
    if !plain_host && !check_host(host) {
        return Err(ErrorKind::BadHost.into());
    }
    if let Some(authority) = request.absolute_authority {
        let default_port = if request.scheme_https { 443 } else { 80 };
        if !same_authority(fields.slice(authority), host, default_port) {
            return Err(ErrorKind::HostMismatch.into());
        }
    }
    Ok(())
}

/// The values of all fields of a name.
fn values(fields: &HeaderBlock, wanted: Known) -> impl Iterator<Item = &[u8]> {
    fields
        .iter()
        .filter(move |(known, ..)| *known == wanted)
        .map(|(_, _, value)| value)
}

/// What a request says of its connection (RFC 9110 section 7.6.1).
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    #[inline]
    fn of(tally: &Tally<'_>, fields: &HeaderBlock) -> Self {
        let mut options = Self::default();
        match tally.value(fields, Known::Connection) {
            None => {}
            // What nearly everybody sends.
            Some(b"keep-alive") if !tally.repeats(Known::Connection) => options.keep_alive = true,
            Some(_) => values(fields, Known::Connection)
                .flat_map(tokens)
                .for_each(|option| {
                    options.close |= option.eq_ignore_ascii_case(b"close");
                    options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }),
        }
        options
    }
}
