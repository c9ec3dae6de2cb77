//! What the admin listener answers to which path.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use serde::Serialize;

use super::access::{Access, Denied};
use super::answer::{self, Answer};
use super::body::Body;
use super::explain::{Question, explain};
use super::limits;
use super::listeners::{LISTENERS_MAX, Listeners};
use super::page::Page;
use super::stats::{About, ConfigInForce, Stats};
use super::switches;
use super::{breakers, endpoints};
use crate::config::Config;
use crate::shared::Shared;

/// Everything that the admin listener answers from.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) shared: Arc<Shared>,
    access: Access,
    page: Page,
    stats: Mutex<Stats>,
    listeners: Listeners,
}

/// The two ends of an admin connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page,
    Health,
    Readiness,
    Metrics,
    Config,
    Explain,
    Stats,
    Events,
    Limits,
    Reset,
    Breakers,
    SetBreaker,
    Endpoints,
    SetEndpoint,
    Switches,
    SetSwitch,
    Reload,
}

impl Place {
    fn changes(self) -> bool {
        matches!(
            self,
            Self::Reset | Self::SetBreaker | Self::SetEndpoint | Self::SetSwitch | Self::Reload
        )
    }
}

const PLACES: [(&str, Place); 17] = [
    ("/", Place::Page),
    ("/healthz", Place::Health),
    ("/readyz", Place::Readiness),
    ("/metrics", Place::Metrics),
    ("/config", Place::Config),
    ("/explain", Place::Explain),
    ("/stats", Place::Stats),
    ("/events", Place::Events),
    ("/limits", Place::Limits),
    ("/limits/reset", Place::Reset),
    ("/breakers", Place::Breakers),
    ("/breakers/set", Place::SetBreaker),
    ("/endpoints", Place::Endpoints),
    ("/endpoints/set", Place::SetEndpoint),
    ("/switches", Place::Switches),
    ("/switches/set", Place::SetSwitch),
    ("/reload", Place::Reload),
];

#[derive(Serialize)]
struct ConfigAnswer<'a> {
    #[serde(flatten)]
    in_force: ConfigInForce,
    config: &'a Config,
}

#[derive(Serialize)]
struct ReloadAnswer {
    generation: u64,
    changed: bool,
    /// Fields whose new value takes a restart.
    restart: Vec<&'static str>,
}

impl Admin {
    pub(super) fn new(shared: Arc<Shared>, access: Access) -> Self {
        let (now, unix_time) = (shared.clock.now(), shared.clock.unix_time());
        let snapshot = shared.snapshot();
        let stats = Stats::new(
            &snapshot.config,
            &snapshot.breakers,
            &snapshot.balancers,
            &shared.metrics,
            now,
            unix_time,
        );
        Self {
            access,
            page: Page::new(),
            stats: Mutex::new(stats),
            listeners: Listeners::default(),
            shared,
        }
    }

    /// Reads the counters, and tells those who listen.
    pub(super) fn tick(&self) {
        let shared = &self.shared;
        let now = shared.clock.now();
        self.stats
            .lock()
            .read_all(&shared.snapshot(), &shared.metrics, now);
        self.tell();
    }

    /// Tells those who listen how things are.
    pub(super) fn tell(&self) {
        if !self.listeners.is_empty()
            && let Ok(report) = self.report()
        {
            let event = format!("event: stats\ndata: {report}\n\n");
            self.listeners.tell(&event.into());
        }
    }

    pub(super) async fn answer<B: Sync>(&self, request: &Request<B>, ends: Ends) -> Answer {
        match self.route(request, ends).await {
            Ok(answer) => answer,
            Err(denied) => {
                let mut answer = answer::problem(denied.status(), &denied.detail());
                if denied.status() == StatusCode::UNAUTHORIZED {
                    let scheme = HeaderValue::from_static("Bearer realm=\"stanchion admin\"");
                    let headers = answer.headers_mut();
                    headers.insert(header::WWW_AUTHENTICATE, scheme);
                }
                answer
            }
        }
    }

