//! Error codes, and how far an error reaches: one stream or the whole connection.

use std::fmt;

/// RFC 9113 section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    NoError,
    ProtocolError,
    InternalError,
    FlowControlError,
    SettingsTimeout,
    StreamClosed,
    FrameSizeError,
    RefusedStream,
    Cancel,
    CompressionError,
    ConnectError,
    EnhanceYourCalm,
    InadequateSecurity,
    Http11Required,
    /// Unknown codes have no special meaning (section 7); they are kept for the log.
    Other(u32),
}

impl Code {
    #[must_use]
    pub const fn from_wire(code: u32) -> Self {
        match code {
            0x0 => Self::NoError,
            0x1 => Self::ProtocolError,
            0x2 => Self::InternalError,
            0x3 => Self::FlowControlError,
            0x4 => Self::SettingsTimeout,
            0x5 => Self::StreamClosed,
            0x6 => Self::FrameSizeError,
            0x7 => Self::RefusedStream,
            0x8 => Self::Cancel,
            0x9 => Self::CompressionError,
            0xa => Self::ConnectError,
            0xb => Self::EnhanceYourCalm,
            0xc => Self::InadequateSecurity,
            0xd => Self::Http11Required,
            other => Self::Other(other),
        }
    }

    #[must_use]
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::NoError => 0x0,
            Self::ProtocolError => 0x1,
            Self::InternalError => 0x2,
            Self::FlowControlError => 0x3,
            Self::SettingsTimeout => 0x4,
            Self::StreamClosed => 0x5,
            Self::FrameSizeError => 0x6,
            Self::RefusedStream => 0x7,
            Self::Cancel => 0x8,
            Self::CompressionError => 0x9,
            Self::ConnectError => 0xa,
            Self::EnhanceYourCalm => 0xb,
            Self::InadequateSecurity => 0xc,
            Self::Http11Required => 0xd,
            Self::Other(other) => other,
        }
    }

    /// The name of RFC 9113 section 7, for the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoError => "NO_ERROR",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
            Self::FlowControlError => "FLOW_CONTROL_ERROR",
            Self::SettingsTimeout => "SETTINGS_TIMEOUT",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSizeError => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::CompressionError => "COMPRESSION_ERROR",
            Self::ConnectError => "CONNECT_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
            Self::Other(_) => "an unknown error code",
        }
    }
}

/// The connection cannot go on (RFC 9113 section 5.4.1). GOAWAY with this code is queued already;
/// what is left to do is to send it and to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    pub code: Code,
    /// One short line for the log; also the debug data of GOAWAY.
    pub reason: &'static str,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.reason)
    }
}

impl std::error::Error for ConnectionError {}

/// What is wrong with a frame, and whom it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// RFC 9113 section 5.4.1.
    Connection(ConnectionError),
    /// RFC 9113 section 5.4.2: the stream is reset, the connection goes on.
    Stream {
        stream: u32,
        code: Code,
        reason: &'static str,
    },
}

impl Fault {
    #[must_use]
    pub const fn connection(code: Code, reason: &'static str) -> Self {
        Self::Connection(ConnectionError { code, reason })
    }

    #[must_use]
    pub const fn stream(stream: u32, code: Code, reason: &'static str) -> Self {
        Self::Stream {
            stream,
            code,
            reason,
        }
    }

    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Connection(error) => error.code,
            Self::Stream { code, .. } => code,
        }
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for code in 0..32 {
            assert_eq!(Code::from_wire(code).to_wire(), code);
        }
        assert_eq!(Code::EnhanceYourCalm.to_wire(), 0xb);
        assert_eq!(Code::from_wire(u32::MAX), Code::Other(u32::MAX));
    }
}
