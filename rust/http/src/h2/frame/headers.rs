//! HEADERS (RFC 9113 section 6.2).

use super::{
    Continuation, Dependency, END_HEADERS, END_STREAM, HEAD_LEN, Head, Kind, PADDED, PRIORITY,
    encode_pad_length, encode_padding, on_stream, padding_len, unpad,
};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    pub stream: u32,
    /// The priority of RFC 7540, which nothing here schedules by. Whether a stream depends on
    /// itself is for the caller to see, once the fragment is decoded.
    pub dependency: Option<Dependency>,
    pub fragment: &'a [u8],
    pub padding: Option<u8>,
    pub end_stream: bool,
    pub end_headers: bool,
}

impl<'a> Headers<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0 and for padding longer than the payload, FRAME_SIZE_ERROR for a
    /// payload without the fields that its flags promise.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_stream(head, "HEADERS on stream 0")?;
        let (mut fragment, padding) = unpad(head, payload)?;
        let mut dependency = None;
        if head.has(PRIORITY) {
            let Some((fields, rest)) = fragment.split_first_chunk() else {
                return Err(Fault::connection(
                    Code::FrameSizeError,
                    "HEADERS too short for its priority",
                ));
            };
            dependency = Some(Dependency::load(fields));
            fragment = rest;
        }
        Ok(Self {
            stream: head.stream,
            dependency,
            fragment,
            padding,
            end_stream: head.has(END_STREAM),
            end_headers: head.has(END_HEADERS),
        })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        let priority = self.dependency.map_or(0, |_| Dependency::LEN);
        let length = self.fragment.len() + padding_len(self.padding) + priority;
        let flags = [
            (self.end_stream, END_STREAM),
            (self.end_headers, END_HEADERS),
            (self.padding.is_some(), PADDED),
            (self.dependency.is_some(), PRIORITY),
        ];
        let flags = flags
            .iter()
            .filter(|(set, _)| *set)
            .fold(0, |all, (_, flag)| all | flag);
        Head::new(Kind::Headers, length, flags, self.stream).encode(dst);
        encode_pad_length(dst, self.padding);
        if let Some(dependency) = self.dependency {
            dependency.encode(dst);
        }
        dst.extend_from_slice(self.fragment);
        encode_padding(dst, self.padding);
    }
}

/// A HEADERS frame whose header block is encoded in place: begin, append the block, finish.
#[derive(Clone, Copy, Debug)]
pub struct HeadersFrame {
    start: usize,
}

impl HeadersFrame {
    /// Leaves room for the frame head at the end of `dst`.
    #[must_use]
    pub fn begin(dst: &mut Vec<u8>) -> Self {
        let start = dst.len();
        dst.extend_from_slice(&[0; HEAD_LEN]);
        Self { start }
    }

    /// Writes the frame head; a block beyond `max_frame_size` octets goes on in CONTINUATION
    /// frames (RFC 9113 section 4.3).
    pub fn finish(self, dst: &mut Vec<u8>, stream: u32, end_stream: bool, max_frame_size: u32) {
        let body = self.start + HEAD_LEN;
        let max = max_frame_size as usize;
        let length = dst.len().saturating_sub(body);
        let end_stream = if end_stream { END_STREAM } else { 0 };
        let (first, flags) = if length <= max {
            (length, end_stream | END_HEADERS)
        } else {
            (max, end_stream)
        };
        let rest = (length > max).then(|| dst.split_off(body + max));
        let head = Head::new(Kind::Headers, first, flags, stream).to_wire();
        if let Some(place) = dst.get_mut(self.start..body) {
            place.copy_from_slice(&head);
        }
        if let Some(rest) = rest {
            let last = rest.len().div_ceil(max.max(1)) - 1;
            for (number, fragment) in rest.chunks(max.max(1)).enumerate() {
                let end_headers = number == last;
                Continuation {
                    stream,
                    fragment,
                    end_headers,
                }
                .encode(dst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::frame::Frame;

    #[test]
    fn a_block_beyond_the_frame_size_goes_on_in_continuations() {
        for length in [0, 1, 99, 100, 101, 200, 201, 350] {
            let block: Vec<u8> = (0..length).map(|octet| octet as u8).collect();
            let mut wire = b"before".to_vec();
            let frame = HeadersFrame::begin(&mut wire);
            wire.extend_from_slice(&block);
            frame.finish(&mut wire, 7, true, 100);

            let mut rest = wire.strip_prefix(b"before").unwrap();
            let mut collected = Vec::new();
            let mut ended = false;
            while let Some((head, payload)) = rest.split_first_chunk() {
                assert!(!ended);
                let head = Head::load(head);
                assert_eq!(head.stream, 7);
                let (payload, others) = payload.split_at(head.length as usize);
                rest = others;
                match Frame::load(head, payload).unwrap() {
                    Frame::Headers(headers) => {
                        assert!(collected.is_empty() && headers.end_stream);
                        collected.extend_from_slice(headers.fragment);
                        ended = headers.end_headers;
                    }
                    Frame::Continuation(continuation) => {
                        collected.extend_from_slice(continuation.fragment);
                        ended = continuation.end_headers;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(ended);
            assert_eq!(collected, block);
        }
    }
}
