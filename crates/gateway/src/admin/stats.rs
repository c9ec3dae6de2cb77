//! The figures of the live page.
//!
//! Requests only count. Once a second the admin thread reads all counters, and the difference to an
//! earlier reading is what happened between.

mod quantile;
mod report;
mod sources;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use stanchion_core::Instant;

use super::switches;
use crate::balance::Balancers;
use crate::breaker::Breakers;
use crate::config::Config;
use crate::metrics::{EndpointCounts, Metrics};
use crate::snapshot::Snapshot;
use crate::switch::Switch;
pub(super) use report::ConfigInForce;
use report::{Endpoint, Flow, Point, Report, Route, Shown, Totals};
use sources::{RouteReading, Sources};

/// How often the counters are read.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Readings that are kept, so that routes and endpoints are told of over the last ten seconds.
const READINGS_MAX: usize = 11;
/// Seconds that are kept of the sum of all requests.
const POINTS_MAX: usize = 300;
/// Routes and endpoints that are told of one by one.
const SHOWN_MAX: usize = 20;

/// The last readings of all counters.
pub(super) struct Stats {
    sources: Sources,
    revision: u64,
    readings: VecDeque<Reading>,
    points: VecDeque<Point>,
    start: Instant,
    started: u64,
}

struct Reading {
    at: Instant,
    routes: Vec<RouteReading>,
    endpoints: Vec<EndpointCounts>,
}

/// What a report tells besides what is counted here.
pub(super) struct About<'a> {
    pub(super) config: ConfigInForce,
    pub(super) ready: bool,
    pub(super) changes: &'static str,
    pub(super) switches: &'a [Switch],
}

impl Stats {
    /// `unix_time` is the time now.
    pub(super) fn new(
        config: &Config,
        breakers: &Breakers,
        balancers: &Balancers,
        metrics: &Metrics,
        now: Instant,
        unix_time: Duration,
    ) -> Self {
        let mut stats = Self {
            sources: Sources::new(config, breakers, balancers, metrics),
            revision: 1,
            readings: VecDeque::with_capacity(READINGS_MAX),
            points: VecDeque::new(),
            start: now,
            started: unix_time.as_secs(),
        };
        stats.read(now);
        stats
    }

    /// Reads all counters of the configuration in force. With another one, or with other servers, what is told of the last
    /// seconds of routes and endpoints begins anew.
    pub(super) fn read_all(&mut self, snapshot: &Snapshot, metrics: &Metrics, now: Instant) {
        self.read(now);
        if snapshot.revision != self.revision {
            self.revision = snapshot.revision;
            self.sources = Sources::new(
                &snapshot.config,
                &snapshot.breakers,
                &snapshot.balancers,
                metrics,
            );
            self.readings.clear();
            self.read(now);
        }
    }

    fn read(&mut self, now: Instant) {
        let reading = Reading {
            at: now,
            routes: self
                .sources
                .routes
                .iter()
                .map(|route| route.read())
                .collect(),
            endpoints: self.sources.endpoints.iter().map(|e| e.read()).collect(),
        };
        if let Some(before) = self.readings.back() {
            let seconds = seconds_between(before.at, now);
            let mut sum = RouteReading::default();
            for (later, earlier) in reading.routes.iter().zip(&before.routes) {
                sum.add(&later.since(earlier));
            }
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            let since_start = now - self.start;
            self.points.push_back(Point {
                t: (since_start + Duration::from_millis(500)).as_secs(),
                flow: Flow::new(&sum, seconds),
            });
        }
        if self.readings.len() == READINGS_MAX {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
    }

    /// The last seconds, as JSON.
    pub(super) fn history(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.points)
    }

