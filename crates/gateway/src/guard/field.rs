//! What a line of a head may look like.
//!
//! Source: RFC 9110, section 5.

use super::Refusal;

/// Divides a line into a name and a value without the white space around it.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if let Some(b' ' | b'\t') = line.first() {
        return Err(Refusal::FOLD);
    }
    let name_len = line.iter().position(|byte| !is_token(*byte));
    match name_len {
        Some(len) if len > 0 && line[len] == b':' => {
            let value = &line[len + 1..];
            if !is_value(value) {
                return Err(Refusal::FIELD_VALUE);
            }
            Ok((&line[..len], trimmed(value)))
        }
        _ => Err(Refusal::FIELD_NAME),
    }
}

/// Whether a byte may stand in a name or a method.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Without an early exit, so that the compiler takes many bytes at a time.
fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .fold(true, |sound, byte| sound & is_value_byte(*byte))
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The fields that decide where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    ContentLength,
    TransferEncoding,
    /// Neither, but what a server takes for one that maps `_` or `.` to `-`, as with names of
    /// environment variables.
    Alias,
}

/// Whether this is the name of a field that decides where a message ends.
pub(super) fn framing(name: &[u8]) -> Option<Framing> {
    // Most names differ from both in their length.
    let (wanted, found): (&[u8], _) = match name.len() {
        14 => (b"content-length", Framing::ContentLength),
        17 => (b"transfer-encoding", Framing::TransferEncoding),
        _ => return None,
    };
    if name.eq_ignore_ascii_case(wanted) {
        return Some(found);
    }
    let dashed = name.iter().map(|byte| match byte {
        b'_' | b'.' => b'-',
        byte => byte.to_ascii_lowercase(),
    });
    dashed.eq(wanted.iter().copied()).then_some(Framing::Alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_told_apart_and_judged() {
        for (line, found) in [
            (&b"a:b"[..], Ok((&b"a"[..], &b"b"[..]))),
            (b"A-b_c.d: \t x y\t ", Ok((b"A-b_c.d", b"x y"))),
            (b"a:", Ok((b"a", b""))),
            (b"a::", Ok((b"a", b":"))),
            (b"a:\xff\tb", Ok((b"a", b"\xff\tb"))),
            (b"a : b", Err(Refusal::FIELD_NAME)),
            (b"a\t: b", Err(Refusal::FIELD_NAME)),
            (b": b", Err(Refusal::FIELD_NAME)),
            (b"a", Err(Refusal::FIELD_NAME)),
            (b"\xffa: b", Err(Refusal::FIELD_NAME)),
            (b" a: b", Err(Refusal::FOLD)),
            (b"\tb", Err(Refusal::FOLD)),
            (b"a: b\0", Err(Refusal::FIELD_VALUE)),
            (b"a: b\rc", Err(Refusal::FIELD_VALUE)),
            (b"a: \x0b", Err(Refusal::FIELD_VALUE)),
            (b"a: \x7f", Err(Refusal::FIELD_VALUE)),
        ] {
            assert_eq!(split(line), found, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn framing_is_recognised_in_every_spelling() {
        for (name, found) in [
            ("Content-LENGTH", Some(Framing::ContentLength)),
            ("transfer-encoding", Some(Framing::TransferEncoding)),
            ("content_length", Some(Framing::Alias)),
            ("Transfer.Encoding", Some(Framing::Alias)),
            ("content-lengths", None),
            ("contents-length", None),
            ("x-forwarded-for", None),
        ] {
            assert_eq!(framing(name.as_bytes()), found, "{name}");
        }
    }
}
