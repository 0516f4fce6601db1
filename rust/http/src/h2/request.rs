//! Field sections of requests: pseudo-header fields, what HTTP/2 adds to the rules of `fields`,
//! and the request that comes of it (RFC 9113 sections 8.2 and 8.3, RFC 8441 section 4).
//! Knows one field section, never the stream or the connection that carried it.

use super::guard::MAX_COOKIE_CRUMBS;
use super::priority::Priority;
use crate::error::ErrorKind;
use crate::fields::{
    Field, HeaderBlock, Known, Span, check_authority, check_host, forbidden_in_trailers,
    is_token_byte, mimics_framing, parse_content_length, same_authority,
};
use crate::hpack::{Excess, Line, Name, Pseudo, Sink};
use crate::limits::{Limits, or_ceiling};
use crate::request::{BodyLength, Method, Request, Version};

/// What is done with a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Request,
    Trailers,
    /// Decoded to keep the compression in step, and for nothing else.
    Nothing,
}

/// Why a field section does not become what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// RFC 9113 section 8.1.1: the stream is reset with PROTOCOL_ERROR.
    Malformed(&'static str),
    /// Well-formed, and answered with the error's status.
    Refused(ErrorKind),
}

/// What a request head says beyond the request itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra {
    pub(super) content_length: Option<u64>,
    pub(super) priority: Option<Priority>,
}

/// A field section on its way from the decoder. Reusable: `begin` keeps the memory.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) request: Box<Request>,
    purpose: Purpose,
    bounds: FieldBounds,
    rejection: Option<Rejection>,
    /// Pseudo-header fields seen, as bits.
    pseudo: u8,
    /// A regular field was seen: no pseudo-header field may follow.
    regular: bool,
    /// Known regular names seen, as bits.
    known: u64,
    cookies: usize,
    scheme: Span,
    authority: Span,
    host: Span,
    content_length: Span,
    priority: Span,
}

#[derive(Clone, Copy, Debug, Default)]
struct FieldBounds {
    fields: usize,
    field_size: usize,
    target: usize,
}

/// Octets of a path (RFC 3986 section 3.3, and everything visible that clients send): no controls,
/// space, fragment or octets above ASCII. The same set as in an HTTP/1.1 request line.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0x21;
    while octet < 0x7f {
        table[octet] = octet != b'#' as usize;
        octet += 1;
    }
    table
};

impl Section {
    pub(super) fn new() -> Self {
        Self {
            request: Box::default(),
            purpose: Purpose::Nothing,
            bounds: FieldBounds::default(),
            rejection: None,
            pseudo: 0,
            regular: false,
            known: 0,
            cookies: 0,
            scheme: Span::default(),
            authority: Span::default(),
            host: Span::default(),
            content_length: Span::default(),
            priority: Span::default(),
        }
    }

    /// Lines that the decoder has to hand on at most: the fields, the cookies, and five
    /// pseudo-header fields.
    pub(super) fn max_lines(limits: &Limits) -> usize {
        or_ceiling(limits.fields, Limits::FIELDS_CEILING) + MAX_COOKIE_CRUMBS + 5
    }

    pub(super) fn begin(&mut self, purpose: Purpose, limits: &Limits) {
        self.request.clear();
        self.purpose = purpose;
        self.bounds = FieldBounds {
            fields: or_ceiling(limits.fields, Limits::FIELDS_CEILING),
            field_size: or_ceiling(limits.field_size, Limits::CEILING),
            target: or_ceiling(limits.request_line, Limits::CEILING),
        };
        self.rejection = None;
        self.pseudo = 0;
        self.regular = false;
        self.known = 0;
        self.cookies = 0;
    }

    /// A malformed section stays so; one that is merely refused may still turn out malformed.
    fn malformed(&mut self, reason: &'static str) {
        if !matches!(self.rejection, Some(Rejection::Malformed(_))) {
            self.rejection = Some(Rejection::Malformed(reason));
        }
    }

