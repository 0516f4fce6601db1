//! The request line (RFC 9112 section 3): method, the four forms of the target, version.
//! Knows one complete line, never how it arrived.

use crate::error::{Error, ErrorKind};
use crate::fields::{Span, check_authority, check_host, is_token_byte};
use crate::request::{Method, Request, Version};
use crate::scan::{Class, Input, Level, class};

/// Fills method, target and version of `request` from `input[..end]`, which has no control byte but
/// perhaps HTAB.
///
/// # Errors
/// 400 for what breaks the grammar, 501 for lower-case methods, 505 for another major version.
#[inline(always)]
pub(crate) fn request_line<L: Level>(
    level: L,
    input: &Input<'_>,
    end: usize,
    request: &mut Request,
) -> Result<(), Error> {
    // Versions are compared as numbers: patterns of bytes are compared byte by byte.
    const HTTP11: u64 = u64::from_le_bytes(*b"HTTP/1.1");
    const HTTP10: u64 = u64::from_le_bytes(*b"HTTP/1.0");
    let line = input.bytes().get(..end).unwrap_or_default();
    let (rest, minor) = match line.split_last_chunk() {
        Some(([rest @ .., b' '], version)) => match u64::from_le_bytes(*version) {
            HTTP11 => (rest, 1),
            HTTP10 => (rest, 0),
            _ => later_minor_version(line)?,
        },
        _ => later_minor_version(line)?,
    };
    request.version = if minor == 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    request.minor = minor;
    let method_end = if line.starts_with(b"GET ") {
        request.method = Method::Get;
        3
    } else {
        let end = rest
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(|| broken_line(line))?;
        request.method = method(&line[..end])?;
        end
    };
    request.method_span = Span::new(0, method_end);
    let start = method_end + 1;
    let target = match rest.get(start..) {
        Some(target) if !target.is_empty() => target,
        _ => return Err(ErrorKind::BadRequestLine.into()),
    };
    request.target = Span::new(start, rest.len());

    // One look at all of it: a byte that no form allows, and the first question mark.
    let (mut query, mut at) = (None, 0);
    while at < target.len() {
        let bytes = level.load(input.block(start + at));
        let mask = mask_of(target.len() - at);
        if class(level, Class::NotTarget, bytes) & mask != 0 {
            return Err(bad_target(target));
        }
        let questions = class(level, Class::Question, bytes) & mask;
        if questions != 0 && query.is_none() {
            query = Some(at + questions.trailing_zeros() as usize);
        }
        at += 32;
    }
    if target.first() == Some(&b'/') && request.method != Method::Connect {
        set_path(request, start, 0, target.len(), query);
        return Ok(());
    }
    other_form(request, target, start, query)
}

#[inline(always)]
fn mask_of(bytes: usize) -> u32 {
    if bytes >= 32 {
        u32::MAX
    } else {
        (1 << bytes) - 1
    }
}

/// Positions are in the target, which starts at `start` of the head.
#[inline(always)]
fn set_path(request: &mut Request, start: usize, path: usize, end: usize, query: Option<usize>) {
    request.path = Span::new(start + path, start + query.unwrap_or(end));
    request.query = query.map(|query| Span::new(start + query + 1, start + end));
}

/// Absolute, authority and asterisk form (RFC 9112 sections 3.2.2 to 3.2.4).
fn other_form(
    request: &mut Request,
    target: &[u8],
    start: usize,
    query: Option<usize>,
) -> Result<(), Error> {
    match (request.method, target) {
        (Method::Connect, authority) if check_authority(authority) => {
            request.path = request.target;
            Ok(())
        }
        (Method::Connect, _) => Err(ErrorKind::ConnectTarget.into()),
        (Method::Options, b"*") => {
            request.path = request.target;
            Ok(())
        }
        (_, b"*") => Err(ErrorKind::AsteriskForm.into()),
        _ => {
            let (https, scheme) = match target {
                _ if starts_with(target, b"http://") => (false, 7),
                _ if starts_with(target, b"https://") => (true, 8),
                _ => return Err(ErrorKind::BadTarget.into()),
            };
            let rest = target.get(scheme..).unwrap_or_default();
            let authority = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(rest.len());
            if !check_host(rest.get(..authority).unwrap_or_default()) {
                return Err(ErrorKind::BadAuthority.into());
            }
            request.scheme_https = https;
            let path = scheme + authority;
            request.absolute_authority = Some(Span::new(start + scheme, start + path));
            set_path(request, start, path, target.len(), query);
            Ok(())
        }
    }
}

fn starts_with(target: &[u8], scheme: &[u8]) -> bool {
    target
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn method(name: &[u8]) -> Result<Method, Error> {
    match Method::from_bytes(name) {
        Method::Other if name.is_empty() || !name.iter().copied().all(is_token_byte) => {
            Err(ErrorKind::BadMethod.into())
        }
        Method::Other if name.iter().any(u8::is_ascii_lowercase) => {
            Err(ErrorKind::LowercaseMethod.into())
        }
        method => Ok(method),
    }
}

/// What stands before the version, and the minor version, of a line that ends in neither of the two
/// versions in use.
#[cold]
fn later_minor_version(line: &[u8]) -> Result<(&[u8], u8), Error> {
    match line.split_last_chunk() {
        Some((
            [rest @ .., b' '],
            [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                major @ b'0'..=b'9',
                b'.',
                minor @ b'0'..=b'9',
            ],
        )) => {
            // RFC 9110 section 6.2: a later minor version is served as ours.
            if *major == b'1' {
                Ok((rest, minor - b'0'))
            } else {
                Err(ErrorKind::UnsupportedVersion.into())
            }
        }
        _ => Err(broken_line(line)),
    }
}

/// The cause that best tells what is wrong with a line whose end is not a version.
#[cold]
fn broken_line(line: &[u8]) -> Error {
    let words = line.split(|byte| *byte == b' ').count();
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !method.iter().copied().all(is_token_byte) {
        ErrorKind::BadMethod
    } else if words == 3 {
        ErrorKind::BadVersion
    } else {
        ErrorKind::BadRequestLine
    }
    .into()
}

#[cold]
fn bad_target(target: &[u8]) -> Error {
    if target.contains(&b' ') {
        ErrorKind::BadRequestLine
    } else {
        ErrorKind::BadTarget
    }
    .into()
}
