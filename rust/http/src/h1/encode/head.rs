//! Response heads: validated and classified field by field as the application gives them, then
//! encoded for one client. Knows framing fields and hop-by-hop fields, never body bytes.

use super::body::{BodyWriter, Framing};
use super::{Defaults, ResponseError, append_decimal, append_field, reason_phrase};
use crate::fields::{
    Known, Span, has_token, parse_content_length, trim_ows, valid_name, valid_value,
};
use crate::request::Version;

/// What the application gave as response head, the same for every carrier. Reusable: `clear`
/// keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    status: u16,
    reason: Option<Vec<u8>>,
    /// `name: value CRLF` of every field that goes out as it is.
    lines: Vec<u8>,
    fields: Vec<(Span, Span)>,
    /// Which known names are among them.
    known: u64,
    content_length: Option<u64>,
    close: bool,
    hop_by_hop: Option<Known>,
    hide_from_log: bool,
}

/// What the server knows of the client and of the exchange when a head goes out.
#[derive(Clone, Copy, Debug)]
pub struct HeadOptions<'a> {
    /// The version of the request.
    pub version: Version,
    /// The request was HEAD: the head is sent as for GET, the body is not.
    pub head_request: bool,
    /// The request was CONNECT: what follows a 2xx head is a tunnel.
    pub connect_request: bool,
    /// The connection may go on, as far as client and server are concerned.
    pub keep_alive: bool,
    /// The complete length of the body in bytes, where the server knows it. Without effect where
    /// the application gave Content-Length.
    pub body_length: Option<u64>,
    /// Date, Server and configured fields.
    pub defaults: &'a Defaults,
}