    fn refuse(&mut self, error: ErrorKind) {
        self.rejection.get_or_insert(Rejection::Refused(error));
    }

    #[inline]
    const fn has_pseudo(&self, pseudo: Pseudo) -> bool {
        self.pseudo & 1 << pseudo as u8 != 0
    }

    #[inline]
    fn has(&self, known: Known) -> bool {
        self.known & known.bit() != 0
    }

    /// Section 8.3.
    fn pseudo(&mut self, block: &mut HeaderBlock, pseudo: Pseudo, value: Span) {
        if self.purpose == Purpose::Trailers {
            return self.malformed("pseudo-header field in trailers");
        }
        if self.regular {
            return self.malformed("pseudo-header field after a regular one");
        }
        if self.has_pseudo(pseudo) {
            return self.malformed("repeated pseudo-header field");
        }
        self.pseudo |= 1 << pseudo as u8;
        match pseudo {
            Pseudo::Method => self.request.method_span = value,
            Pseudo::Scheme => self.scheme = value,
            Pseudo::Path => self.request.target = value,
            Pseudo::Protocol => self.request.protocol = Some(value),
            Pseudo::Authority => {
                self.authority = value;
                // Applications read `host`; being a pseudo-header field it comes first.
                let name = block.bytes.len();
                block.bytes.extend_from_slice(b"host");
                block.fields.push(Field {
                    name: Span::new(name, block.bytes.len()),
                    value,
                    known: Known::Host,
                });
            }
            Pseudo::Unknown => self.malformed("unknown pseudo-header field"),
        }
    }

    /// Sections 8.2.1 and 8.2.2, and the rules that HTTP/1.1 heads obey as well.
    #[inline]
    fn field(&mut self, block: &mut HeaderBlock, field: Field) {
        self.regular = true;
        let text = |span: Span| block.slice(span);
        match field.known {
            Known::Other => {
                let name = text(field.name);
                if name.contains(&b'_') && mimics_framing(name) {
                    return self.malformed(ErrorKind::AmbiguousFieldName.message());
                }
            }
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings => return self.malformed("connection-specific field"),
            Known::Te if text(field.value) != b"trailers" => {
                return self.malformed("TE other than trailers");
            }
            known @ (Known::Host | Known::ContentLength | Known::ContentType)
                if self.has(known) =>
            {
                return self.malformed(match known {
                    Known::Host => ErrorKind::DuplicateHost.message(),
                    Known::ContentLength => ErrorKind::DuplicateContentLength.message(),
                    _ => ErrorKind::DuplicateContentType.message(),
                });
            }
            Known::Host => self.host = field.value,
            Known::ContentLength => self.content_length = field.value,
            Known::Expect if !text(field.value).eq_ignore_ascii_case(b"100-continue") => {
                self.refuse(ErrorKind::UnknownExpectation);
            }
            Known::Priority => self.priority = field.value,
            Known::Cookie => self.cookies += 1,
            _ => {}
        }
        if self.purpose == Purpose::Trailers && forbidden_in_trailers(field.known, text(field.name))
        {
            return self.malformed(ErrorKind::ForbiddenTrailer.message());
        }
        self.known |= field.known.bit();
        // As in HTTP/1.1, where a line has a colon, a space and CRLF as well.
        let size = field.name.len as usize + field.value.len as usize + 4;
        if size > self.bounds.field_size {
            self.refuse(ErrorKind::FieldTooLarge);
        }
        if self.cookies > MAX_COOKIE_CRUMBS
            || block.fields.len() >= self.bounds.fields + self.cookies.saturating_sub(1)
        {
            return self.refuse(ErrorKind::TooManyFields);
        }
        if field.known == Known::Host && self.has_pseudo(Pseudo::Authority) {
            // There already; whether the two agree is checked at the end.
            return;
        }
        block.fields.push(field);
    }

