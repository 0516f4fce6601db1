//! A client to talk to a `Connection` with, frame by frame, so that tests read like a
//! conversation. Knows how to write and read frames, never what is right.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::VecDeque;

use ferrule_http::h1::encode::{Defaults, ResponseHead};
use ferrule_http::h2::frame::{
    Data, Frame, GoAway, HEAD_LEN, Head, Headers, Ping, PriorityUpdate, RstStream, Setting,
    Settings as SettingsFrame, WindowUpdate,
};
use ferrule_http::h2::{Code, Connection, ConnectionError, Event, PREFACE, SendError, Settings};
use ferrule_http::hpack::{Bounds, Decoder, Encoder, Line, Sink};
use ferrule_http::{BodyLength, ErrorKind, HeaderBlock, Limits, Request};

/// An event, with everything that it points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Request(u32, Asked),
    Refused(u32, ErrorKind),
    Data(u32, Vec<u8>, bool),
    Trailers(u32, Vec<(String, String)>),
    Reset(u32, Code, bool),
    Writable(u32),
    GoAway(Code, u32),
}

/// A request as an application would see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub path: String,
    pub query: String,
    pub https: bool,
    pub protocol: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: BodyLength,
    pub expect_continue: bool,
    pub end_stream: bool,
}

/// A frame from the server, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Headers(u32, Vec<(String, String)>, bool),
    Data(u32, Vec<u8>, bool),
    Reset(u32, Code),
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping(bool, [u8; 8]),
    GoAway(u32, Code),
    WindowUpdate(u32, u32),
}

/// Both ends of one connection.
pub struct Talk {
    pub connection: Connection,
    pub now: u64,
    pub events: VecDeque<Event>,
    /// What `receive` has not consumed.
    input: Vec<u8>,
    seen: Vec<Seen>,
    encoder: Encoder,
    decoder: Decoder,
    pub defaults: Defaults,
}

pub const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/"),
];

pub const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/"),
];

