//! Compares what passes the guard with what hyper makes of it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::source::guard::{Guard, Limits, Rest};

const LIMITS: Limits = Limits {
    head_bytes_max: 32 * 1024,
    fields_max: 100,
    uri_bytes_max: 8 * 1024,
};

/// One message as the guard divided it off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    head: Vec<u8>,
    /// As it came, with the lines around chunks.
    body: Vec<u8>,
    ended: bool,
}

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guarded {
    messages: Vec<Message>,
    cause: Option<&'static str>,
}

/// A request as hyper saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    chunked: bool,
    body: Vec<u8>,
}

/// Fails unless hyper accepts what passes the guard, and sees the same requests with the same bodies.
pub(crate) fn check(bytes: &[u8]) {
    let guarded = byte_by_byte(bytes);
    let mut passed = Vec::new();
    for message in &guarded.messages {
        passed.extend_from_slice(&message.head);
        passed.extend_from_slice(&message.body);
    }
    let (seen, answers) = hyper_sees(passed);
    let context = || format!("{guarded:?}\nhyper saw {seen:?}\nand said {answers:?}");

    // A request that is not at its end is not waited for.
    let ended = guarded.messages.iter().filter(|message| message.ended);
    let mut ended = ended.peekable();
    for seen in &seen {
        let Some(message) = ended.next() else {
            panic!("hyper saw a request that the guard did not: {}", context());
        };
        let line = message
            .head
            .split(|byte| *byte == b'\r')
            .find(|line| line.len() > 1);
        let line = String::from_utf8_lossy(line.unwrap())
            .trim_start()
            .to_owned();
        let version = line.rsplit(' ').next().unwrap();
        assert!(
            seen.line.ends_with(version) && seen.line.split(' ').next() == line.split(' ').next(),
            "{}",
            context()
        );
        let body = if seen.chunked {
            unchunked(&message.body)
        } else {
            message.body.clone()
        };
        assert_eq!(seen.body, body, "{}", context());
    }
    let closes = answers.contains("connection: close") || answers.contains("HTTP/1.0 200");
    assert!(
        closes || ended.peek().is_none(),
        "hyper missed a request: {}",
        context()
    );
    let refused = ["400", "414", "431", "501", "505"];
    for status in refused {
        assert!(
            !answers.contains(&format!("HTTP/1.1 {status}")),
            "hyper refused what passed: {}",
            context()
        );
    }
}

/// Fails unless the guard says the same of the bytes in pieces as of one after the other.
pub(crate) fn check_cuts(bytes: &[u8], mut cuts: Vec<usize>) {
    let single = byte_by_byte(bytes);
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut guard = Guard::new(LIMITS);
    let (mut passed, mut from) = (Vec::new(), 0);
    let mut cause = None;
    for cut in cuts {
        let verdict = guard.look(&bytes[from..cut]);
        passed.extend_from_slice(&bytes[from..from + verdict.pass]);
        from += verdict.pass;
        match verdict.rest {
            Rest::Wait => {}
            Rest::Refuse(refusal) | Rest::Break(refusal) => {
                cause = Some(refusal.cause);
                break;
            }
        }
    }
    assert_eq!(cause, single.cause);
    let one = |message: &Message| [message.head.as_slice(), &message.body].concat();
    let ended: Vec<u8> = single
        .messages
        .iter()
        .filter(|m| m.ended)
        .flat_map(one)
        .collect();
    let all: Vec<u8> = single.messages.iter().flat_map(one).collect();
    // A request whose body is broken goes as a whole, where it came as a whole.
    assert!(passed.starts_with(&ended) && all.starts_with(&passed));
    if cause.is_none() {
        assert_eq!(passed, all);
    }
}

fn byte_by_byte(bytes: &[u8]) -> Guarded {
    let mut guard = Guard::new(LIMITS);
    let mut guarded = Guarded {
        messages: Vec::new(),
        cause: None,
    };
    let (mut from, mut in_body) = (0, false);
    for end in 1..=bytes.len() {
        let verdict = guard.look(&bytes[from..end]);
        let passed = bytes[from..from + verdict.pass].to_vec();
        from += verdict.pass;
        match verdict.rest {
            Rest::Wait => {}
            Rest::Refuse(refusal) | Rest::Break(refusal) => {
                guarded.cause = Some(refusal.cause);
                break;
            }
        }
        if passed.is_empty() {
            continue;
        }
        let ended = guard.is_between_messages();
        match guarded.messages.last_mut() {
            Some(message) if in_body => {
                message.body.extend(passed);
                message.ended = ended;
            }
            _ => guarded.messages.push(Message {
                head: passed,
                body: Vec::new(),
                ended,
            }),
        }
        in_body = !ended;
    }
    guarded
}

fn hyper_sees(bytes: Vec<u8>) -> (Vec<Seen>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut client, server) = tokio::io::duplex(1024 * 1024);
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(|request| see(request, seen.clone()));
        let connection = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .max_header_size(64 * 1024)
            // The end of the input is no reason to drop the last request.
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        // Its error is that the last request is not at its end.
        let _ = connection.await;
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        (std::mem::take(&mut *seen.lock().unwrap()), answers)
    })
}

async fn see(
    request: http::Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<http::Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let chunked = head.headers.contains_key("transfer-encoding");
    if let Ok(body) = body.collect().await {
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let body = body.to_bytes().to_vec();
        seen.lock().unwrap().push(Seen {
            line,
            chunked,
            body,
        });
    }
    Ok(http::Response::new(Empty::new()))
}

/// The data of a chunked body that is known to be sound.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = body.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = body[..line].split(|byte| *byte == b';').next().unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
        if size == 0 {
            return data;
        }
        let start = line + 2;
        data.extend_from_slice(&body[start..start + size]);
        body = &body[start + size + 2..];
    }
}
