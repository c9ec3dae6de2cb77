//! How well one route fits a request: the definition that the table is quick at.

use crate::config::{HostPattern, Route};

/// What one route has to do with a host and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is for another host.
    Host,
    /// It is for another path.
    Path,
    /// It fits; of all that do, the greatest wins.
    Fits(Rank),
}

/// How closely a route fits: first by its host, then by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) host: usize,
    pub(crate) path: usize,
}

/// How a route fits a host, without its port and in any case, and a path.
pub(crate) fn fit(route: &Route, host: &str, path: &str) -> Fit {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = match &route.host {
        HostPattern::Any => 0,
        HostPattern::Under(name) if lies_under(&host, name) => 1 + name.len(),
        HostPattern::Exact(name) if host == *name => usize::MAX,
        _ => return Fit::Host,
    };
    let prefix = route.path_prefix.trim_end_matches('/');
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let path = prefix.len();
            Fit::Fits(Rank { host, path })
        }
        _ => Fit::Path,
    }
}

fn lies_under(host: &str, name: &str) -> bool {
    let label = host.strip_suffix(name);
    label.is_some_and(|label| label.ends_with('.'))
}
