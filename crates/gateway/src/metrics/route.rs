use std::fmt;
use std::sync::OnceLock;

use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;
use super::histogram::{AtomicHistogram, BUCKETS};
use super::labels::{CutLabels, RequestLabels, RouteLabels};

/// The counters of one route.
pub(crate) struct RouteMetrics {
    route: String,
    metrics: Metrics,
    /// Found when first met, so that only combinations that occur are shown.
    cells: [[OnceLock<Counter>; STATUSES.len()]; METHODS.len()],
    pub(crate) latency: AtomicHistogram,
    pub(crate) cut_by_client: Counter,
    pub(crate) cut_by_upstream: Counter,
    pub(crate) in_flight: Gauge,
}

/// What the counters of one route say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteCounts {
    /// Requests answered, by class of status as in [`STATUSES`].
    pub(crate) statuses: [u64; STATUSES.len()],
    /// Requests that ended, by how long they took.
    pub(crate) latency: [u64; BUCKETS],
    /// Responses that did not come to their end.
    pub(crate) cut: u64,
}

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "other",
];
pub(crate) const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

impl RouteMetrics {
    pub(super) fn new(metrics: &Metrics, route: &str) -> Self {
        let cut = |by| {
            metrics.cut.get_or_create_owned(&CutLabels {
                route: route.to_owned(),
                by,
            })
        };
        Self {
            route: route.to_owned(),
            metrics: metrics.clone(),
            cells: Default::default(),
            latency: metrics.latency.get_or_create_owned(&RouteLabels {
                route: route.to_owned(),
            }),
            cut_by_client: cut("client"),
            cut_by_upstream: cut("upstream"),
            in_flight: metrics.in_flight.clone(),
        }
    }

    pub(crate) fn count(&self, method: &Method, status: StatusCode) {
        let method = method_index(method);
        let status = status_index(status);
        let cell = self.cells[method][status].get_or_init(|| {
            self.metrics.requests.get_or_create_owned(&RequestLabels {
                route: self.route.clone(),
                method: METHODS[method],
                status: STATUSES[status],
            })
        });
        cell.inc();
    }

    /// Reads the counters, one after the other: what is counted meanwhile may be in or not.
    pub(crate) fn counts(&self) -> RouteCounts {
        let mut statuses = [0; STATUSES.len()];
        for method in &self.cells {
            for (sum, cell) in statuses.iter_mut().zip(method) {
                *sum += cell.get().map_or(0, Counter::get);
            }
        }
        RouteCounts {
            statuses,
            latency: self.latency.counts(),
            cut: self.cut_by_client.get() + self.cut_by_upstream.get(),
        }
    }
}

fn method_index(method: &Method) -> usize {
    let known = METHODS.iter().position(|name| *name == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

fn status_index(status: StatusCode) -> usize {
    match status.as_u16() / 100 {
        class @ 1..=5 => usize::from(class) - 1,
        _ => STATUSES.len() - 1,
    }
}

/// The series go with the last request that is counted in them.
impl Drop for RouteMetrics {
    fn drop(&mut self) {
        let (metrics, route) = (&self.metrics, || self.route.clone());
        let labels = RouteLabels { route: route() };
        metrics.routes.dropped(&labels, || {
            for (method, cells) in METHODS.into_iter().zip(&self.cells) {
                for (status, cell) in STATUSES.into_iter().zip(cells) {
                    if cell.get().is_some() {
                        metrics.requests.remove(&RequestLabels {
                            route: route(),
                            method,
                            status,
                        });
                    }
                }
            }
            for by in ["client", "upstream"] {
                metrics.cut.remove(&CutLabels { route: route(), by });
            }
            metrics.latency.remove(&labels);
        });
    }
}

impl fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteMetrics")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Balancers;
    use crate::breaker::Breakers;

    #[test]
    fn what_a_client_invents_makes_no_series_of_its_own() {
        let metrics = Metrics::new();
        let route = metrics.route("api");
        for name in ["GET", "BREW", "FOLD", "get"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            route.count(&method, StatusCode::OK);
        }
        assert_eq!(metrics.route("api").counts().statuses, [0, 4, 0, 0, 0, 0]);
        let text = metrics
            .encode(&Breakers::default(), &Balancers::default())
            .unwrap();
        let series: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("stanchion_gateway_requests_total"))
            .collect();
        assert_eq!(series.len(), 2, "{text}");
        assert!(
            series
                .iter()
                .any(|line| line.contains("method=\"other\"") && line.ends_with(" 3"))
        );
    }

    #[test]
    fn series_go_with_the_last_who_uses_them_and_not_before() {
        let metrics = Metrics::new();
        let empty = metrics
            .encode(&Breakers::default(), &Balancers::default())
            .unwrap();
        let route = metrics.route("api");
        let (limit, endpoint) = (
            metrics.limit("api", "plan"),
            metrics.endpoint("main", "a:1"),
        );
        let open = endpoint.opened();
        limit.inc();
        endpoint.failed("stale");
        route.count(&Method::GET, StatusCode::OK);
        // A request under way, when the configuration goes and comes back.
        let request = route.clone();
        drop(route);
        assert_eq!(metrics.route("api").counts().statuses[1], 1);
        drop((request, limit, endpoint));
        assert!(
            metrics
                .encode(&Breakers::default(), &Balancers::default())
                .unwrap()
                .contains("a:1")
        );
        drop(open);
        assert_eq!(
            metrics
                .encode(&Breakers::default(), &Balancers::default())
                .unwrap(),
            empty
        );
    }
}
