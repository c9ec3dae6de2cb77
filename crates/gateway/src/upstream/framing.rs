use http::{HeaderMap, header};

/// Whether the fields of a response leave no doubt where its body ends.
///
/// hyper reads a response with both a length and chunks by its chunks, and one with an encoding that
/// it does not know to the end of the connection, but it leaves the fields as they are. Passed on,
/// they would tell the client another end than the one that comes.
///
/// Source: RFC 9112, section 6.3.
pub(super) fn is_sound(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).into_iter();
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let lengths = (lengths.next(), lengths.next());
    match (lengths, encodings.next(), encodings.next()) {
        ((_, None), None, None) => true,
        ((None, None), Some(encoding), None) => {
            encoding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
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