pub fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn fields(block: &HeaderBlock) -> Vec<(String, String)> {
    block
        .iter()
        .map(|(_, name, value)| (text(name), text(value)))
        .collect()
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Sink for Lines {
    fn line(&mut self, _: &mut HeaderBlock, line: Line) {
        self.0.push(line);
    }
}

impl Talk {
    /// Past the prefaces of both sides.
    pub fn new() -> Self {
        Self::with(Settings::default(), &Limits::default())
    }

    pub fn with(settings: Settings, limits: &Limits) -> Self {
        let mut talk = Self::silent(settings, limits);
        talk.send(PREFACE);
        talk.settings(&[]);
        talk.settings_ack();
        let greeting = talk.replies();
        assert!(matches!(greeting[0], Reply::Settings(_)), "{greeting:?}");
        assert!(greeting.contains(&Reply::SettingsAck), "{greeting:?}");
        talk
    }

    /// Before anything was sent.
    pub fn silent(settings: Settings, limits: &Limits) -> Self {
        Self {
            connection: Connection::new(settings, limits),
            now: 0,
            events: VecDeque::new(),
            input: Vec::new(),
            seen: Vec::new(),
            encoder: Encoder::new(),
            decoder: Decoder::new(4096),
            defaults: Defaults::new(None, false, &[]).unwrap(),
        }
    }

    /// The client sends octets.
    pub fn send(&mut self, octets: &[u8]) {
        self.try_send(octets).unwrap();
    }

    pub fn try_send(&mut self, octets: &[u8]) -> Result<(), ConnectionError> {
        self.input.extend_from_slice(octets);
        let outcome = self
            .connection
            .receive(&self.input, self.now, &mut self.events);
        for event in self.events.drain(..) {
            self.seen.push(match event {
                Event::Request {
                    stream,
                    request,
                    end_stream,
                } => {
                    let asked = asked(&request, end_stream);
                    self.connection.recycle(request);
                    Seen::Request(stream, asked)
                }
                Event::Refused { stream, error } => Seen::Refused(stream, error.kind),
                Event::Data {
                    stream,
                    range,
                    end_stream,
                } => Seen::Data(stream, self.input[range].to_vec(), end_stream),
                Event::Trailers { stream, trailers } => Seen::Trailers(stream, fields(&trailers)),
                Event::Reset {
                    stream,
                    code,
                    by_peer,
                    reason,
                } => {
                    assert!(!reason.is_empty());
                    Seen::Reset(stream, code, by_peer)
                }
                Event::Writable { stream } => Seen::Writable(stream),
                Event::GoAway { code, last_stream } => Seen::GoAway(code, last_stream),
            });
        }
        self.input.drain(..outcome?);
        Ok(())
    }

    /// Sends octets that must end the connection, and returns the code.
    pub fn fails(&mut self, octets: &[u8]) -> Code {
        let error = self.try_send(octets).unwrap_err();
        assert!(!error.reason.is_empty());
        assert_eq!(
            self.connection.receive(b"", 0, &mut VecDeque::new()),
            Err(error)
        );
        let replies = self.replies();
        assert!(
            matches!(replies.last(), Some(Reply::GoAway(_, code)) if *code == error.code),
            "{replies:?}"
        );
        assert!(self.connection.is_done());
        error.code
    }

    pub fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            self.encoder
                .field(&mut block, name.as_bytes(), value.as_bytes());
        }
        block
    }

    pub fn headers_frame(
        &mut self,
        stream: u32,
        fields: &[(&str, &str)],
        end_stream: bool,
    ) -> Vec<u8> {
        let block = self.block(fields);
        let mut wire = Vec::new();
        Headers {
            stream,
            dependency: None,
            fragment: &block,
            padding: None,
            end_stream,
            end_headers: true,
        }
        .encode(&mut wire);
        wire
    }

    pub fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end_stream: bool) {
        let wire = self.headers_frame(stream, fields, end_stream);
        self.send(&wire);
    }

    pub fn data(&mut self, stream: u32, data: &[u8], end_stream: bool) {
        self.send(&data_frame(stream, data, end_stream));
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        self.send(&settings_frame(settings));
    }

    pub fn settings_ack(&mut self) {
        let mut wire = Vec::new();
        SettingsFrame::encode_ack(&mut wire);
        self.send(&wire);
    }

    pub fn window_update(&mut self, stream: u32, increment: u32) {
        self.send(&window_frame(stream, increment));
    }

    pub fn reset(&mut self, stream: u32, code: Code) {
        self.send(&reset_frame(stream, code));
    }

    pub fn ping(&mut self, ack: bool, opaque: [u8; 8]) {
        let mut wire = Vec::new();
        Ping { ack, opaque }.encode(&mut wire);
        self.send(&wire);
    }

    pub fn go_away(&mut self, code: Code) {
        let mut wire = Vec::new();
        GoAway {
            last_stream: 0,
            code,
            debug: b"bye",
        }
        .encode(&mut wire);
        self.send(&wire);
    }

    pub fn priority_update(&mut self, stream: u32, value: &str) {
        let mut wire = Vec::new();
        PriorityUpdate {
            stream,
            value: value.as_bytes(),
        }
        .encode(&mut wire);
        self.send(&wire);
    }

    /// What the server's side saw since the last call.
    pub fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// The only thing that the server's side saw.
    pub fn saw(&mut self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.pop().unwrap()
    }

    /// A request that the server's side saw and nothing else.
    pub fn asked(&mut self) -> (u32, Asked) {
        match self.saw() {
            Seen::Request(stream, asked) => (stream, asked),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that the server sends now.
    pub fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while self.connection.has_output() {
            replies.extend(self.replies_within(65536));
        }
        replies
    }

    /// What the server sends in one write of about `budget` octets.
    pub fn replies_within(&mut self, budget: usize) -> Vec<Reply> {
        let mut out = Vec::new();
        let more = self
            .connection
            .poll_output(&mut out, budget, &mut self.events);
        assert_eq!(more, self.connection.has_output());
        for event in self.events.drain(..) {
            match event {
                Event::Writable { stream } => self.seen.push(Seen::Writable(stream)),
                other => panic!("{other:?}"),
            }
        }
        self.parse(&out)
    }

    pub fn parse(&mut self, out: &[u8]) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut rest = out;
        let mut block: Option<(u32, bool, Vec<u8>)> = None;
        while let Some((head, payload)) = rest.split_first_chunk::<HEAD_LEN>() {
            let head = Head::load(head);
            let (payload, others) = payload.split_at(head.length as usize);
            rest = others;
            replies.push(match Frame::load(head, payload).unwrap() {
                Frame::Headers(headers) if headers.end_headers => {
                    let fields = self.decode(headers.fragment);
                    Reply::Headers(headers.stream, fields, headers.end_stream)
                }
                Frame::Headers(headers) => {
                    block = Some((
                        headers.stream,
                        headers.end_stream,
                        headers.fragment.to_vec(),
                    ));
                    continue;
                }
                Frame::Continuation(continuation) => {
                    let (stream, end_stream, mut fragments) = block.take().unwrap();
                    fragments.extend_from_slice(continuation.fragment);
                    if !continuation.end_headers {
                        block = Some((stream, end_stream, fragments));
                        continue;
                    }
                    Reply::Headers(stream, self.decode(&fragments), end_stream)
                }
                Frame::Data(data) => Reply::Data(data.stream, data.data.to_vec(), data.end_stream),
                Frame::RstStream(reset) => Reply::Reset(reset.stream, reset.code),
                Frame::Settings(settings) if settings.ack => Reply::SettingsAck,
                Frame::Settings(settings) => Reply::Settings(
                    settings
                        .iter()
                        .map(|setting| (setting.id, setting.value))
                        .collect(),
                ),
                Frame::Ping(ping) => Reply::Ping(ping.ack, ping.opaque),
                Frame::GoAway(goaway) => Reply::GoAway(goaway.last_stream, goaway.code),
                Frame::WindowUpdate(update) => Reply::WindowUpdate(update.stream, update.increment),
                other => panic!("no server sends {other:?}"),
            });
        }
        assert!(rest.is_empty() && block.is_none());
        replies
    }

    fn decode(&mut self, wire: &[u8]) -> Vec<(String, String)> {
        let mut block = HeaderBlock::new();
        let mut lines = Lines::default();
        self.decoder.begin(Bounds {
            list_size: 1 << 20,
            lines: 10_000,
        });
        self.decoder.decode(wire, &mut block, &mut lines).unwrap();
        assert_eq!(self.decoder.end(), Ok(None));
        let resolve = |line: &Line| {
            assert!(line.traits.sound());
            (text(block.slice(line.name)), text(block.slice(line.value)))
        };
        lines.0.iter().map(resolve).collect()
    }

    /// The application answers with a head.
    pub fn respond(
        &mut self,
        stream: u32,
        status: u16,
        fields: &[(&str, &str)],
        end_stream: bool,
    ) -> Result<(), SendError> {
        let head = head(status, fields);
        self.connection
            .respond(stream, &head, &self.defaults, None, end_stream)
    }
}

