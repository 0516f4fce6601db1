//! What can be wrong with a peer's bytes, and the status that each cause deserves: one table.
//! Knows causes, never how they were found or what is done about them.

use std::fmt;

macro_rules! causes {
    ($($(#[$doc:meta])* $kind:ident => $status:literal, $message:literal;)*) => {
        /// One variant per cause for which a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every cause, in the order of the table.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$kind),*];

            /// The status of the answer.
            pub fn status(self) -> u16 {
                match self { $(ErrorKind::$kind => $status,)* }
            }

            /// One short line for the log and for the plain-text body. Never contains peer bytes.
            pub fn message(self) -> &'static str {
                match self { $(ErrorKind::$kind => $message,)* }
            }
        }
    };
}

causes! {
    // Request line: RFC 9112 sections 2.2 and 3.
    /// Not `method SP request-target SP HTTP-version`.
    BadRequestLine => 400, "malformed request line";
    /// The method is not a token.
    BadMethod => 400, "invalid character in the request method";
    /// A method with lower-case letters: methods are case-sensitive, and ASGI and WSGI promise
    /// upper case, so folding it would run another method than the one that proxies judged.
    LowercaseMethod => 501, "request methods are upper-case";
    /// Control byte, space, fragment or non-ASCII byte in the target, or none of the four forms.
    BadTarget => 400, "malformed request target";
    /// The authority of an absolute-form or authority-form target is not `uri-host[:port]`.
    BadAuthority => 400, "malformed authority in the request target";
    /// `*` with a method other than OPTIONS.
    AsteriskForm => 400, "request target '*' is for OPTIONS only";
    /// CONNECT with another form than `host:port`.
    ConnectTarget => 400, "CONNECT needs a host:port target";
    /// Not `HTTP/` DIGIT `.` DIGIT.
    BadVersion => 400, "malformed HTTP version";
    /// A major version other than 1.
    UnsupportedVersion => 505, "unsupported HTTP version";

    // Lines and fields: RFC 9112 sections 2.2 and 5, RFC 9110 section 5.
    /// LF without CR.
    BareLineFeed => 400, "bare LF in the head";
    /// CR without LF.
    BareCarriageReturn => 400, "bare CR in the head";
    /// A control byte other than HTAB.
    ControlByte => 400, "control byte in the head";
    /// Line folding, obsolete and ambiguous.
    ObsoleteFold => 400, "obsolete line folding";
    /// A field line without a colon.
    MissingColon => 400, "field line without a colon";
    /// Space or tab between the field name and the colon.
    SpaceBeforeColon => 400, "white space before the colon of a field";
    /// A field name that is not a token.
    BadFieldName => 400, "invalid field name";
    /// A spelling of a framing or routing field that CGI-style names would merge with it.
    AmbiguousFieldName => 400, "ambiguous spelling of a framing or routing field";

    // Limits.
    RequestLineTooLong => 414, "request line too long";
    TooManyFields => 431, "too many header fields";
    FieldTooLarge => 431, "header field too large";
    HeadTooLarge => 431, "request head too large";
    BodyTooLarge => 413, "request body too large";

    // Routing: RFC 9112 section 3.2, RFC 9110 section 7.2.
    /// HTTP/1.1 without Host.
    MissingHost => 400, "no Host field";
    /// More than one Host field.
    DuplicateHost => 400, "more than one Host field";
    /// Not `uri-host[:port]`.
    BadHost => 400, "malformed Host field";
    /// Host and an absolute-form target name different servers.
    HostMismatch => 400, "Host differs from the request target";

    // Framing: RFC 9112 section 6.
    /// Not 1*DIGIT, or beyond 64 bits.
    BadContentLength => 400, "malformed Content-Length";
    /// Repeated, even with the same value.
    DuplicateContentLength => 400, "more than one Content-Length";
    /// Transfer-Encoding in HTTP/1.0, which does not know it.
    TransferEncodingInHttp10 => 400, "Transfer-Encoding in HTTP/1.0";
    /// Both framing fields: the classic of request smuggling.
    TransferEncodingAndContentLength => 400, "both Transfer-Encoding and Content-Length";
    /// Malformed, `chunked` repeated, or `chunked` not last.
    BadTransferEncoding => 400, "malformed Transfer-Encoding";
    /// Another coding before a final `chunked`.
    UnknownTransferCoding => 501, "unsupported transfer coding";

    // Other fields with one meaning only.
    /// More than one Content-Type: filters and applications would pick different ones.
    DuplicateContentType => 400, "more than one Content-Type";
    /// Any other expectation than `100-continue`.
    UnknownExpectation => 417, "unsupported expectation";

    // Chunked coding: RFC 9112 section 7.1.
    /// Not 1*HEXDIG followed by an extension or CRLF.
    BadChunkSize => 400, "malformed chunk size";
    /// More than 16 digits, or a body beyond 64 bits.
    ChunkSizeOverflow => 400, "chunk size too large";
    /// The line of a chunk size is too long.
    ChunkLineTooLong => 400, "chunk-size line too long";
    /// An extension that breaks the grammar.
    BadChunkExtension => 400, "malformed chunk extension";
    /// Too many bytes of extensions in one body.
    ChunkExtensionsTooLarge => 400, "too many chunk extensions";
    /// Chunk data that does not end in CRLF.
    BadChunkEnd => 400, "chunk data not followed by CRLF";
    /// A trailer field that frames, routes or authenticates.
    ForbiddenTrailer => 400, "field not allowed in trailers";

    // Other protocols on an HTTP/1.1 connection.
    /// The client preface of HTTP/2 (RFC 9113 section 3.4): the caller switches, or answers this.
    Http2Preface => 505, "HTTP/2 is not enabled on this listener";
    /// A TLS ClientHello.
    TlsOnClearText => 400, "this port speaks plain HTTP, not TLS";

    /// The connection ended inside a request.
    Incomplete => 400, "the connection ended before the request was complete";
}

/// Why a peer's bytes were refused. Once returned, the connection reads no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    pub kind: ErrorKind,
}

impl Error {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.kind.status()
    }

    /// One short line for the log and for the plain-text body.
    pub fn message(&self) -> &'static str {
        self.kind.message()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn every_cause_has_a_client_or_server_error_status_and_a_one_line_message() {
        for kind in ErrorKind::ALL {
            assert!((400..=599).contains(&kind.status()), "{kind:?}");
            assert!(!kind.message().is_empty() && !kind.message().contains(['\r', '\n']));
        }
    }
}
