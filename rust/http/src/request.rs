//! A request as every carrier delivers it: method, target and framing as numbers and spans into
//! one block. Knows no wire format; HTTP/1.1 and HTTP/2 both fill it.

use crate::fields::{HeaderBlock, Span};

/// Which HTTP a message belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    /// HTTP/1.1, and any later minor version, which a 1.1 server serves as 1.1 (RFC 9110
    /// section 6.2).
    #[default]
    Http11,
    Http2,
}

/// The request method (RFC 9110 section 9.3, RFC 5789); the text is in [`Request::method_bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    Other,
}

impl Method {
    /// The method of this exact spelling (methods are case-sensitive).
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }
}

/// How the end of a request body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No framing field: no body.
    #[default]
    None,
    /// Content-Length, in bytes.
    Exact(u64),
    /// The chunked transfer coding (or, over HTTP/2, frames until the stream ends).
    Chunked,
}

/// One request head. Reusable: `clear` keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The fields; over HTTP/1.1 the block's bytes are the whole head, request line included.
    pub block: HeaderBlock,
    pub method: Method,
    pub method_span: Span,
    /// The request target exactly as on the wire.
    pub target: Span,
    /// The path of origin and absolute form (empty where an absolute form has none, see
    /// [`Request::path_bytes`]), `*`, or the authority of CONNECT.
    pub path: Span,
    /// What follows the first `?`.
    pub query: Option<Span>,
    /// The authority of an absolute-form target.
    pub absolute_authority: Option<Span>,
    /// Whether an absolute-form target has the https scheme.
    pub scheme_https: bool,
    pub version: Version,
    /// The minor version on the wire, for HTTP/1.
    pub minor: u8,
    pub body: BodyLength,
    /// Whether the client is willing to go on with this connection (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends a body.
    pub expect_continue: bool,
    /// Whether this is a WebSocket opening handshake by its method, version, Upgrade and
    /// Connection fields (RFC 6455 section 4.1), or by its `:protocol` in HTTP/2; the rest of the
    /// handshake is not checked here.
    pub upgrade_websocket: bool,
    /// The protocol that an HTTP/2 CONNECT asks for (`:protocol`, RFC 8441 section 4); target and
    /// path are those of an ordinary request then.
    pub protocol: Option<Span>,
}

impl Request {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        *self = Self {
            block,
            ..Self::default()
        };
    }

    /// The method as on the wire.
    pub fn method_bytes(&self) -> &[u8] {
        self.block.slice(self.method_span)
    }

    /// The request target as on the wire.
    pub fn target_bytes(&self) -> &[u8] {
        self.block.slice(self.target)
    }

    /// The path, still percent-encoded: `/` for an absolute form without one.
    pub fn path_bytes(&self) -> &[u8] {
        match self.block.slice(self.path) {
            b"" => b"/",
            path => path,
        }
    }

    /// The query without its `?`, empty if there is none.
    pub fn query_bytes(&self) -> &[u8] {
        self.query.map_or(b"", |span| self.block.slice(span))
    }

    /// Whether the method is HEAD, so that the response has no body.
    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }
}
