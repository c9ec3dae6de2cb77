//! Which route a host and a path belong to.
//!
//! Hosts come first: a route for exactly this host beats one for what lies under a name, the
//! longer of which beats the shorter, and any of them beats a route for every host. Among the
//! routes of one host pattern the longest path prefix wins. A host pattern none of whose prefixes
//! fits is passed over.
//!
//! Prefixes are matched by whole segments, byte for byte: `/api` fits `/api` and `/api/x`, and
//! not `/apix`.

use std::collections::HashMap;

use crate::config::{EncodedSlash, HostPattern, Route};

/// The routes, arranged for finding. Looking one up allocates nothing and takes time in
/// proportion to the labels of the host and the depth of the configured prefixes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    exact: HashMap<Box<str>, Prefixes>,
    under: HashMap<Box<str>, Prefixes>,
    any: Prefixes,
    encoded_slash: EncodedSlash,
}

/// The prefixes of one host pattern, as a tree of segments.
#[derive(Debug, Default)]
struct Prefixes {
    route: Option<usize>,
    children: HashMap<Box<str>, Self>,
}

/// No host name is longer.
const HOST_LEN_MAX: usize = 255;

impl Table {
    /// A table that finds indexes into `routes`.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let prefixes = match &route.host {
                HostPattern::Any => &mut table.any,
                HostPattern::Exact(name) => table.exact.entry(name.as_str().into()).or_default(),
                HostPattern::Under(name) => table.under.entry(name.as_str().into()).or_default(),
            };
            prefixes.insert(&route.path_prefix, index);
        }
        table
    }

    /// Takes another word on encoded slashes; by default they are refused.
    pub(crate) fn with_encoded_slash(mut self, encoded_slash: EncodedSlash) -> Self {
        self.encoded_slash = encoded_slash;
        self
    }

    pub(crate) fn encoded_slash(&self) -> EncodedSlash {
        self.encoded_slash
    }

    /// The route of a host, without its port and in any case, and a path.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<usize> {
        let named = !self.exact.is_empty() || !self.under.is_empty();
        if named && host.len() <= HOST_LEN_MAX {
            let mut buffer = [0; HOST_LEN_MAX];
            let lower = &mut buffer[..host.len()];
            lower.copy_from_slice(host.as_bytes());
            lower.make_ascii_lowercase();
            let lower = std::str::from_utf8(lower).ok()?;
            let lower = lower.strip_suffix('.').unwrap_or(lower);
            if let Some(route) = self.find_named(lower, path) {
                return Some(route);
            }
        }
        self.any.find(path)
    }

    fn find_named(&self, host: &str, path: &str) -> Option<usize> {
        let exact = self
            .exact
            .get(host)
            .and_then(|prefixes| prefixes.find(path));
        if exact.is_some() || self.under.is_empty() {
            return exact;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            let under = self
                .under
                .get(parent)
                .and_then(|prefixes| prefixes.find(path));
            if under.is_some() {
                return under;
            }
            rest = parent;
        }
        None
    }
}

impl Prefixes {
    fn insert(&mut self, prefix: &str, route: usize) {
        let mut node = self;
        for segment in segments(prefix).filter(|segment| !segment.is_empty()) {
            node = node.children.entry(segment.into()).or_default();
        }
        node.route = Some(route);
    }

    fn find(&self, path: &str) -> Option<usize> {
        let mut node = self;
        let mut found = node.route;
        for segment in segments(path) {
            match node.children.get(segment) {
                Some(child) => node = child,
                None => break,
            }
            found = node.route.or(found);
        }
        found
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{BodyLimits, FieldEdits};
    use crate::router::fit::{Fit, fit};

    /// The definition: go through all routes, keep the best that fits.
    fn find_naively(routes: &[Route], host: &str, path: &str) -> Option<usize> {
        let fitting = routes.iter().enumerate();
        let fitting = fitting.filter_map(|(index, route)| match fit(route, host, path) {
            Fit::Fits(rank) => Some((rank, index)),
            Fit::Host | Fit::Path => None,
        });
        fitting.max().map(|(_, index)| index)
    }

    fn route(host: &str, prefix: &str) -> Route {
        Route {
            id: "r".into(),
            host: match host.split_once("*.") {
                _ if host.is_empty() => HostPattern::Any,
                Some((_, name)) => HostPattern::Under(name.to_owned()),
                None => HostPattern::Exact(host.to_owned()),
            },
            path_prefix: prefix.to_owned(),
            upstream: 0,
            limits: Vec::new(),
            strip_prefix: None,
            request_headers: FieldEdits::default(),
            response_headers: FieldEdits::default(),
            breaker: None,
            throttle: None,
            bodies: BodyLimits {
                bytes_max: 0,
                rate_min: 0,
            },
        }
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let table = Table::new(&[route("", "/api")]);
        for (path, found) in [
            ("/api", Some(0)),
            ("/api/", Some(0)),
            ("/api/x", Some(0)),
            ("/apix", None),
            ("/", None),
            ("/API", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(table.find("a.test", path), found, "{path}");
        }
    }

    #[test]
    fn the_nearest_host_pattern_wins_and_one_without_a_path_is_passed_over() {
        let table = Table::new(&[
            route("", "/"),
            route("*.test", "/"),
            route("*.b.test", "/only"),
            route("a.b.test", "/only"),
        ]);
        for (host, path, found) in [
            ("a.b.test", "/only/x", 3),
            ("A.B.TEST.", "/only", 3),
            ("c.b.test", "/only", 2),
            ("b.test", "/only", 1),
            ("a.b.test", "/", 1),
            ("test", "/", 0),
            ("", "/", 0),
        ] {
            assert_eq!(table.find(host, path), Some(found), "{host} {path}");
        }
    }

    proptest! {
        #[test]
        fn the_table_finds_what_the_definition_finds(
            routes in proptest::collection::hash_set(
                ("(\\*\\.)?([ab]\\.){0,2}[ab]|", "(/[ab]{1,2}){0,3}"), 0..12),
            host in "([abAB]\\.){0,3}[ab]\\.?",
            path in "(/[ab]{0,2}){1,4}",
        ) {
            let slash = |prefix: String| if prefix.is_empty() { "/".to_owned() } else { prefix };
            let routes: Vec<Route> = routes
                .into_iter()
                .map(|(host, prefix)| route(&host, &slash(prefix)))
                .collect();
            let found = Table::new(&routes).find(&host, &path);
            prop_assert_eq!(found, find_naively(&routes, &host, &path));
        }
    }
}
