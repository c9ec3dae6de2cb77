//! Tells which way a request would take, and why no other: by the code that routes it.

mod question;

use http::{HeaderName, HeaderValue, Uri, header};
use serde::Serialize;
use stanchion_ratelimit::MissingKey;

use crate::client::Clients;
use crate::config::keys::{Affinity, HashBy};
use crate::config::{
    Config, FieldEdits, HostPattern, Limit, Route, Telling, Upstream, missing_word,
};
use crate::exchange::Peer;
use crate::limit::{LimitKey, NO_KEY, Tiers};
use crate::problem::Problem;
use crate::rewrite::stripped;
use crate::router::{self, Fit, Rank, Table, fit};

pub(super) use question::Question;

/// How many routes that were not taken are told of.
const OTHERS_MAX: usize = 20;

/// The way of one request.
#[derive(Debug, Serialize)]
pub(super) struct Explanation<'a> {
    request: Asked,
    /// The route that it takes.
    route: Option<&'a str>,
    /// What the gateway answers itself, without asking the upstream.
    answer: Option<Refusal>,
    /// What the request meets, in this order.
    steps: Vec<Step<'a>>,
    /// Routes that it does not take: those that fit first, then those for the host, at most
    /// [`OTHERS_MAX`].
    others: Vec<Other<'a>>,
    others_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Asked {
    method: String,
    host: String,
    path: String,
    client: String,
}

#[derive(Debug, Serialize)]
struct Refusal {
    status: u16,
    detail: &'static str,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    step: &'static str,
    name: Option<&'a str>,
    does: String,
}

#[derive(Debug, Serialize)]
struct Other<'a> {
    route: &'a str,
    why: String,
}

/// What becomes of a request under a configuration.
pub(super) fn explain<'a>(config: &'a Config, question: Question) -> Explanation<'a> {
    let clients = Clients::new(config.listen.trusted.clone());
    let peer = clients.judge(&Peer::new((question.client, 0).into()));
    let mut request = question.request;
    // What a client sends that was given our address.
    if let Ok(address) = HeaderValue::try_from(config.listen.address.to_string()) {
        let headers = request.headers_mut();
        headers.entry(header::HOST).or_insert(address);
    }
    let table = Table::new(&config.routes).with_encoded_slash(config.listen.encoded_slash);
    let found = router::find(&table, &mut request);
    let client = clients.find(&peer, request.headers());
    let (host, path) = (router::host(&request), request.uri().path());

    let mut steps = vec![Step::new("request_id", None, request_id(peer.trusted))];
    let winner = found.as_ref().ok().map(|index| &config.routes[*index]);
    let mut answer = found.as_ref().err().map(Refusal::of);
    if let Some(route) = winner {
        steps.push(Step::new("route", Some(&route.id), pattern(route)));
        steps.push(Step::new("record", None, RECORD.to_owned()));
        let tiers = Tiers::new(&config.tiers);
        let tier = tiers.of(&request).map(|tier| tiers.name(tier));
        for limit in &route.limits {
            let listed = !limit.listed_only || tier.is_some();
            let key = LimitKey::new(&limit.by);
            let has_key = listed && key.find(&request, &client).is_some();
            let does = limited(limit, tier, has_key);
            steps.push(Step::new("limit", Some(&limit.name), does));
            if !has_key && limit.missing == MissingKey::Refuse {
                answer = Some(Refusal::of(&NO_KEY));
                break;
            }
        }
        if answer.is_none() && route.breaker.is_some() {
            let does = "answers 503 while it is open".to_owned();
            steps.push(Step::new("breaker", None, does));
        }
        if answer.is_none() && route.throttle.is_some() {
            let does = "answers 503 to a share, while the server does not take all".to_owned();
            steps.push(Step::new("throttle", None, does));
        }
        if answer.is_none() {
            let forwarded = config.upstreams[route.upstream].forwarded;
            steps.push(Step::new("fields", None, fields(peer.trusted, forwarded)));
            if let Some(prefix) = &route.strip_prefix {
                let sent = stripped(request.uri(), prefix);
                let sent = sent.as_ref().map_or(path, Uri::path);
                let does = format!("strips {prefix}, so the server is sent {sent}");
                steps.push(Step::new("strip_prefix", None, does));
            }
            for (step, edits) in [
                ("request_headers", &route.request_headers),
                ("response_headers", &route.response_headers),
            ] {
                if !edits.is_empty() {
                    steps.push(Step::new(step, None, edited(edits)));
                }
            }
            let upstream = &config.upstreams[route.upstream];
            let urls: Vec<&str> = upstream.endpoints.iter().map(|it| &*it.url).collect();
            let mut does = format!("sends to {} {}", urls.join(", "), chosen(upstream));
            if let Some(affinity) = &upstream.affinity {
                does.push_str(", but a session where it was before, by ");
                does.push_str(&match affinity {
                    Affinity::Cookie(cookie) => format!("the cookie {}", cookie.name),
                    Affinity::Header { header } => format!("the field {header}"),
                });
            }
            if upstream.checks.is_some() {
                does.push_str(", past those that fail their checks");
            }
            if upstream.balancing.outliers.is_some() {
                does.push_str(", past those that fail more than they should");
            }
            if upstream.breaker.is_some() {
                does.push_str(", past those whose breaker is open");
            }
            if upstream.throttle.is_some() {
                does.push_str(", and past a throttled one with a share");
            }
            steps.push(Step::new("upstream", Some(&upstream.name), does));
        }
    } else {
        steps.push(Step::new("record", None, RECORD.to_owned()));
    }
    let (others, others_left_out) = others(&config.routes, winner, host, path);
    Explanation {
        request: Asked {
            method: request.method().to_string(),
            host: host.to_owned(),
            path: path.to_owned(),
            client: client.address.to_string(),
        },
        route: winner.map(|route| &*route.id),
        answer,
        steps,
        others,
        others_left_out,
    }
}

