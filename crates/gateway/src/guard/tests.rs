use super::*;

const LIMITS: Limits = Limits {
    head_bytes_max: 400,
    fields_max: 4,
    uri_bytes_max: 100,
};

fn look(bytes: &[u8]) -> Verdict {
    Guard::new(LIMITS).look(bytes)
}

/// The cause of a refusal, and how much passed before it.
fn refused(text: &str) -> (usize, &'static str) {
    let verdict = look(text.as_bytes());
    match verdict.rest {
        Rest::Refuse(refusal) => (verdict.pass, refusal.cause),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn whole_requests_pass_one_after_the_other() {
    for text in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\ncontent-length: \t004 \r\n\r\nbody",
        "POST / HTTP/1.1\r\ntransfer-encoding: \tChunked\t\r\n\r\n\
         4\r\nbody\r\n00a;x=\"y\"\r\n\r\n\n\n\n\n\n\n\n\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\nx-sum: 7\r\nhosts: 1\r\n\r\n",
    ] {
        let twice = text.repeat(2);
        let verdict = look(twice.as_bytes());
        assert_eq!(verdict.pass, twice.len(), "{text:?}");
        assert_eq!(verdict.rest, Rest::Wait);
    }
}

#[test]
fn an_unfinished_head_waits_and_an_unfinished_body_passes() {
    for (text, pass) in [
        ("", 0),
        ("\r", 0),
        ("G", 0),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r", 0),
        ("GET / HTTP/1.1\r\n\r\nGET / HT", 18),
        ("POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbo", 40),
        (
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbo",
            52,
        ),
    ] {
        let verdict = look(text.as_bytes());
        assert_eq!((verdict.pass, verdict.rest), (pass, Rest::Wait), "{text:?}");
    }
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    for (fields, cause) in [
        (
            "content-length: 4\r\ntransfer-encoding: chunked",
            "two_lengths",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 4",
            "two_lengths",
        ),
        ("content-length: 4\r\ncontent-length: 4", "content_length"),
        ("content-length: 4, 4", "content_length"),
        ("content-length: +4", "content_length"),
        ("content-length: 0x4", "content_length"),
        ("content-length: 4 4", "content_length"),
        ("content-length:", "content_length"),
        ("content-length: 9999999999999999999", "content_length"),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer_encoding",
        ),
        ("transfer-encoding: chunked, identity", "transfer_encoding"),
        ("transfer-encoding: gzip, chunked", "transfer_encoding"),
        ("transfer-encoding: xchunked", "transfer_encoding"),
        ("transfer-encoding: \"chunked\"", "transfer_encoding"),
        ("transfer-encoding:", "transfer_encoding"),
        ("transfer-encoding: \x0bchunked", "field_value"),
        ("content_length: 4", "field_alias"),
        ("transfer.encoding: chunked", "field_alias"),
        ("content-length : 4", "field_name"),
        ("x: 1\r\n folded", "fold"),
        (" x: 1", "fold"),
        ("x: 1\ny: 2", "line_end"),
        ("x: 1\ry: 2", "field_value"),
        ("x: \0", "field_value"),
        ("a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1", "field_count"),
    ] {
        let first = "GET / HTTP/1.1\r\n\r\n";
        let text = format!("{first}POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(refused(&text), (first.len(), cause), "{fields:?}");
    }
    for (text, cause) in [
        (
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer_encoding",
        ),
        ("GET /\r\n\r\n", "request_line"),
        ("GET / HTTP/1.1\n\n", "line_end"),
        ("\nGET / HTTP/1.1\r\n\r\n", "line_end"),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "request_line"),
    ] {
        assert_eq!(refused(text), (0, cause), "{text:?}");
    }
}

#[test]
fn what_no_request_begins_with_is_not_waited_for() {
    // The first bytes of TLS.
    assert_eq!(refused("\x16\x03\x01").1, "request_line");
    assert_eq!(refused("\r\n\x16").1, "request_line");
    assert_eq!(refused("\rG").1, "request_line");
}

#[test]
fn a_head_that_is_too_large_is_refused_before_it_ends() {
    let long = format!("GET /{}", "a".repeat(LIMITS.uri_bytes_max + 60));
    assert_eq!(refused(&long).1, "target_length");
    let long = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(LIMITS.head_bytes_max));
    assert_eq!(refused(&long).1, "head_length");
    // And where it does end in the same bytes.
    assert_eq!(refused(&(long + "\r\n\r\n")).1, "head_length");
    let most = "GET / HTTP/1.1\r\nx: \r\n\r\n".len();
    let fill = "a".repeat(LIMITS.head_bytes_max - most);
    let full = format!("GET / HTTP/1.1\r\nx: {fill}\r\n\r\n");
    assert_eq!(look(full.as_bytes()).pass, LIMITS.head_bytes_max);
}

const HEAD: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";

const BROKEN: [&str; 24] = [
    "4\nbody",
    "4\r\nbody\n",
    "4\r\nbodyx",
    "4\r\nbody\r\r",
    "g\r\n",
    "\r\n",
    ";x\r\n",
    " 4\r\n",
    "4 \r\n",
    "4\t;x\r\n",
    "+4\r\n",
    "-1\r\n",
    "0x4\r\n",
    "4;x\ny\r\n",
    "4;x\0\r\n",
    "4\rbody",
    "1000000000000000\r\n",
    "0000000000000000\r\n",
    "0\n",
    "0\r\n\n",
    "0\r\nx\r\n",
    "0\r\n x: 1\r\n",
    "0\r\nx: 1\n",
    "0\r\n\rx",
];

#[test]
fn a_broken_body_is_refused_with_its_head_or_breaks_the_connection() {
    for body in BROKEN {
        assert_eq!(refused(&format!("{HEAD}{body}")).0, 0, "{body:?}");
        let mut guard = Guard::new(LIMITS);
        assert_eq!(guard.look(HEAD.as_bytes()).pass, HEAD.len());
        assert!(!guard.is_between_messages());
        let rest = guard.look(body.as_bytes()).rest;
        assert!(matches!(rest, Rest::Break(_)), "{body:?}");
    }
}

#[test]
fn trailers_stay_in_bounds_and_change_nothing() {
    for trailers in [
        "content-length: 4\r\n",
        "Transfer-Encoding: chunked\r\n",
        "content_length: 4\r\n",
        "HOST: a\r\n",
        "x: 1\ry\r\n",
        "a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\n",
        &format!("x: {}\r\n", "a".repeat(LIMITS.head_bytes_max)),
    ] {
        let text = format!("{HEAD}0\r\n{trailers}\r\n");
        assert_eq!(refused(&text).1, "trailer", "{trailers:?}");
    }
    let extensions = format!("{HEAD}1;{}\r\n", "a".repeat(5_000));
    assert_eq!(refused(&extensions).1, "chunk");
}