impl ResponseHead {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.reason = None;
        self.lines.clear();
        self.fields.clear();
        self.known = 0;
        self.content_length = None;
        self.close = false;
        self.hop_by_hop = None;
        self.hide_from_log = false;
    }

    /// Begins a response: status and, in place of the standard phrase, the reason.
    ///
    /// # Errors
    /// [`ResponseError::BadStatus`] outside 200 to 999, [`ResponseError::BadReason`] for control
    /// bytes but HTAB.
    pub fn start(&mut self, status: u16, reason: Option<&[u8]>) -> Result<(), ResponseError> {
        self.clear();
        self.set_status(status)?;
        if let Some(reason) = reason {
            if !valid_value(reason) {
                return Err(ResponseError::BadReason);
            }
            if reason != reason_phrase(status).as_bytes() {
                self.reason = Some(reason.to_vec());
            }
        }
        Ok(())
    }

    /// Gives the head another status, with the standard phrase, and keeps its fields.
    ///
    /// # Errors
    /// [`ResponseError::BadStatus`] outside 200 to 999. The head is then as before the call.
    pub fn set_status(&mut self, status: u16) -> Result<(), ResponseError> {
        if !(200..=999).contains(&status) {
            return Err(ResponseError::BadStatus);
        }
        self.reason = None;
        self.status = status;
        Ok(())
    }

    /// Adds a field. Framing and hop-by-hop fields are taken note of and not sent as given
    /// (RFC 9110 section 7.6.1, PEP 3333): the server frames the body and manages the connection.
    ///
    /// # Errors
    /// [`ResponseError::BadName`], [`ResponseError::BadValue`], [`ResponseError::BadContentLength`],
    /// [`ResponseError::DuplicateContentLength`]. The head is then as before the call.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), ResponseError> {
        let known = Known::lookup(name);
        // A known name is a token by itself.
        if known == Known::Other && !valid_name(name) {
            return Err(ResponseError::BadName);
        }
        if !valid_value(value) {
            return Err(ResponseError::BadValue);
        }
        let value = trim_ows(value);
        match known {
            Known::ContentLength => {
                if self.content_length.is_some() {
                    return Err(ResponseError::DuplicateContentLength);
                }
                let length =
                    parse_content_length(value).map_err(|_| ResponseError::BadContentLength)?;
                self.content_length = Some(length);
            }
            Known::Connection if has_token(value, b"close") => self.close = true,
            Known::Connection
            | Known::TransferEncoding
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Upgrade
            | Known::Te
            | Known::Http2Settings => {
                self.hop_by_hop.get_or_insert(known);
            }
            Known::ServerLogAccess => {
                self.hide_from_log |= value.eq_ignore_ascii_case(b"off");
            }
            _ => self.append(known, name, value)?,
        }
        Ok(())
    }

    #[inline]
    fn append(&mut self, known: Known, name: &[u8], value: &[u8]) -> Result<(), ResponseError> {
        let start = self.lines.len();
        let value_start = start + name.len() + 2;
        if value_start.saturating_add(value.len()) > u32::MAX as usize {
            // Spans are 32 bits wide; four gigabytes are no field value.
            return Err(ResponseError::BadValue);
        }
        self.lines.reserve(name.len() + value.len() + 4);
        append_field(&mut self.lines, name, value);
        let value_end = value_start + value.len();
        self.fields.push((
            Span::new(start, start + name.len()),
            Span::new(value_start, value_end),
        ));
        self.known |= known.bit();
        Ok(())
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The length that the application announced, in bytes.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether a body can have the announced length that begins with `length` bytes, and ends
    /// there unless there is `more`.
    ///
    /// # Errors
    /// [`ResponseError::TooMuchBody`], [`ResponseError::TooLittleBody`].
    #[inline]
    pub fn check_length(&self, length: u64, more: bool) -> Result<(), ResponseError> {
        match self.content_length {
            Some(announced) if length > announced => Err(ResponseError::TooMuchBody),
            Some(announced) if length < announced && !more => Err(ResponseError::TooLittleBody),
            _ => Ok(()),
        }
    }

    /// The application asked for the connection to be closed (`Connection: close`).
    pub fn wants_close(&self) -> bool {
        self.close
    }

    /// The first hop-by-hop field that the application gave and that is not sent, for the log.
    pub fn hop_by_hop(&self) -> Option<&'static str> {
        self.hop_by_hop.map(Known::name)
    }

    /// False after `server-log-access: off`.
    pub fn log_access(&self) -> bool {
        !self.hide_from_log
    }

    /// The fields that are sent as given: all but framing, connection and log control.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (self.slice(*name), self.slice(*value)))
    }

    /// Whether the application gave a field of this name, in any case.
    pub fn has(&self, name: &[u8]) -> bool {
        self.fields()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// As [`ResponseHead::has`], for a name that was looked up already.
    #[inline]
    pub(crate) fn gives(&self, known: Known, name: &[u8]) -> bool {
        match known {
            Known::Other => self.has(name),
            known => self.known & known.bit() != 0,
        }
    }

    #[inline]
    fn slice(&self, span: Span) -> &[u8] {
        let start = span.offset as usize;
        self.lines
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    /// Appends the whole head to `out`; the writer that is returned frames the body.
    ///
    /// RFC 9112 section 6, from the server's side: a known length as Content-Length; otherwise
    /// chunked to HTTP/1.1 and until close to HTTP/1.0; no body for HEAD, 204 and 304; and behind
    /// a 2xx answer to CONNECT no framing at all, nor another response.
    pub fn encode(&self, out: &mut Vec<u8>, how: &HeadOptions<'_>) -> BodyWriter {
        let http10 = how.version == Version::Http10;
        let length = self.content_length.or(how.body_length);
        let (framing, announced) = match (self.status, how.head_request, length) {
            // RFC 9110 section 9.3.6: neither Content-Length nor Transfer-Encoding.
            (200..=299, _, _) if how.connect_request => (Framing::UntilClose, None),
            // RFC 9110 section 8.6: no Content-Length in 204.
            (204, _, _) => (Framing::NoBody, None),
            // The length of what a GET would have got, if the application said so.
            (304, _, _) => (Framing::NoBody, self.content_length),
            (_, true, _) => (Framing::NoBody, length),
            (_, false, Some(length)) => (Framing::Exact { remaining: length }, Some(length)),
            (_, false, None) if http10 => (Framing::UntilClose, None),
            (_, false, None) => (Framing::Chunked, None),
        };
        let keep_alive = how.keep_alive && !self.close && !matches!(framing, Framing::UntilClose);

        // Status line, framing and connection fields fit in 128 bytes but for the reason.
        out.reserve(128 + self.lines.len() + how.defaults.lines().len());
        self.status_line(out);
        out.extend_from_slice(&self.lines);
        if let Some(length) = announced {
            out.extend_from_slice(b"content-length: ");
            append_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if matches!(framing, Framing::Chunked) {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        match (keep_alive, http10) {
            (true, false) => {}
            (true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        }
        how.defaults.append(out, self.known, |name| self.has(name));
        out.extend_from_slice(b"\r\n");
        BodyWriter::new(framing, keep_alive)
    }

    #[inline]
    fn status_line(&self, out: &mut Vec<u8>) {
        match (self.status, &self.reason) {
            (200, None) => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            (status, reason) => {
                out.extend_from_slice(b"HTTP/1.1 ");
                append_decimal(out, u64::from(status));
                out.push(b' ');
                out.extend_from_slice(
                    reason
                        .as_deref()
                        .unwrap_or(reason_phrase(status).as_bytes()),
                );
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}
