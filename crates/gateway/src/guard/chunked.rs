use super::field::{self, Framing};
use super::{Limits, Refusal};

/// A chunked body that is being read.
///
/// It sees single bytes of the lines, however they are cut, and runs over the data.
///
/// Source: RFC 9112, section 7.1. White space around the size is refused, extensions are skipped in
/// bounds, and trailers must be fields that may be trailers.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    /// Of the chunk's bytes, those to come.
    left: u64,
    extension_bytes: usize,
    trailers: usize,
    trailer_bytes: usize,
    name: NameStart,
    trailers_max: usize,
    trailer_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the size, after so many digits.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Before a trailer, or the empty line at the end.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

/// More would be 2⁶⁰ bytes, or padding.
const SIZE_DIGITS_MAX: u8 = 15;
/// In all of a body's extensions, which nobody uses.
const EXTENSION_BYTES_MAX: usize = 4 * 1024;

impl Chunked {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            at: At::Size(0),
            left: 0,
            extension_bytes: 0,
            trailers: 0,
            trailer_bytes: 0,
            name: NameStart::default(),
            trailers_max: limits.fields_max,
            trailer_bytes_max: limits.head_bytes_max,
        }
    }

    /// Reads on; tells how many of the bytes belong to the body, and whether they end it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut read = 0;
        while read < bytes.len() {
            if self.at == At::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX);
                let here = here.min(bytes.len() - read);
                read += here;
                self.left -= here as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let byte = bytes[read];
            read += 1;
            if self.at == At::EndLf && byte == b'\n' {
                return Ok((read, true));
            }
            self.at = self.next(byte)?;
        }
        Ok((read, false))
    }

    fn next(&mut self, byte: u8) -> Result<At, Refusal> {
        let next = match (self.at, byte) {
            (At::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Refusal::CHUNK);
                }
                self.left = self.left * 16 + hex(byte);
                At::Size(digits + 1)
            }
            (At::Size(1..), b';') => At::Extension,
            (At::Size(1..) | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, _) if field::is_value_byte(byte) => {
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(Refusal::CHUNK);
                }
                At::Extension
            }
            (At::SizeLf, b'\n') if self.left == 0 => At::Trailer,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::Trailer, b'\r') => At::EndLf,
            (At::Trailer | At::TrailerName | At::TrailerValue | At::TrailerLf, _) => {
                return self.trailer(byte);
            }
            _ => return Err(Refusal::CHUNK),
        };
        Ok(next)
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Refusal> {
        self.trailer_bytes += 1;
        let next = match (self.at, byte) {
            (At::Trailer, _) if field::is_token(byte) => {
                self.trailers += 1;
                self.name = NameStart::default();
                self.name.push(byte);
                Some(At::TrailerName)
            }
            (At::TrailerName, b':') if self.name.may_trail() => Some(At::TrailerValue),
            (At::TrailerName, _) if field::is_token(byte) => {
                self.name.push(byte);
                Some(At::TrailerName)
            }
            (At::TrailerValue, b'\r') => Some(At::TrailerLf),
            (At::TrailerValue, _) if field::is_value_byte(byte) => Some(At::TrailerValue),
            (At::TrailerLf, b'\n') => Some(At::Trailer),
            _ => None,
        };
        let within =
            self.trailers <= self.trailers_max && self.trailer_bytes <= self.trailer_bytes_max;
        next.filter(|_| within).ok_or(Refusal::TRAILER)
    }
}

fn hex(digit: u8) -> u64 {
    char::from(digit).to_digit(16).unwrap_or(0).into()
}

/// The beginning of a trailer's name: as much as tells the few that are refused from all others.
#[derive(Clone, Copy, Debug, Default)]
struct NameStart {
    bytes: [u8; 17],
    len: usize,
}

impl NameStart {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }

    /// A trailer must not change what was decided by the head (RFC 9110, section 6.5.1).
    fn may_trail(&self) -> bool {
        let Some(name) = self.bytes.get(..self.len) else {
            return true;
        };
        let framing: Option<Framing> = field::framing(name);
        framing.is_none() && !name.eq_ignore_ascii_case(b"host")
    }
}
