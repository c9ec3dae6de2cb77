//! Changes the path and the fields of requests, and the fields of responses, as a route says.

use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};

use crate::config::{FieldEdits, Route};
use crate::exchange::{Request, Response};

/// What one route changes; nothing, mostly.
#[derive(Debug)]
pub(crate) struct Rewrite {
    strip_prefix: Option<Box<str>>,
    request: FieldEdits,
    response: FieldEdits,
}

impl Rewrite {
    pub(crate) fn new(route: &Route) -> Self {
        Self {
            strip_prefix: route.strip_prefix.clone(),
            request: route.request_headers.clone(),
            response: route.response_headers.clone(),
        }
    }

    /// Changes what the server gets.
    pub(crate) fn request(&self, request: &mut Request) {
        if let Some(prefix) = &self.strip_prefix
            && let Some(uri) = stripped(request.uri(), prefix)
        {
            *request.uri_mut() = uri;
        }
        edit(request.headers_mut(), &self.request);
    }

    /// Whether there is anything to change of what the client gets.
    pub(crate) fn changes_responses(&self) -> bool {
        !self.response.is_empty()
    }

    /// Changes what the client gets.
    pub(crate) fn response(&self, mut response: Response) -> Response {
        edit(response.headers_mut(), &self.response);
        response
    }
}

/// A target without the first segments of its path; `None` where it does not begin with them.
pub(crate) fn stripped(uri: &Uri, prefix: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let target: PathAndQuery = match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok()?,
        None => path.parse().ok()?,
    };
    Some(Uri::from(target))
}

fn edit(headers: &mut HeaderMap, edits: &FieldEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_is_stripped_by_whole_segments() {
        for (target, left) in [
            ("/api", Some("/")),
            ("/api/", Some("/")),
            ("/api?x=/api", Some("/?x=/api")),
            ("/api/users/7?q", Some("/users/7?q")),
            ("/api/api", Some("/api")),
            ("/api/%2F", Some("/%2F")),
            ("/api?", Some("/?")),
            ("/apix", None),
            ("/", None),
            ("*", None),
        ] {
            let uri = stripped(&target.parse().unwrap(), "/api");
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), left, "{target}");
        }
    }

    fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let fields = headers.iter();
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        // Stable, so values of one name keep their order.
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields
    }

    proptest! {
        /// The definition: as on a list of fields.
        #[test]
        fn fields_are_removed_then_set_then_added(
            given in proptest::collection::vec(("[a-d]", "[0-9]"), 0..8),
            remove in proptest::collection::vec("[a-e]", 0..3),
            set in proptest::collection::btree_map("[a-e]", "[a-z]", 0..3),
            add in proptest::collection::btree_map("[a-e]", "[A-Z]", 0..3),
        ) {
            let name = |name: &String| name.parse::<HeaderName>().unwrap();
            let value = |value: &String| HeaderValue::from_str(value).unwrap();
            let edits = FieldEdits {
                remove: remove.iter().map(name).collect(),
                set: set.iter().map(|(n, v)| (name(n), value(v))).collect(),
                add: add.iter().map(|(n, v)| (name(n), value(v))).collect(),
            };
            let mut headers = HeaderMap::new();
            for (n, v) in &given {
                headers.append(name(n), value(v));
            }
            edit(&mut headers, &edits);

            let mut wanted = given;
            wanted.retain(|(name, _)| !remove.contains(name) && !set.contains_key(name));
            wanted.extend(set);
            wanted.extend(add);
            wanted.sort_by(|(one, _), (other, _)| one.cmp(other));
            prop_assert_eq!(fields(&headers), wanted);
        }
    }
}