    /// The figures of this moment, as JSON.
    pub(super) fn report(&self, about: About<'_>, metrics: &Metrics) -> serde_json::Result<String> {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return Ok("null".to_owned());
        };
        let seconds = seconds_between(first.at, last.at);
        let total = |of: fn(&RouteReading) -> u64| last.routes.iter().map(of).sum();
        serde_json::to_string(&Report {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            config: about.config,
            ready: about.ready,
            changes: about.changes,
            now: self.points.back().cloned(),
            totals: Totals {
                requests: total(RouteReading::requests),
                refused: total(|route| route.refused),
                in_flight: metrics.in_flight.get(),
                connections: metrics.connections.get(),
                accept_errors: metrics.accept_errors.get(),
                log_lines_dropped: metrics.log_lines_dropped.get(),
            },
            window: seconds.round(),
            routes: self.routes(first, last, seconds),
            endpoints: self.endpoints(first, last, seconds),
            switches: about.switches.iter().map(switches::Shown::new).collect(),
        })
    }

    fn routes(&self, first: &Reading, last: &Reading, seconds: f64) -> Shown<Route<'_>> {
        let readings = last.routes.iter().zip(&first.routes);
        let counted: Vec<RouteReading> = readings
            .map(|(later, earlier)| later.since(earlier))
            .collect();
        let (shown, others) = busiest(counted.len(), |route| {
            (counted[route].requests(), last.routes[route].requests())
        });
        let one = |route: usize| Route {
            id: &self.sources.routes[route].id,
            upstream: self.sources.routes[route].upstream.as_deref(),
            requests: last.routes[route].requests(),
            flow: Flow::new(&counted[route], seconds),
            breaker: self.sources.routes[route].guards.state(),
            throttled: self.sources.routes[route].guards.throttled(),
        };
        let rest = || {
            let mut sum = RouteReading::default();
            others.iter().for_each(|route| sum.add(&counted[*route]));
            Route {
                id: "",
                upstream: None,
                requests: others
                    .iter()
                    .map(|route| last.routes[*route].requests())
                    .sum(),
                flow: Flow::new(&sum, seconds),
                breaker: None,
                throttled: None,
            }
        };
        Shown {
            shown: shown.into_iter().map(one).collect(),
            rest: (!others.is_empty()).then(rest),
            others: others.len(),
        }
    }

    fn endpoints(&self, first: &Reading, last: &Reading, seconds: f64) -> Shown<Endpoint<'_>> {
        let counted = |endpoint: usize| {
            let (later, earlier) = (&last.endpoints[endpoint], &first.endpoints[endpoint]);
            let requests = later.requests.saturating_sub(earlier.requests);
            (requests, later.failures.saturating_sub(earlier.failures))
        };
        let (shown, others) = busiest(last.endpoints.len(), |endpoint| {
            let (requests, failures) = counted(endpoint);
            (requests + failures, last.endpoints[endpoint].requests)
        });
        let one = |endpoint: usize| {
            let source = &self.sources.endpoints[endpoint];
            let (requests, failures) = counted(endpoint);
            let counts = &last.endpoints[endpoint];
            Endpoint {
                upstream: &source.upstream,
                endpoint: &source.endpoint,
                rps: requests as f64 / seconds,
                failures: failures as f64 / seconds,
                connections: counts.connections,
                health: source.health().map(|health| health.to_string()),
                requests: counts.requests,
                failed: counts.failures,
                breaker: source.guards.state(),
                throttled: source.guards.throttled(),
            }
        };
        let rest = others.iter().map(|endpoint| one(*endpoint));
        Shown {
            shown: shown.into_iter().map(one).collect(),
            rest: rest.reduce(|sum, one| Endpoint {
                upstream: "",
                endpoint: "",
                rps: sum.rps + one.rps,
                failures: sum.failures + one.failures,
                connections: sum.connections + one.connections,
                health: None,
                requests: sum.requests + one.requests,
                failed: sum.failed + one.failed,
                breaker: None,
                throttled: None,
            }),
            others: others.len(),
        }
    }
}

