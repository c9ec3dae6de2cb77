use super::field::{self, Framing};
use super::request_line::{self, METHOD_BYTES_MAX, Version};
use super::{Limits, Refusal};

/// A head that is being read, line by line.
#[derive(Debug)]
pub(super) struct Head {
    line: Line,
    /// Where the line begins that is not complete yet.
    line_start: usize,
    /// Up to here no end of a line was found in it.
    searched: usize,
    fields: usize,
    version: Version,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// One empty line may stand before a request: old clients send one after a body.
    Before,
    First,
    Field,
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// What a request line has besides the target.
const LINE_BYTES_BESIDE_TARGET: usize = METHOD_BYTES_MAX + " HTTP/1.1\r ".len();

impl Head {
    pub(super) fn new() -> Self {
        Self {
            line: Line::Before,
            line_start: 0,
            searched: 0,
            fields: 0,
            version: Version::Http11,
            length: None,
            chunked: false,
        }
    }

    /// Reads on in a head that begins with the first of `bytes`; once it is complete, tells how long
    /// it is, and how the body behind it is delimited.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(usize, Body)>, Refusal> {
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + offset;
            let line = &bytes[self.line_start..end];
            self.within(end + 1, limits)?;
            self.begins(line)?;
            let Some((b'\r', line)) = line.split_last() else {
                return Err(Refusal::LINE_END);
            };
            self.searched = end + 1;
            self.line_start = end + 1;
            match self.line {
                Line::Before if line.is_empty() => self.line = Line::First,
                Line::Before | Line::First => {
                    self.version = request_line::check(line, limits)?;
                    self.line = Line::Field;
                }
                Line::Field if line.is_empty() => return Ok(Some((end + 1, self.body()))),
                Line::Field => self.field(line, limits)?,
            }
        }
        self.searched = bytes.len();
        self.within(bytes.len(), limits)?;
        self.begins(&bytes[self.line_start..])?;
        Ok(None)
    }

    /// Checks the length up to here, before what stands there is looked at.
    fn within(&self, len: usize, limits: &Limits) -> Result<(), Refusal> {
        let line_len = len - self.line_start;
        let line_max = limits.uri_bytes_max + LINE_BYTES_BESIDE_TARGET;
        if self.line != Line::Field && line_len > line_max {
            return Err(Refusal::TARGET_LENGTH);
        }
        if len > limits.head_bytes_max {
            return Err(Refusal::HEAD_LENGTH);
        }
        Ok(())
    }

    /// What begins as no request does will not become one: it is not waited for.
    fn begins(&self, line: &[u8]) -> Result<(), Refusal> {
        let sound = match (self.line, line) {
            (_, []) => true,
            (Line::Before, b"\r") => true,
            (Line::Before | Line::First, [first, ..]) => field::is_token(*first),
            (Line::Field, _) => true,
        };
        if sound {
            Ok(())
        } else {
            Err(Refusal::REQUEST_LINE)
        }
    }

    fn field(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let (name, value) = field::split(line)?;
        self.fields += 1;
        if self.fields > limits.fields_max {
            return Err(Refusal::FIELD_COUNT);
        }
        match field::framing(name) {
            None => {}
            Some(Framing::Alias) => return Err(Refusal::ALIAS),
            Some(Framing::ContentLength) => {
                let given = length(value).ok_or(Refusal::LENGTH)?;
                if self.length.replace(given).is_some() {
                    return Err(Refusal::LENGTH);
                }
            }
            Some(Framing::TransferEncoding) => {
                if self.chunked || self.version == Version::Http10 || value.is_empty() {
                    return Err(Refusal::TWO_ENCODINGS);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::ENCODING);
                }
                self.chunked = true;
            }
        }
        if self.chunked && self.length.is_some() {
            return Err(Refusal::TWO_LENGTHS);
        }
        Ok(())
    }

    fn body(&self) -> Body {
        match self.length {
            _ if self.chunked => Body::Chunked,
            None | Some(0) => Body::None,
            Some(length) => Body::Length(length),
        }
    }
}

/// Digits and nothing else; of 18, so that no sum of lengths overflows.
fn length(value: &[u8]) -> Option<u64> {
    let sound = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| sound)?;
    text.parse().ok()
}
