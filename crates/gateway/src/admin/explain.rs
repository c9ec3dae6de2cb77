//! Tells which way a request would take, and why no other: by the code that routes it.

mod question;

use http::{HeaderName, HeaderValue, Uri, header};
use serde::Serialize;
use stanchion_ratelimit::MissingKey;

use crate::client::Clients;
use crate::config::{Config, FieldEdits, HostPattern, Limit, Route, Telling, missing_word};
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
            let mut does = format!("sends to {} in turn", upstream.endpoints.join(", "));
            if upstream.breaker.is_some() {
                does.push_str(", past those whose breaker is open");
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
mod tests {
    use serde_json::Value;

    use super::*;

    const CONFIG: &str = r#"
        [listen]
        address = "127.0.0.1:8080"
        trusted = ["10.0.0.0/8"]
        [upstream.a]
        endpoints = ["http://a.test", "http://b.test:81"]
        [upstream.b]
        endpoints = ["http://c.test"]
        [[route]]
        id = "users"
        host = "api.example.com"
        path_prefix = "/users"
        upstream = "a"
        limit = [{ by = "address", rate = "200/s" },
                 { name = "plan", by = "api-key", rate = "100/m", burst = 20 },
                 { by = "header:x-tenant", rate = "1/s", missing = "share" }]
        [[route]]
        id = "api"
        host = "api.example.com"
        upstream = "b"
        [[route]]
        id = "example"
        host = "*.example.com"
        upstream = "b"
        [[route]]
        id = "site"
        host = "www.example.org"
        upstream = "b"
        [[route]]
        id = "any"
        path_prefix = "/users"
        upstream = "b"
    "#;

    fn ask(config: &str, query: &str) -> Value {
        let config = Config::from_toml(config).unwrap();
        let asking = "192.0.2.9".parse().unwrap();
        let question = Question::new(query, asking).unwrap();
        serde_json::to_value(explain(&config, question)).unwrap()
    }

    #[test]
    fn a_request_takes_its_route_and_the_others_say_why_not() {
        let told = ask(
            CONFIG,
            "url=http://API.example.com:8080/users/7?q=1&method=POST&header=x-api-key:%20k",
        );
        assert_eq!(told["route"], "users");
        assert_eq!(told["answer"], Value::Null);
        assert_eq!(
            told["request"],
            serde_json::json!({
                "method": "POST", "host": "API.example.com", "path": "/users/7",
                "client": "192.0.2.9",
            })
        );
        let steps: Vec<String> = told["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| format!("{} {}: {}", step["step"], step["name"], step["does"]))
            .map(|step| step.replace('"', ""))
            .collect();
        assert_eq!(
            steps,
            [
                "request_id null: makes an x-request-id: the peer is not trusted",
                "route users: is for the host api.example.com, paths under /users",
                "record null: counts, times and logs it, to the end of the response's body",
                "limit address: admits 200/s for this key, else answers 429",
                "limit plan: admits 100/m burst 20 for this key, else answers 429",
                "limit x-tenant: has no key, so it shares 1/s with all others without one",
                "fields null: drops hop-by-hop fields and the client's own x-forwarded-*, sets x-forwarded-*",
                "upstream a: sends to a.test:80, b.test:81 in turn",
            ]
        );
        let others: Vec<(String, String)> = told["others"]
            .as_array()
            .unwrap()
            .iter()
            .map(|other| (other["route"].to_string(), other["why"].to_string()))
            .map(|(route, why)| (route.replace('"', ""), why.replace('"', "")))
            .collect();
        let expected = [
            (
                "api",
                "fits, but the taken one has a longer path prefix than /",
            ),
            (
                "example",
                "fits, but the taken one is nearer to the host than hosts under example.com",
            ),
            (
                "any",
                "fits, but the taken one is nearer to the host than every host",
            ),
            ("site", "is for the host www.example.org"),
        ];
        let expected = expected.map(|(route, why)| (route.to_owned(), why.to_owned()));
        assert_eq!(others, expected);
    }

    #[test]
    fn what_is_changed_on_the_way_is_told_and_no_value_of_it() {
        let told = ask(
            r#"
            listen.address = "127.0.0.1:8080"
            upstream.a.endpoints = ["http://a.test"]
            [[route]]
            id = "api"
            path_prefix = "/api/v1"
            strip_prefix = "/api"
            upstream = "a"
            request_headers = { remove = ["cookie"], set = { authorization = "s3cret" } }
            response_headers.add = { x-a = "1", x-b = "2" }
            "#,
            "url=/api/v1/x?q",
        );
        let steps = told["steps"].as_array().unwrap();
        let does = |name: &str| {
            let step = steps.iter().find(|step| step["step"] == name).unwrap();
            step["does"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            does("strip_prefix"),
            "strips /api, so the server is sent /v1/x"
        );
        assert_eq!(
            does("request_headers"),
            "removes cookie; sets authorization"
        );
        assert_eq!(does("response_headers"), "adds x-a, x-b");
        assert!(!told.to_string().contains("s3cret"));
    }

    #[test]
    fn a_refused_request_gets_its_answer() {
        let told = ask(CONFIG, "url=http://www.example.net/");
        assert_eq!(
            (&told["route"], &told["answer"]["status"]),
            (&Value::Null, &404.into())
        );
        assert_eq!(told["steps"].as_array().unwrap().len(), 2);
        let told = ask(CONFIG, "url=/users&method=TRACE");
        assert_eq!(told["answer"]["status"], 405);
        let told = ask(CONFIG, "url=/users&header=host:a/b");
        assert_eq!(told["answer"]["status"], 400);
    }

    #[test]
    fn the_way_ends_at_a_limit_that_refuses() {
        let told = ask(CONFIG, "url=http://api.example.com/users");
        assert_eq!(told["route"], "users");
        assert_eq!(told["answer"]["status"], 400);
        let steps = told["steps"].as_array().unwrap();
        let last = &steps[steps.len() - 1];
        assert_eq!(
            (&last["name"], &last["does"]),
            (
                &"plan".into(),
                &"has no key, so it is refused with 400".into()
            )
        );
    }

    #[test]
    fn the_rate_of_a_tier_is_told_to_whoever_is_in_it() {
        let told = |query: &str| {
            let told = ask(
                r#"
                listen.address = "127.0.0.1:8080"
                upstream.a.endpoints = ["http://a.test"]
                # Of the key "k".
                tier.gold.api_keys = [
                    "sha256:8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
                ]
                [[route]]
                id = "all"
                upstream = "a"
                [[route.limit]]
                by = "api-key"
                algorithm = "fixed-window"
                rate = "1/m"
                tiers = { gold = "9/m" }
                listed_only = true
                missing = "share"
                "#,
                query,
            );
            let steps = told["steps"].as_array().unwrap();
            let step = steps.iter().find(|step| step["step"] == "limit");
            step.unwrap()["does"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            told("url=/&header=x-api-key:k"),
            "admits fixed-window 9/m for this key of tier gold, else answers 429"
        );
        assert_eq!(
            told("url=/&header=x-api-key:other"),
            "has no key of a tier, so it shares fixed-window 1/m with all others without one"
        );
    }

    #[test]
    fn breakers_are_told_where_they_stand() {
        let told = ask(
            r#"
            listen.address = "127.0.0.1:8080"
            upstream.a = { endpoints = ["http://a.test"], breaker = {} }
            route = [{ id = "all", upstream = "a", breaker = {} }]
            "#,
            "url=/",
        );
        let steps = told["steps"].as_array().unwrap();
        let names: Vec<_> = steps.iter().map(|step| step["step"].as_str()).collect();
        let place = names.iter().position(|name| *name == Some("breaker"));
        assert!(place < names.iter().position(|name| *name == Some("fields")));
        let upstream = steps.last().unwrap();
        let expected = "sends to a.test:80 in turn, past those whose breaker is open";
        assert_eq!(upstream["does"], expected);
    }

    #[test]
    fn a_url_without_a_host_asks_the_gateway_by_its_address() {
        let told = ask(CONFIG, "url=/users/1");
        assert_eq!(
            (&told["route"], &told["request"]["host"]),
            (&"any".into(), &"127.0.0.1".into())
        );
        let told = ask(CONFIG, "url=/users/1&header=host:api.example.com");
        assert_eq!(told["route"], "users");
    }

    #[test]
    fn a_trusted_peer_speaks_for_its_client() {
        let told = ask(
            CONFIG,
            "url=/users&client=10.0.0.1&header=x-forwarded-for:203.0.113.5",
        );
        assert_eq!(told["request"]["client"], "203.0.113.5");
    }

    #[test]
    fn many_routes_are_told_of_in_part() {
        let mut config = "listen.address = \"127.0.0.1:0\"\n\
                          upstream.a.endpoints = [\"http://a.test\"]\n"
            .to_owned();
        for number in 0..1_000 {
            config += &format!(
                "[[route]]\nid = \"r{number}\"\npath_prefix = \"/{number}\"\nupstream = \"a\"\n"
            );
        }
        let told = ask(&config, "url=/7/x");
        assert_eq!(told["route"], "r7");
        assert_eq!(told["others"].as_array().unwrap().len(), OTHERS_MAX);
        assert_eq!(told["others_left_out"], 1_000 - 1 - OTHERS_MAX);
    }
}