/// The indexes of the [`SHOWN_MAX`] greatest of so many, and those of the others, both in order.
/// Of equals the first is greater.
fn busiest<K: Ord>(count: usize, key: impl Fn(usize) -> K) -> (Vec<usize>, Vec<usize>) {
    let mut shown: Vec<usize> = (0..count).collect();
    if count > SHOWN_MAX {
        shown.select_nth_unstable_by_key(SHOWN_MAX, |index| (Reverse(key(*index)), *index));
    }
    let mut others = shown.split_off(count.min(SHOWN_MAX));
    shown.sort_unstable();
    others.sort_unstable();
    (shown, others)
}

/// Never zero, so that it can be divided by.
fn seconds_between(earlier: Instant, later: Instant) -> f64 {
    (later - earlier).as_secs_f64().max(1e-3)
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, StatusCode};
    use serde_json::Value;
    use stanchion_core::Clock;

    use super::*;
    use crate::balance::Hearing;

    fn config(routes: usize, endpoints: usize) -> Config {
        let urls: Vec<String> = (0..endpoints).map(|n| format!("\"http://e{n}\"")).collect();
        let mut text = format!(
            "listen.address = \"127.0.0.1:0\"\nupstream.a.endpoints = [{}]\n",
            urls.join(", ")
        );
        for number in 0..routes {
            text += &format!(
                "[[route]]\nid = \"r{number}\"\npath_prefix = \"/{number}\"\nupstream = \"a\"\n\
                 limit = [{{ by = \"address\", rate = \"1/s\" }}]\n"
            );
        }
        Config::from_toml(&text).unwrap()
    }

    fn balancers(config: &Config, clock: &Clock, metrics: &Metrics) -> Balancers {
        let hearing = Hearing::new(metrics.clone(), Arc::new(()));
        Balancers::new(config, clock, &hearing, None).unwrap()
    }

    fn report(stats: &Stats, metrics: &Metrics) -> Value {
        let about = About {
            config: ConfigInForce {
                generation: 1,
                loaded: 0,
                restart: Vec::new(),
                error: None,
            },
            ready: true,
            changes: "open",
            switches: &[],
        };
        serde_json::from_str(&stats.report(about, metrics).unwrap()).unwrap()
    }

    #[test]
    fn what_was_counted_between_two_readings_is_told_as_rates() {
        let (clock, time) = Clock::manual();
        let (config, metrics) = (config(2, 2), Metrics::new());
        let mut stats = Stats::new(
            &config,
            &Breakers::default(),
            &balancers(&config, &clock, &metrics),
            &metrics,
            clock.now(),
            Duration::from_secs(1_000),
        );
        let route = metrics.route("r1");
        for status in [200, 200, 301, 429, 502] {
            let status = StatusCode::from_u16(status).unwrap();
            route.count(&Method::GET, status);
            route.latency.observe(Duration::from_micros(1_500));
        }
        metrics.limit("r1", "address").inc();
        let upstream = &config.upstreams[0];
        let endpoint = metrics.endpoint(&upstream.name, &upstream.endpoints[1].url);
        endpoint.requests.inc_by(4);
        endpoint.failed("connect");
        let open = endpoint.opened();
        time.advance(Duration::from_secs(2));
        stats.read(clock.now());

        let told = report(&stats, &metrics);
        assert_eq!(told["started"], 1_000);
        assert_eq!(told["now"]["t"], 2);
        assert_eq!(told["now"]["rps"], 2.5);
        assert_eq!(
            told["now"]["statuses"],
            serde_json::json!([0.0, 1.0, 0.5, 0.5, 0.5, 0.0])
        );
        assert_eq!(told["now"]["refused"], 0.5);
        assert_eq!(told["now"]["latency"]["p50"], 1.75);
        assert_eq!(told["totals"]["requests"], 5);
        assert_eq!(told["totals"]["refused"], 1);
        assert_eq!(told["window"], 2.0);
        let routes = &told["routes"];
        assert_eq!(
            (&routes["others"], &routes["rest"]),
            (&0.into(), &Value::Null)
        );
        assert_eq!(routes["shown"].as_array().unwrap().len(), 3);
        assert_eq!(
            (&routes["shown"][0]["rps"], &routes["shown"][1]["rps"]),
            (&0.0.into(), &2.5.into())
        );
        assert_eq!(routes["shown"][0]["latency"]["p99"], Value::Null);
        assert_eq!(routes["shown"][2]["id"], "unmatched");
        let endpoint = &told["endpoints"]["shown"][1];
        assert_eq!(endpoint["endpoint"], "e1:80");
        assert_eq!(
            (&endpoint["rps"], &endpoint["failures"]),
            (&2.0.into(), &0.5.into())
        );
        assert_eq!(
            (&endpoint["connections"], &endpoint["failed"]),
            (&1.into(), &1.into())
        );
        drop(open);

        // Nothing more comes: the last second is empty, the window is not.
        time.advance(Duration::from_secs(1));
        stats.read(clock.now());
        let told = report(&stats, &metrics);
        assert_eq!(told["now"]["rps"], 0.0);
        assert_eq!(told["now"]["latency"]["p50"], Value::Null);
        assert_eq!(told["endpoints"]["shown"][1]["connections"], 0);
        for _ in 0..READINGS_MAX {
            time.advance(Duration::from_secs(1));
            stats.read(clock.now());
        }
        let told = report(&stats, &metrics);
        assert_eq!(
            (&told["window"], &told["routes"]["shown"][1]["rps"]),
            (&10.0.into(), &0.0.into())
        );
    }

    #[test]
    fn of_many_routes_and_endpoints_the_busiest_are_told_of_and_the_rest_is_summed() {
        let (clock, time) = Clock::manual();
        let (config, metrics) = (config(1_000, 100), Metrics::new());
        let mut stats = Stats::new(
            &config,
            &Breakers::default(),
            &balancers(&config, &clock, &metrics),
            &metrics,
            clock.now(),
            Duration::ZERO,
        );
        for route in 500..530 {
            metrics
                .route(&format!("r{route}"))
                .count(&Method::GET, StatusCode::OK);
        }
        metrics.route("r900").count(&Method::GET, StatusCode::OK);
        metrics.route("r900").count(&Method::GET, StatusCode::OK);
        let upstream = &config.upstreams[0];
        for endpoint in &upstream.endpoints {
            metrics
                .endpoint(&upstream.name, &endpoint.url)
                .requests
                .inc();
        }
        time.advance(PERIOD);
        stats.read(clock.now());
        let told = report(&stats, &metrics);
        let ids: Vec<&str> = told["routes"]["shown"]
            .as_array()
            .unwrap()
            .iter()
            .map(|route| route["id"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = (500..519).map(|route| format!("r{route}")).collect();
        assert_eq!(ids[..19], expected);
        assert_eq!(ids[19], "r900");
        assert_eq!(told["routes"]["others"], 981);
        assert_eq!(told["routes"]["rest"]["rps"], 11.0);
        assert_eq!(told["endpoints"]["others"], 80);
        assert_eq!(told["endpoints"]["rest"]["rps"], 80.0);
        let text = told.to_string();
        assert!(text.len() < 16 * 1024, "{}", text.len());
    }

    #[test]
    fn the_history_is_bounded() {
        let (clock, time) = Clock::manual();
        let (config, metrics) = (config(1, 1), Metrics::new());
        let mut stats = Stats::new(
            &config,
            &Breakers::default(),
            &balancers(&config, &clock, &metrics),
            &metrics,
            clock.now(),
            Duration::ZERO,
        );
        for _ in 0..POINTS_MAX + 5 {
            time.advance(PERIOD);
            stats.read(clock.now());
        }
        let history: Vec<Value> = serde_json::from_str(&stats.history().unwrap()).unwrap();
        assert_eq!(history.len(), POINTS_MAX);
        assert_eq!(
            (&history[0]["t"], &history[299]["t"]),
            (&6.into(), &305.into())
        );
    }
}