    async fn route<B: Sync>(&self, request: &Request<B>, ends: Ends) -> Result<Answer, Denied> {
        self.access
            .check(request.uri(), request.headers(), ends.local)?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads {
            self.access.check_change(request.headers())?;
        }
        let path = request.uri().path();
        let Some((_, place)) = PLACES.iter().find(|(known, _)| *known == path) else {
            return Ok(not_found());
        };
        if reads == place.changes() {
            return Ok(wrong_method(*place));
        }
        let query = request.uri().query().unwrap_or("");
        Ok(match place {
            Place::Page => self.page.answer(),
            Place::Health => answer::text(StatusCode::OK, "ok\n"),
            Place::Readiness if self.is_ready() => answer::text(StatusCode::OK, "ready\n"),
            Place::Readiness => answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            Place::Metrics => self.metrics(),
            Place::Config => answer::json(&ConfigAnswer {
                in_force: self.config_in_force(),
                config: &self.shared.snapshot().config,
            }),
            Place::Explain => self.explain(query, ends),
            Place::Stats => self.stats(),
            Place::Events => self.events(request.method()),
            Place::Limits => limits::show(&self.shared.snapshot(), query).await,
            Place::Reset => limits::reset(&self.shared.snapshot(), query).await,
            Place::Breakers => breakers::show(&self.shared.snapshot()),
            Place::SetBreaker => {
                let answer = breakers::change(&self.shared.snapshot(), query);
                self.tell();
                answer
            }
            Place::Endpoints => endpoints::show(&self.shared.snapshot()),
            Place::SetEndpoint => {
                let snapshot = self.shared.snapshot();
                endpoints::change(snapshot, query, || self.tell()).await
            }
            Place::Switches => switches::show(&self.shared.switches),
            Place::SetSwitch => {
                let answer = switches::change(&self.shared.switches, query);
                self.tell();
                answer
            }
            Place::Reload => self.reload(),
        })
    }

    fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> Answer {
        let snapshot = self.shared.snapshot();
        let metrics = &self.shared.metrics;
        match metrics.encode(&snapshot.breakers, &snapshot.balancers) {
            Ok(metrics) => answer::new(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                Body::full(metrics.into()),
            ),
            Err(_) => failed(),
        }
    }

    fn explain(&self, query: &str, ends: Ends) -> Answer {
        match Question::new(query, ends.peer.ip()) {
            Ok(question) => answer::json(&explain(&self.shared.snapshot().config, question)),
            Err(error) => answer::problem(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    fn stats(&self) -> Answer {
        match self.report() {
            Ok(report) => answer::new("application/json", Body::full((report + "\n").into())),
            Err(_) => failed(),
        }
    }

    fn events(&self, method: &Method) -> Answer {
        const KIND: &str = "text/event-stream";
        if *method == Method::HEAD {
            return answer::new(KIND, Body::full(Bytes::new()));
        }
        let history = self.stats.lock().history();
        let (Ok(history), Ok(report)) = (history, self.report()) else {
            return failed();
        };
        // The page tries again after two seconds.
        let first = format!(
            "retry: 2000\nevent: hello\ndata: {{\"history\":{history},\"stats\":{report}}}\n\n"
        );
        match self.listeners.join(first.into()) {
            Some(events) => answer::new(KIND, Body::Events(events)),
            None => answer::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("{LISTENERS_MAX} pages listen already: close one"),
            ),
        }
    }

    /// It blocks this thread, for some milliseconds; no request waits on it.
    fn reload(&self) -> Answer {
        let result = self.shared.reload();
        // Whoever watches sees it at once.
        self.tell();
        match result {
            Ok(reloaded) => answer::json(&ReloadAnswer {
                generation: reloaded.generation,
                changed: reloaded.changed,
                restart: reloaded.restart,
            }),
            Err(error) => {
                let detail = with_causes(&error);
                answer::problem(StatusCode::UNPROCESSABLE_ENTITY, &detail)
            }
        }
    }

    fn report(&self) -> serde_json::Result<String> {
        let about = About {
            config: self.config_in_force(),
            ready: self.is_ready(),
            changes: self.access.changes(),
            switches: &self.shared.switches,
        };
        self.stats.lock().report(about, &self.shared.metrics)
    }

    fn config_in_force(&self) -> ConfigInForce {
        let status = self.shared.reloading.status();
        ConfigInForce {
            generation: status.generation,
            loaded: status.since.as_secs(),
            restart: status.restart,
            error: status.failed.map(|failed| with_causes(&failed.error)),
        }
    }
}

fn not_found() -> Answer {
    let paths: Vec<&str> = PLACES.iter().map(|(path, _)| *path).collect();
    let detail = format!("there are {}", paths.join(", "));
    answer::problem(StatusCode::NOT_FOUND, &detail)
}

fn wrong_method(place: Place) -> Answer {
    let allowed = if place.changes() { "POST" } else { "GET, HEAD" };
    let detail = format!("this path takes {allowed}");
    let mut answer = answer::problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(header::ALLOW, allowed);
    answer
}

fn failed() -> Answer {
    let detail = "the answer could not be written";
    answer::problem(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