    /// The section is complete: makes the request.
    ///
    /// # Errors
    /// The first rejection, malformed before refused.
    pub(super) fn finish_request(
        &mut self,
        limits: &Limits,
        excess: Option<Excess>,
        end_stream: bool,
    ) -> Result<Extra, Rejection> {
        use Rejection::{Malformed, Refused};
        let method_span = self.request.method_span;
        self.request.method = Method::from_bytes(self.request.block.slice(method_span));
        match (self.rejection, excess) {
            (Some(malformed @ Malformed(_)), _) => return Err(malformed),
            (_, Some(Excess::ListSize)) => return Err(Refused(ErrorKind::HeadTooLarge)),
            (_, Some(Excess::Lines)) => return Err(Refused(ErrorKind::TooManyFields)),
            (rejection, None) => {
                self.method()?;
                self.target()?;
                self.authority()?;
                if let Some(rejection) = rejection {
                    return Err(rejection);
                }
            }
        }
        if self.cookies > 1 {
            self.join_cookies();
        }
        let request = &mut *self.request;
        let mut extra = Extra::default();
        if self.known & Known::ContentLength.bit() != 0 {
            let length = parse_content_length(request.block.slice(self.content_length))
                .map_err(|error| Malformed(error.message()))?;
            if end_stream && length > 0 {
                return Err(Malformed("END_STREAM before Content-Length was reached"));
            }
            if limits.body != 0 && length > limits.body {
                return Err(Refused(ErrorKind::BodyTooLarge));
            }
            extra.content_length = Some(length);
        }
        request.body = match (extra.content_length, end_stream) {
            (Some(length), _) => BodyLength::Exact(length),
            (None, true) => BodyLength::None,
            (None, false) => BodyLength::Chunked,
        };
        if self.known & Known::Priority.bit() != 0 {
            extra.priority = Some(Priority::parse(request.block.slice(self.priority)));
        }
        request.version = Version::Http2;
        request.keep_alive = true;
        request.expect_continue = !end_stream && self.known & Known::Expect.bit() != 0;
        let websocket = |protocol| request.block.slice(protocol) == b"websocket";
        request.upgrade_websocket = request.protocol.is_some_and(websocket);
        Ok(extra)
    }

    fn method(&self) -> Result<(), Rejection> {
        let method = self.request.method_bytes();
        match self.request.method {
            Method::Other if !self.has_pseudo(Pseudo::Method) => {
                Err(Rejection::Malformed("no :method"))
            }
            Method::Other if method.is_empty() || !method.iter().copied().all(is_token_byte) => {
                Err(Rejection::Malformed(ErrorKind::BadMethod.message()))
            }
            Method::Other if method.iter().any(u8::is_ascii_lowercase) => {
                Err(Rejection::Refused(ErrorKind::LowercaseMethod))
            }
            _ => Ok(()),
        }
    }

