//! What the gateway answers itself: problems, in the form of RFC 9457.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::exchange::{Outbound, Response};

/// A reason to answer instead of an upstream. It tells a client what is wrong, and nothing of what
/// lies behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: &'static str,
    /// One word for the log and for metrics.
    pub(crate) cause: &'static str,
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, cause: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            detail,
            cause,
        }
    }

    /// The answer to the request with this id.
    pub(crate) fn response(&self, id: &HeaderValue) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        // An id is visible ASCII without quotes, so nothing here needs escaping.
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"detail\":\"{}\",\
             \"request_id\":\"{}\"}}\n",
            self.status.as_u16(),
            self.detail,
            id.to_str().unwrap_or_default(),
        );
        let mut outbound = Outbound::full(Bytes::from(body));
        outbound.note_mut().cause = Some(self.cause);
        let mut response = Response::new(outbound);
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_its_status_and_the_requests_id() {
        let problem = Problem::new(StatusCode::BAD_GATEWAY, "refused", "no answer");
        let response = problem.response(&HeaderValue::from_static("abc"));
        assert_eq!(response.status(), 502);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(response.body().note().cause, Some("refused"));
    }
}
