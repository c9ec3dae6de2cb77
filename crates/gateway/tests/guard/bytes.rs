//! Bytes that are nearly requests.

use proptest::prelude::*;

/// Up to four requests, most of them sound, with a few bytes changed in some.
pub(crate) fn requests() -> impl Strategy<Value = Vec<u8>> {
    let whole = proptest::collection::vec(request(), 1..5).prop_map(|all| all.concat());
    let change = (any::<prop::sample::Index>(), change());
    let changes = prop_oneof![
        2 => Just(Vec::new()),
        3 => proptest::collection::vec(change, 1..4),
    ];
    (whole, changes).prop_map(|(mut bytes, changes)| {
        for (place, change) in changes {
            let at = place.index(bytes.len() + 1);
            match change {
                Change::Insert(text) => drop(bytes.splice(at..at, text.bytes())),
                Change::Cut => bytes.truncate(at),
                Change::Remove => drop(bytes.drain(at..bytes.len().min(at + 1))),
                Change::Set(byte) if at < bytes.len() => bytes[at] = byte,
                Change::Set(_) => {}
            }
        }
        bytes
    })
}

#[derive(Clone, Debug)]
enum Change {
    Insert(&'static str),
    Set(u8),
    Remove,
    Cut,
}

fn change() -> impl Strategy<Value = Change> {
    let text = prop::sample::select(vec![
        "\r",
        "\n",
        "\r\n",
        " ",
        "\t",
        ":",
        ";",
        "0",
        "f",
        "\0",
        "\x0b",
        "%2f",
        "#",
        "?",
        "\\",
        "\u{80}",
        ",",
        "HTTP/1.1",
        "\r\n\r\n",
        "\r\ncontent-length: 3",
        "\r\ntransfer-encoding: chunked",
        "0\r\n\r\n",
    ]);
    prop_oneof![
        5 => text.prop_map(Change::Insert),
        2 => any::<u8>().prop_map(Change::Set),
        1 => Just(Change::Remove),
        1 => Just(Change::Cut),
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        select(&[
            "GET", "POST", "HEAD", "OPTIONS", "get", "M-SEARCH", "CONNECT", "PRI",
        ]),
        select(&[
            "/",
            "/a/b?c=d",
            "*",
            "http://a.test/x",
            "https://[::1]:80?y",
            "//a",
            "/a#b",
            "a",
            "/%2e%2E/[x]|y^",
            "http://u@a/",
            "/?{}",
            "/\"",
            "HTTP://a.test:",
            "http://a.test:70000/",
        ]),
        select(&[
            "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2",
        ]),
    );
    let field = select(&[
        "host: a.test",
        "connection: keep-alive",
        "Connection: close",
        "expect: 100-continue",
        "upgrade: h2c",
        "x-empty:",
        "x: \t y \t",
        "x: \u{e9}",
        "te: trailers",
        "transfer-encoding: chunked",
        "content-length: 0",
        "content_length: 4",
        "a-rather-long-name-of-a-field: 1",
    ]);
    let body = prop_oneof![
        2 => Just((String::new(), String::new())),
        2 => "[a-z\r\n]{0,12}".prop_map(|body| {
            (format!("content-length: {}\r\n", body.len()), body)
        }),
        3 => chunks().prop_map(|body| ("Transfer-Encoding: chunked\r\n".to_owned(), body)),
    ];
    let fields = proptest::collection::vec(field, 0..4);
    (line, fields, body).prop_map(|((method, target, version), fields, (framing, body))| {
        let mut text = format!("{method} {target} {version}\r\n");
        for field in fields {
            text += field;
            text += "\r\n";
        }
        text += &framing;
        text += "\r\n";
        text += &body;
        text.into_bytes()
    })
}

fn chunks() -> impl Strategy<Value = String> {
    let chunk = (
        "[a-z\r\n]{1,20}",
        select(&["", ";x", ";a=\"b\";c", ";"]),
        0..3_usize,
    );
    let trailers = select(&[
        "",
        "",
        "",
        "x-sum: 7\r\n",
        "a:\r\nb: \t1\r\n",
        "host: x\r\n",
    ]);
    (proptest::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
        let mut text = String::new();
        for (data, extension, zeros) in chunks {
            text += &"0".repeat(zeros);
            text += &format!("{:X}{extension}\r\n{data}\r\n", data.len());
        }
        text + "0\r\n" + trailers + "\r\n"
    })
}

fn select(from: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop::sample::select(from.to_vec())
}