    /// Section 8.3.1 for requests, section 8.5 for CONNECT, RFC 8441 section 4 for the extended
    /// form of it.
    fn target(&mut self) -> Result<(), Rejection> {
        let malformed = |reason| Err(Rejection::Malformed(reason));
        let connect = self.request.method == Method::Connect;
        let extended = self.has_pseudo(Pseudo::Protocol);
        if extended && !connect {
            return malformed(":protocol without CONNECT");
        }
        if connect && !extended {
            if self.has_pseudo(Pseudo::Scheme) || self.has_pseudo(Pseudo::Path) {
                return malformed("CONNECT with :scheme or :path");
            }
            if !self.has_pseudo(Pseudo::Authority)
                || !check_authority(self.request.block.slice(self.authority))
            {
                return malformed(ErrorKind::ConnectTarget.message());
            }
            self.request.target = self.authority;
            self.request.path = self.authority;
            return Ok(());
        }
        if !self.has_pseudo(Pseudo::Scheme) {
            return malformed("no :scheme");
        }
        self.request.scheme_https = match self.request.block.slice(self.scheme) {
            b"https" => true,
            b"http" => false,
            _ => return malformed(":scheme is neither http nor https"),
        };
        let span = self.request.target;
        let target = self.request.block.slice(span);
        if target.len() > self.bounds.target {
            return Err(Rejection::Refused(ErrorKind::RequestLineTooLong));
        }
        match (target, self.request.method) {
            (b"", _) => return malformed("no :path"),
            (b"*", Method::Options) => {
                self.request.path = span;
                return Ok(());
            }
            ([b'/', ..], _) => {}
            _ => return malformed(ErrorKind::BadTarget.message()),
        }
        if !target
            .iter()
            .fold(true, |valid, octet| valid & TARGET[usize::from(*octet)])
        {
            return malformed(ErrorKind::BadTarget.message());
        }
        let (start, end) = (span.offset as usize, span.offset as usize + target.len());
        let query = memchr::memchr(b'?', target);
        self.request.path = Span::new(start, query.map_or(end, |query| start + query));
        self.request.query = query.map(|query| Span::new(start + query + 1, end));
        Ok(())
    }

    /// Section 8.3.1: `:authority` or Host, valid, and of one mind.
    fn authority(&self) -> Result<(), Rejection> {
        let malformed = |error: ErrorKind| Err(Rejection::Malformed(error.message()));
        let block = &self.request.block;
        let authority = self
            .has_pseudo(Pseudo::Authority)
            .then(|| block.slice(self.authority));
        let host = self.has(Known::Host).then(|| block.slice(self.host));
        match (authority, host) {
            (None, None) => malformed(ErrorKind::MissingHost),
            (Some(authority), _) if !check_host(authority) => malformed(ErrorKind::BadAuthority),
            (_, Some(host)) if !check_host(host) => malformed(ErrorKind::BadHost),
            (Some(authority), Some(host)) => {
                let default_port = if self.request.scheme_https { 443 } else { 80 };
                if authority != host && !same_authority(authority, host, default_port) {
                    return malformed(ErrorKind::HostMismatch);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Section 8.2.3: the crumbs become one field, in the place of the first.
    fn join_cookies(&mut self) {
        let block = &mut self.request.block;
        let start = block.bytes.len();
        for field in block
            .fields
            .iter()
            .filter(|field| field.known == Known::Cookie)
        {
            if block.bytes.len() > start {
                block.bytes.extend_from_slice(b"; ");
            }
            let crumb = field.value.offset as usize;
            let crumb = crumb..crumb + field.value.len as usize;
            if crumb.end <= start {
                block.bytes.extend_from_within(crumb);
            }
        }
        let joined = Span::new(start, block.bytes.len());
        let mut first = true;
        block.fields.retain_mut(|field| {
            if field.known != Known::Cookie {
                return true;
            }
            field.value = joined;
            std::mem::take(&mut first)
        });
    }

    /// The section is complete: makes the trailers.
    ///
    /// # Errors
    /// The first rejection.
    pub(super) fn finish_trailers(
        &mut self,
        excess: Option<Excess>,
    ) -> Result<HeaderBlock, Rejection> {
        if let Some(rejection) = self.rejection {
            return Err(rejection);
        }
        if excess.is_some() {
            return Err(Rejection::Refused(ErrorKind::HeadTooLarge));
        }
        Ok(std::mem::take(&mut self.request.block))
    }
}

impl Sink for Section {
    fn line(&mut self, block: &mut HeaderBlock, line: Line) {
        if self.purpose == Purpose::Nothing {
            return;
        }
        if !line.traits.sound() {
            return self.malformed("field name or value that is not allowed");
        }
        match line.traits.name {
            Name::Field(known) => {
                let Line { name, value, .. } = line;
                self.field(block, Field { name, value, known });
            }
            Name::Pseudo(pseudo) => self.pseudo(block, pseudo, line.value),
        }
    }
}
