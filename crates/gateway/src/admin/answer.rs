//! Answers of the admin listener, each with the fields that keep browsers in bounds.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::body::Body;

pub(super) type Answer = Response<Body>;

/// What a browser is told of every answer. A page adds what it needs to its own policy.
const FIELDS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn new(kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static(POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

pub(super) fn text(status: StatusCode, content: &'static str) -> Answer {
    let body = Body::full(Bytes::from_static(content.as_bytes()));
    let mut answer = new("text/plain; charset=utf-8", body);
    *answer.status_mut() = status;
    answer
}

pub(super) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut json) => {
            json.push(b'\n');
            new("application/json", Body::full(json.into()))
        }
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be written",
        ),
    }
}

/// A problem in the form of RFC 9457.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let body = Body::full(Bytes::from(format!("{problem}\n")));
    let mut answer = new("application/problem+json", body);
    *answer.status_mut() = status;
    answer
}