pub fn head(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new();
    head.start(status, None).unwrap();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

fn asked(request: &Request, end_stream: bool) -> Asked {
    Asked {
        method: text(request.method_bytes()),
        target: text(request.target_bytes()),
        path: text(request.path_bytes()),
        query: text(request.query_bytes()),
        https: request.scheme_https,
        protocol: request
            .protocol
            .map(|protocol| text(request.block.slice(protocol))),
        fields: fields(&request.block),
        body: request.body,
        expect_continue: request.expect_continue,
        end_stream,
    }
}

pub fn data_frame(stream: u32, data: &[u8], end_stream: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    Data {
        stream,
        data,
        padding: None,
        end_stream,
    }
    .encode(&mut wire);
    wire
}

pub fn window_frame(stream: u32, increment: u32) -> Vec<u8> {
    let mut wire = Vec::new();
    WindowUpdate { stream, increment }.encode(&mut wire);
    wire
}

pub fn reset_frame(stream: u32, code: Code) -> Vec<u8> {
    let mut wire = Vec::new();
    RstStream { stream, code }.encode(&mut wire);
    wire
}

pub fn settings_frame(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<_> = settings
        .iter()
        .map(|&(id, value)| Setting { id, value })
        .collect();
    let mut wire = Vec::new();
    SettingsFrame::encode(&settings, &mut wire);
    wire
}

/// A frame of any kind: kind, flags, stream, payload.
pub fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut wire = vec![length[1], length[2], length[3], kind, flags];
    wire.extend_from_slice(&stream.to_be_bytes());
    wire.extend_from_slice(payload);
    wire
}

/// A GET request that the server's side sees.
pub fn ask(talk: &mut Talk, stream: u32) {
    talk.headers(stream, &GET, true);
    assert_eq!(talk.asked().0, stream);
}
