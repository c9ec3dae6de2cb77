use std::fmt;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

/// The most header fields in a question.
const FIELDS_MAX: usize = 100;

/// A request that nobody sends.
#[derive(Debug)]
pub(in crate::admin) struct Question {
    pub(super) request: Request<()>,
    /// The other end of its connection.
    pub(super) client: IpAddr,
}

/// What is wrong with a question: the parameter, what was given, and what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) struct QuestionError(String);

impl Question {
    /// Reads `url`, and if there `method`, `header` and `client`, from a query. Without `client`,
    /// whoever asks is the client.
    pub(in crate::admin) fn new(query: &str, asking: IpAddr) -> Result<Self, QuestionError> {
        let mut request = Request::new(());
        let (mut url, mut method, mut client) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "url" => &mut url,
                "method" => &mut method,
                "client" => &mut client,
                "header" => {
                    let (name, value) = field(&value)?;
                    if request.headers().len() == FIELDS_MAX {
                        return Err(QuestionError::new(
                            "header",
                            "too many",
                            "at most 100 fields",
                        ));
                    }
                    request.headers_mut().append(name, value);
                    continue;
                }
                _ => {
                    let known = "url, method, header or client";
                    return Err(QuestionError::new("a parameter", &name, known));
                }
            };
            if slot.is_some() {
                return Err(QuestionError::new(&name, &value, "only one"));
            }
            *slot = Some(value);
        }
        let url = url.unwrap_or_default();
        let (target, host) = split(&url)
            .ok_or_else(|| QuestionError::new("url", &url, "a path, or a URL of http or https"))?;
        *request.uri_mut() = target;
        if let Some(host) = host {
            // As a client would, unless it is told to name another host.
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        if let Some(method) = method {
            *request.method_mut() = Method::from_bytes(method.as_bytes())
                .map_err(|_| QuestionError::new("method", &method, "a method such as GET"))?;
        }
        let client = match client {
            None => asking,
            Some(client) => client
                .parse()
                .map_err(|_| QuestionError::new("client", &client, "an address"))?,
        };
        Ok(Self { request, client })
    }
}

/// What a client makes of a URL: the target, and the host.
fn split(url: &str) -> Option<(Uri, Option<HeaderValue>)> {
    let uri: Uri = url.parse().ok()?;
    match uri.scheme_str() {
        None if url.starts_with('/') || url == "*" => Some((uri, None)),
        Some("http" | "https") => {
            let authority = uri.authority()?.as_str();
            let host = authority.rsplit('@').next()?.parse().ok()?;
            let target = uri.path_and_query()?.clone().into();
            Some((target, Some(host)))
        }
        _ => None,
    }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), QuestionError> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = name.trim().parse().ok()?;
        let value = value.trim().parse().ok()?;
        Some((name, value))
    });
    parsed.ok_or_else(|| QuestionError::new("header", text, "a field such as x-api-key: abc"))
}

impl QuestionError {
    fn new(parameter: &str, given: &str, allowed: &str) -> Self {
        Self(format!("{parameter}: {given:?} given, expected {allowed}"))
    }
}

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_cannot_be_read_is_told_what_is_wrong() {
        let asking = "192.0.2.1".parse().unwrap();
        for (query, said) in [
            (
                "",
                "url: \"\" given, expected a path, or a URL of http or https",
            ),
            (
                "url=ftp://a/",
                "url: \"ftp://a/\" given, expected a path, or a URL of http or https",
            ),
            (
                "url=a%20b",
                "url: \"a b\" given, expected a path, or a URL of http or https",
            ),
            ("url=/&url=/x", "url: \"/x\" given, expected only one"),
            (
                "url=/&method=G%20T",
                "method: \"G T\" given, expected a method such as GET",
            ),
            (
                "url=/&client=me",
                "client: \"me\" given, expected an address",
            ),
            (
                "url=/&header=x",
                "header: \"x\" given, expected a field such as x-api-key: abc",
            ),
            (
                "url=/&q=1",
                "a parameter: \"q\" given, expected url, method, header or client",
            ),
        ] {
            let error = Question::new(query, asking).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
        let many = format!("url=/{}", "&header=a:b".repeat(101));
        assert!(Question::new(&many, asking).is_err());
    }
}
