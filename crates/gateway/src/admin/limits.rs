//! Shows limits, tells where one key stands, and lets one key begin anew.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use super::answer::{self, Answer};
use crate::config::{LimitBy, rate};
use crate::limit::{Limit, Standing, Unanswered};
use crate::snapshot::Snapshot;

/// Everything that limits.
#[derive(Serialize)]
struct All<'a> {
    limits: Vec<Shown<'a>>,
    #[cfg(feature = "redis")]
    redis: Vec<ShownStore<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    route: &'a str,
    limit: &'a str,
    by: String,
    algorithm: &'static str,
    rate: String,
    tiers: BTreeMap<&'a str, String>,
    /// Where it is counted, if not in this process.
    store: Option<&'a str>,
    refused: u64,
    /// Requests on which the store did not decide in time.
    fell_back: u64,
    /// Requests whose key found no place, and shared one.
    overflowed: u64,
}

#[cfg(feature = "redis")]
#[derive(Serialize)]
struct ShownStore<'a> {
    name: &'a str,
    connected: bool,
    connections: u64,
    asked: u64,
    timed_out: u64,
    failed: u64,
    not_asked: u64,
}

/// Where one key stands.
#[derive(Serialize)]
struct Key<'a> {
    route: &'a str,
    limit: &'a str,
    key: &'a str,
    /// By the policy of each tier, and first of those in none.
    standings: Vec<ShownStanding>,
}

#[derive(Serialize)]
struct ShownStanding {
    tier: Option<String>,
    algorithm: &'static str,
    rate: String,
    limit: u64,
    remaining: u64,
    /// Seconds until nothing is used any more.
    reset_after: f64,
}

#[derive(Serialize)]
struct Reset<'a> {
    route: &'a str,
    limit: &'a str,
    key: &'a str,
    reset: bool,
}

/// One key of one limit.
struct Asked<'a> {
    limit: &'a Limit,
    route: String,
    name: String,
    text: String,
    key: Vec<u8>,
}

/// A query that names no key of a limit, and what is wrong with it.
struct Wrong(StatusCode, String);

/// All limits; or with a query, where the key stands that it names.
pub(super) async fn show(snapshot: &Snapshot, query: &str) -> Answer {
    if query.is_empty() {
        return answer::json(&all(snapshot));
    }
    let asked = match Asked::read(snapshot, query) {
        Ok(asked) => asked,
        Err(wrong) => return wrong.answer(),
    };
    let standings = asked.limit.inspect(&asked.key).await.into_iter();
    let standings = standings.map(ShownStanding::new);
    match standings.collect() {
        Ok(standings) => answer::json(&Key {
            route: &asked.route,
            limit: &asked.name,
            key: &asked.text,
            standings,
        }),
        Err(error) => unanswered(error),
    }
}

/// Forgets what the key of a query has used.
pub(super) async fn reset(snapshot: &Snapshot, query: &str) -> Answer {
    let asked = match Asked::read(snapshot, query) {
        Ok(asked) => asked,
        Err(wrong) => return wrong.answer(),
    };
    match asked.limit.reset(&asked.key).await {
        Ok(()) => answer::json(&Reset {
            route: &asked.route,
            limit: &asked.name,
            key: &asked.text,
            reset: true,
        }),
        Err(error) => unanswered(error),
    }
}

fn unanswered(error: Unanswered) -> Answer {
    answer::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
}

fn all(snapshot: &Snapshot) -> All<'_> {
    let routes = snapshot.config.routes.iter().zip(snapshot.limits());
    let limits = routes.flat_map(|(route, limits)| {
        limits.iter().map(|limit| {
            let config = limit.config();
            let tiers = config.tiers.iter();
            Shown {
                route: &route.id,
                limit: &config.name,
                by: config.by.to_string(),
                algorithm: config.policy.algorithm(),
                rate: rate(&config.policy),
                tiers: tiers
                    .map(|(tier, policy)| (&**tier, rate(policy)))
                    .collect(),
                store: config.redis.as_ref().map(|redis| &*redis.store),
                refused: limit.metrics().get(),
                fell_back: limit.metrics().fallbacks(),
                overflowed: limit.overflowed(),
            }
        })
    });
    All {
        limits: limits.collect(),
        #[cfg(feature = "redis")]
        redis: snapshot
            .stores
            .snapshots()
            .map(|(name, store)| ShownStore {
                name,
                connected: store.connected,
                connections: store.connections,
                asked: store.asked,
                timed_out: store.timed_out,
                failed: store.failed,
                not_asked: store.not_asked,
            })
            .collect(),
    }
}

impl<'a> Asked<'a> {
    fn read(snapshot: &'a Snapshot, query: &str) -> Result<Self, Wrong> {
        let (mut route, mut name, mut key) = (None, None, None);
        for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*parameter {
                "route" => &mut route,
                "limit" => &mut name,
                "key" => &mut key,
                _ => {
                    return Err(Wrong::query(
                        &parameter,
                        "a parameter",
                        "route, limit or key",
                    ));
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Wrong::query("twice", &parameter, "only one"));
            }
        }
        let missing = |parameter| Wrong::query("nothing", parameter, "route, limit and key");
        let route = route.ok_or_else(|| missing("route"))?;
        let name = name.ok_or_else(|| missing("limit"))?;
        let text = key.ok_or_else(|| missing("key"))?;
        let mut routes = snapshot.config.routes.iter().zip(snapshot.limits());
        let of_route = routes.find(|(known, _)| *known.id == *route);
        let (_, limits) = of_route.ok_or_else(|| Wrong::unknown("route", &route))?;
        let found = limits.iter().find(|limit| *limit.config().name == *name);
        let limit = found.ok_or_else(|| Wrong::unknown("limit of this route", &name))?;
        let key = limit.key_of(&text);
        let key = key.ok_or_else(|| match &limit.config().by {
            LimitBy::Address => Wrong::query(&text, "key", "an address"),
            _ => Wrong::query(&text, "key", "at least one character"),
        })?;
        Ok(Self {
            limit,
            route,
            name,
            text,
            key,
        })
    }
}

impl ShownStanding {
    fn new(standing: Standing) -> Result<Self, Unanswered> {
        let status = standing.status?;
        Ok(Self {
            tier: standing.tier.map(|tier| tier.to_string()),
            algorithm: standing.policy.algorithm(),
            rate: rate(&standing.policy),
            limit: status.limit(),
            remaining: status.remaining(),
            reset_after: status.reset_after().as_secs_f64(),
        })
    }
}

impl Wrong {
    fn query(given: &str, parameter: &str, allowed: &str) -> Self {
        let message = format!("{parameter}: {given:?} given, expected {allowed}");
        Self(StatusCode::BAD_REQUEST, message)
    }

    fn unknown(what: &str, given: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("{given:?} is no {what}"))
    }

    fn answer(&self) -> Answer {
        answer::problem(self.0, &self.1)
    }
}
