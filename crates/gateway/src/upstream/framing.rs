use http::{HeaderMap, header};

use crate::fields::{self, Found};

/// Whether the fields of a response leave no doubt where its body ends.
///
/// hyper reads a response with both a length and chunks by its chunks, and one with an encoding that
/// it does not know to the end of the connection, but it leaves the fields as they are. Passed on,
/// they would tell the client another end than the one that comes.
///
/// Source: RFC 9112, section 6.3.
pub(super) fn is_sound(headers: &HeaderMap) -> bool {
    if fields::all_differ(headers) && !fields::has(headers, &header::TRANSFER_ENCODING) {
        return true;
    }
    let length = fields::find(headers, &header::CONTENT_LENGTH);
    let encoding = fields::find(headers, &header::TRANSFER_ENCODING);
    match (length, encoding) {
        (Found::None | Found::One(_), Found::None) => true,
        (Found::None, Found::One(encoding)) => encoding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn one_length_or_chunks_or_neither() {
        const LENGTH: HeaderName = header::CONTENT_LENGTH;
        const ENCODING: HeaderName = header::TRANSFER_ENCODING;
        for (fields, sound) in [
            (&[][..], true),
            (&[(LENGTH, "4")], true),
            (&[(ENCODING, "Chunked")], true),
            (&[(LENGTH, "4"), (LENGTH, "4")], false),
            (&[(LENGTH, "4"), (ENCODING, "chunked")], false),
            (&[(ENCODING, "chunked"), (ENCODING, "chunked")], false),
            (&[(ENCODING, "gzip, chunked")], false),
            (&[(ENCODING, "identity")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(is_sound(&headers), sound, "{fields:?}");
        }
    }
}
