use std::sync::Arc;
use std::time::SystemTime;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::input::Refused;
use crate::config::UNMATCHED;
use crate::exchange::Peer;
use crate::guard::Refusal;
use crate::problem::Problem;
use crate::record::{Entry, Record};
use crate::request_id::{self, Ids};
use crate::router::ALLOWED;
use crate::worker::Worker;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.cause, refusal.detail)
    }
}

/// Answers a request that hyper is not shown, and records it as the others are. The connection is
/// to be closed afterwards.
pub(super) async fn answer(
    io: &mut (impl AsyncWrite + Unpin),
    refused: &Refused,
    peer: &Peer,
    worker: &Worker,
) {
    // Nothing is kept for this: it is rare, unless someone wants it to be costly, and is cheap.
    let id = Ids::new().next();
    let recorder = worker.recorder(&Arc::from(UNMATCHED));
    let (method, path) = first_line(&refused.seen);
    let entry = Entry {
        id: id.clone(),
        trace: None,
        client: peer.address,
        host: None,
        path,
    };
    let is_head = method == Method::HEAD;
    let record = Record::refused(&recorder, worker.clock().now(), method, entry);

    let mut response = Problem::from(refused.refusal).response(&id);
    record.answered(&mut response);
    let (parts, body) = response.into_parts();
    // The body is at hand, and so is the end of the record.
    let Ok(body) = body.collect().await else {
        return;
    };
    let body = body.to_bytes();
    let mut fields = parts.headers;
    fields.insert(request_id::NAME, id);
    fields.insert(header::CONTENT_LENGTH, body.len().into());
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if parts.status == http::StatusCode::METHOD_NOT_ALLOWED {
        fields.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    }
    let now = SystemTime::UNIX_EPOCH + worker.clock().unix_time();
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        fields.insert(header::DATE, date);
    }

    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(parts.status.as_str().as_bytes());
    text.push(b' ');
    let reason = parts.status.canonical_reason().unwrap_or("Error");
    text.extend_from_slice(reason.as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in &fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    if !is_head {
        text.extend_from_slice(&body);
    }
    // Nothing to do about an error: the client is gone.
    let _ = io.write_all(&text).await;
}

/// Method and path of what began as a request, as far as they are sound. Without a method, `-`.
fn first_line(seen: &[u8]) -> (Method, Option<PathAndQuery>) {
    let seen = seen.trim_ascii_start();
    let line = seen.split(|byte| *byte == b'\r' || *byte == b'\n').next();
    let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let path = words.next().filter(|path| path.starts_with(b"/"));
    let path = path.and_then(|path| PathAndQuery::try_from(path).ok());
    let unknown = || Method::from_bytes(b"-").unwrap_or_default();
    (method.unwrap_or_else(unknown), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_tells_what_is_sound_of_the_first_line() {
        for (seen, method, path) in [
            (&b"GET /a?b HTTP/1.1\r\nx"[..], "GET", "/a?b"),
            (b"\r\nPOST /a\nb", "POST", "/a"),
            (b"POST http://a/ HTTP/1.1\r\n", "POST", ""),
            (b"G(T / HTTP/1.1\r\n", "-", "/"),
            (b"\x16\x03\x01", "-", ""),
            (b"", "-", ""),
        ] {
            let (found, found_path) = first_line(seen);
            assert_eq!(found.as_str(), method, "{seen:?}");
            assert_eq!(
                found_path.map_or(String::new(), |path| path.to_string()),
                path
            );
        }
    }
}
