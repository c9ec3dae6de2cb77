use http::StatusCode;

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// One word for the log and for metrics.
    pub(crate) cause: &'static str,
    /// What the client is told.
    pub(crate) detail: &'static str,
}

const fn malformed(cause: &'static str, detail: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        cause,
        detail,
    }
}

const fn with_status(status: StatusCode, cause: &'static str, detail: &'static str) -> Refusal {
    Refusal {
        status,
        cause,
        detail,
    }
}

impl Refusal {
    pub(super) const LINE_END: Self = malformed(
        "line_end",
        "lines end with CR LF, and neither stands within one",
    );
    pub(super) const REQUEST_LINE: Self = malformed(
        "request_line",
        "a request begins with a method, a target and HTTP/1.1, one space between them",
    );
    pub(super) const METHOD: Self = with_status(
        StatusCode::NOT_IMPLEMENTED,
        "method_length",
        "the method is longer than any that is known",
    );
    pub(super) const CONNECT: Self = with_status(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "TRACE and CONNECT are not passed on",
    );
    pub(super) const VERSION: Self = with_status(
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "version",
        "the versions spoken here are HTTP/1.1 and HTTP/1.0",
    );
    pub(super) const TARGET: Self = malformed(
        "target",
        "the target is a path with or without a query, or a whole http URL; other characters are \
         percent-encoded, and a fragment is not sent",
    );
    pub(super) const TARGET_LENGTH: Self = with_status(
        StatusCode::URI_TOO_LONG,
        "target_length",
        "the target is too long",
    );
    pub(super) const HEAD_LENGTH: Self = with_status(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_length",
        "the head of the request is too large",
    );
    pub(super) const FIELD_COUNT: Self = with_status(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "field_count",
        "the request has too many header fields",
    );
    pub(super) const FOLD: Self = malformed("fold", "a header field stands on one line");
    pub(super) const FIELD_NAME: Self = malformed(
        "field_name",
        "a header field's name is letters, digits and a few signs, with the colon right behind it",
    );
    pub(super) const FIELD_VALUE: Self = malformed(
        "field_value",
        "a header field's value has no control characters",
    );
    pub(super) const ALIAS: Self = malformed(
        "field_alias",
        "Content-Length and Transfer-Encoding are spelled with a hyphen",
    );
    pub(super) const LENGTH: Self = malformed(
        "content_length",
        "Content-Length stands once, and is one decimal number",
    );
    pub(super) const TWO_LENGTHS: Self = malformed(
        "two_lengths",
        "a request has Content-Length or Transfer-Encoding, not both",
    );
    pub(super) const TWO_ENCODINGS: Self = malformed(
        "transfer_encoding",
        "Transfer-Encoding stands once, and only in HTTP/1.1",
    );
    pub(super) const ENCODING: Self = with_status(
        StatusCode::NOT_IMPLEMENTED,
        "transfer_encoding",
        "the only Transfer-Encoding is chunked",
    );
    pub(super) const CHUNK: Self = malformed(
        "chunk",
        "a chunk is a hexadecimal number, CR LF, so many bytes and CR LF",
    );
    pub(super) const TRAILER: Self = malformed(
        "trailer",
        "a trailer is a header field that says nothing of length, encoding or host, in bounds",
    );
}
