//! A decoded field line, and what its octets say about it.
//!
//! The judgement is made once, when a literal arrives, and stays beside the table entry that the
//! literal makes: a request of indexed fields is not scanned again. It is the field syntax of
//! HTTP/2 on top of the one policy of `fields.rs`; what a field means is not known here.

use crate::fields::{Known, Span, valid_name, valid_value};

/// A pseudo-header field of requests (RFC 9113 section 8.3.1, RFC 8441 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    /// `:status`, which no request has, and every name that is not defined.
    Unknown,
}

/// A name, as far as it is one of the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Field(Known),
    Pseudo(Pseudo),
}

/// What a line's octets say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    pub name: Name,
    name_sound: bool,
    value_sound: bool,
}

impl Traits {
    /// Judges a line by RFC 9113 section 8.2.1.
    #[must_use]
    pub fn of(name: &[u8], value: &[u8]) -> Self {
        let (kind, name_sound) = match name.strip_prefix(b":") {
            Some(rest) => (Name::Pseudo(pseudo(rest)), true),
            None => (Name::Field(Known::lookup(name)), lower_case_token(name)),
        };
        Self {
            name: kind,
            name_sound,
            value_sound: sound_value(value),
        }
    }

    /// The judgement of the same name with another value.
    #[must_use]
    pub fn with_value(self, value: &[u8]) -> Self {
        Self {
            value_sound: sound_value(value),
            ..self
        }
    }

    /// Whether the line's syntax is right; a request with one that is not is malformed.
    #[must_use]
    #[inline]
    pub const fn sound(self) -> bool {
        self.name_sound && self.value_sound
    }
}

fn pseudo(name: &[u8]) -> Pseudo {
    match name {
        b"method" => Pseudo::Method,
        b"scheme" => Pseudo::Scheme,
        b"authority" => Pseudo::Authority,
        b"path" => Pseudo::Path,
        b"protocol" => Pseudo::Protocol,
        _ => Pseudo::Unknown,
    }
}

fn lower_case_token(name: &[u8]) -> bool {
    valid_name(name) && !name.iter().any(u8::is_ascii_uppercase)
}

/// No control octets, and no white space at either end: nothing trims a value in HTTP/2, so what
/// one hop keeps and the next one trims would be two different values.
fn sound_value(value: &[u8]) -> bool {
    let blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    valid_value(value) && !blank(value.first()) && !blank(value.last())
}

/// One line: spans into the block it was decoded into, and the judgement.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub name: Span,
    pub value: Span,
    pub traits: Traits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_syntax_of_http2_is_judged() {
        let sound = |name: &[u8], value: &[u8]| Traits::of(name, value).sound();
        assert!(sound(b"x-name", b"value"));
        assert!(sound(b"x-name", b""));
        assert!(sound(b"x-name", b"a\tb c"));
        assert!(sound(b":path", b"/"));
        for name in [
            &b""[..],
            b"X-Name",
            b"x name",
            b"x:name",
            b"x\0",
            b"x\x7f",
            b"n\xc3\xa4me",
        ] {
            assert!(!sound(name, b"value"), "{name:?}");
        }
        for value in [
            &b" a"[..],
            b"a ",
            b"\ta",
            b"a\t",
            b"a\rb",
            b"a\nb",
            b"a\0b",
            b"\x7f",
        ] {
            assert!(!sound(b"x-name", value), "{value:?}");
            assert!(
                !Traits::of(b"x-name", b"good").with_value(value).sound(),
                "{value:?}"
            );
        }
        assert!(!Traits::of(b"X-Name", b"good").with_value(b"good").sound());
    }

    #[test]
    fn names_are_recognised() {
        assert_eq!(
            Traits::of(b":protocol", b"websocket").name,
            Name::Pseudo(Pseudo::Protocol)
        );
        assert_eq!(
            Traits::of(b":status", b"200").name,
            Name::Pseudo(Pseudo::Unknown)
        );
        assert_eq!(Traits::of(b"host", b"a").name, Name::Field(Known::Host));
    }
}