/// By what the policy goes.
fn chosen(upstream: &Upstream) -> String {
    let does = upstream.policy.does();
    match upstream.hash.as_ref().map(|hash| &hash.by) {
        None => does.to_owned(),
        Some(HashBy::Address) => format!("{does}, the client's network"),
        Some(HashBy::Header(name)) => format!("{does}, the field {name}"),
        Some(HashBy::Cookie(name)) => format!("{does}, the cookie {name}"),
        Some(HashBy::Query(name)) => format!("{does}, the parameter {name}"),
        Some(HashBy::Path) => format!("{does}, the path"),
    }
}

const RECORD: &str = "counts, times and logs it, to the end of the response's body";

fn request_id(trusted: bool) -> String {
    let does = if trusted {
        "takes the x-request-id of a trusted peer, or makes one"
    } else {
        "makes an x-request-id: the peer is not trusted"
    };
    does.to_owned()
}

fn fields(trusted: bool, forwarded: Telling) -> String {
    let names = match forwarded {
        Telling::Unofficial => "x-forwarded-*",
        Telling::Standard => "forwarded",
        Telling::Both => "x-forwarded-* and forwarded",
    };
    if trusted {
        format!("drops hop-by-hop fields, adds to what the trusted peer says in {names}")
    } else {
        format!("drops hop-by-hop fields and the client's own x-forwarded-*, sets {names}")
    }
}

/// Names alone: a value may be a secret between the gateway and the server.
fn edited(edits: &FieldEdits) -> String {
    fn named<'a>(does: &str, names: impl Iterator<Item = &'a HeaderName>) -> Option<String> {
        let names: Vec<&str> = names.map(HeaderName::as_str).collect();
        (!names.is_empty()).then(|| format!("{does} {}", names.join(", ")))
    }
    let parts = [
        named("removes", edits.remove.iter()),
        named("sets", edits.set.iter().map(|(name, _)| name)),
        named("adds", edits.add.iter().map(|(name, _)| name)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn limited(limit: &Limit, tier: Option<&str>, has_key: bool) -> String {
    let of_tier = tier.and_then(|tier| Some((tier, limit.tiers.get(tier)?)));
    let (tier, policy) = match of_tier {
        Some((tier, policy)) => (format!(" of tier {tier}"), policy),
        None => (String::new(), &limit.policy),
    };
    let does = if has_key {
        format!("admits {policy} for this key{tier}, else answers 429")
    } else {
        let none = if limit.listed_only {
            "has no key of a tier"
        } else {
            "has no key"
        };
        match missing_word(limit.missing) {
            "pass" => return format!("{none}, so it is not limited here"),
            "share" => {
                format!("{none}, so it shares {policy} with all others without one")
            }
            _ => return format!("{none}, so it is refused with 400"),
        }
    };
    match &limit.redis {
        Some(redis) => format!("{does}; counted in {}", redis.store),
        None => does,
    }
}

/// Why each other route is not taken, the nearest first.
fn others<'a>(
    routes: &'a [Route],
    winner: Option<&Route>,
    host: &str,
    path: &str,
) -> (Vec<Other<'a>>, usize) {
    let winning = winner.map(|route| fit(route, host, path));
    let losers = routes
        .iter()
        .filter(|route| winner.is_none_or(|winner| winner.id != route.id));
    let mut losers: Vec<_> = losers
        .map(|route| (route, fit(route, host, path)))
        .collect();
    losers.sort_by_key(|(_, fit)| match fit {
        Fit::Fits(_) => 0,
        Fit::Path => 1,
        Fit::Host => 2,
    });
    let left_out = losers.len().saturating_sub(OTHERS_MAX);
    let others = losers.into_iter().take(OTHERS_MAX).map(|(route, fit)| {
        let why = match fit {
            Fit::Host => format!("is for {}", host_of(route)),
            Fit::Path => format!("is for paths under {}", route.path_prefix),
            Fit::Fits(rank) => outdone(route, rank, winning),
        };
        let route = &*route.id;
        Other { route, why }
    });
    (others.collect(), left_out)
}

fn outdone(route: &Route, rank: Rank, winning: Option<Fit>) -> String {
    match winning {
        Some(Fit::Fits(winner)) if winner.host > rank.host => {
            format!(
                "fits, but the taken one is nearer to the host than {}",
                host_of(route)
            )
        }
        Some(Fit::Fits(_)) => {
            let prefix = &route.path_prefix;
            format!("fits, but the taken one has a longer path prefix than {prefix}")
        }
        // The request was refused before a route was looked for.
        _ => "fits".to_owned(),
    }
}

fn pattern(route: &Route) -> String {
    format!(
        "is for {}, paths under {}",
        host_of(route),
        route.path_prefix
    )
}

fn host_of(route: &Route) -> String {
    match &route.host {
        HostPattern::Any => "every host".to_owned(),
        HostPattern::Exact(name) => format!("the host {name}"),
        HostPattern::Under(name) => format!("hosts under {name}"),
    }
}

impl Refusal {
    fn of(problem: &Problem) -> Self {
        Self {
            status: problem.status.as_u16(),
            detail: problem.detail,
        }
    }
}

impl<'a> Step<'a> {
    fn new(step: &'static str, name: Option<&'a str>, does: String) -> Self {
        Self { step, name, does }
    }
}

#[cfg(test)]
mod tests;
