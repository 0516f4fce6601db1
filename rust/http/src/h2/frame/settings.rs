//! SETTINGS (RFC 9113 section 6.5): the list as it is on the wire. Which values are allowed is
//! known to `h2::settings`.

use super::{ACK, Head, Kind, on_connection};
use crate::h2::error::{Code, Fault};

/// Octets of one setting.
const SETTING_LEN: usize = 6;

/// One setting: identifier and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub id: u16,
    pub value: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    pub ack: bool,
    /// A whole number of settings.
    payload: &'a [u8],
}

impl<'a> Settings<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on a stream, FRAME_SIZE_ERROR for an acknowledgement with a payload and for
    /// a length that is not a multiple of six.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_connection(head, "SETTINGS on a stream")?;
        let ack = head.has(ACK);
        if ack && !payload.is_empty() {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "SETTINGS acknowledgement with a payload",
            ));
        }
        if !payload.len().is_multiple_of(SETTING_LEN) {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "SETTINGS of a length that no settings have",
            ));
        }
        Ok(Self { ack, payload })
    }

    /// In the order on the wire, in which they apply (section 6.5.3).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Setting> + use<'a> {
        let (settings, _) = self.payload.as_chunks::<SETTING_LEN>();
        settings.iter().map(|&[a, b, c, d, e, f]| Setting {
            id: u16::from_be_bytes([a, b]),
            value: u32::from_be_bytes([c, d, e, f]),
        })
    }

    pub fn encode(settings: &[Setting], dst: &mut Vec<u8>) {
        Head::new(Kind::Settings, settings.len() * SETTING_LEN, 0, 0).encode(dst);
        for setting in settings {
            dst.extend_from_slice(&setting.id.to_be_bytes());
            dst.extend_from_slice(&setting.value.to_be_bytes());
        }
    }

    pub fn encode_ack(dst: &mut Vec<u8>) {
        Head::new(Kind::Settings, 0, ACK, 0).encode(dst);
    }
}
