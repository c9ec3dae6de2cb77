//! Which of an upstream's endpoints a request goes to, and what operators see and change of that.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use stanchion_gateway::{Config, Gateway};

use crate::setup::{Origin, Setup, Then, admin, client, dead_url, eventually, metric, ok, start};
use crate::wire::Wire;

pub(crate) fn by(upstream: &'static str) -> Setup {
    Setup {
        upstream,
        ..Setup::default()
    }
}

/// The configuration in which the servers have these attributes.
pub(crate) fn with(setup: &Setup, servers: &[(&Origin, &str)]) -> String {
    let urls: Vec<String> = servers.iter().map(|(origin, _)| origin.url()).collect();
    let mut text = setup.text(&urls);
    for (url, (_, attributes)) in urls.iter().zip(servers) {
        let table = format!("{{ url = {url:?}, {attributes} }}");
        text = text.replacen(&format!("{url:?}"), &table, 1);
    }
    text
}

pub(crate) fn post(gateway: &Gateway, target: &str) -> (u16, Value) {
    let mut wire = Wire::connect(gateway.admin_address());
    wire.ask("POST", target, &["host: localhost"]);
    let reply = wire.reply();
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

pub(crate) fn id(origin: &Origin) -> String {
    origin.url().trim_start_matches("http://").to_owned()
}

/// What the admin port says of an endpoint.
pub(crate) fn shown(gateway: &Gateway, origin: &Origin) -> Value {
    let (status, body) = admin(gateway, "/endpoints");
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let all = body["upstreams"][0]["endpoints"].as_array().unwrap();
    let found = all.iter().find(|known| known["endpoint"] == id(origin));
    found.expect("an endpoint of that id").clone()
}

pub(crate) fn set(gateway: &Gateway, origin: &Origin, state: &str) -> (u16, Value) {
    let id = id(origin);
    let target = format!("/endpoints/set?upstream=main&endpoint={id}&state={state}");
    post(gateway, &target)
}

/// An origin that sends the first half of each answer, and the rest when it is told to.
fn halting() -> (Origin, Sender<()>) {
    let (go, told) = channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let origin = Origin::start(move |head, wire| {
        wire.body(head);
        let answer = ok("first second");
        let (first, second) = answer.split_at(answer.len() - 6);
        wire.write(first);
        let _ = told.lock().unwrap().recv();
        wire.write(second);
        Then::Keep
    });
    (origin, go)
}

#[test]
fn weights_are_kept_to_the_request() {
    let (one, three) = (Origin::saying("one"), Origin::saying("three"));
    let setup = by("policy = \"weighted-round-robin\"");
    let text = with(&setup, &[(&one, "weight = 1"), (&three, "weight = 3")]);
    let gateway = start(&text);
    let mut client = client(&gateway);
    for _ in 0..40 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!((one.requests().len(), three.requests().len()), (10, 30));
    assert_eq!(shown(&gateway, &three)["weight"], 3);
    gateway.shutdown();
}

#[test]
fn every_policy_serves_from_all_endpoints() {
    for policy in [
        "round-robin",
        "weighted-round-robin",
        "random",
        "least-connections",
        "weighted-least-connections",
        "p2c",
        "peak-ewma",
    ] {
        let (one, two) = (Origin::saying("1"), Origin::saying("2"));
        let text = Setup::default().text(&[one.url(), two.url()]);
        let upstream = "[upstream.main]\n";
        let gateway = start(&text.replace(upstream, &format!("{upstream}policy = {policy:?}\n")));
        let mut client = client(&gateway);
        for _ in 0..60 {
            assert_eq!(client.get("/", &[]).status, 200, "{policy}");
        }
        let (one, two) = (one.requests().len(), two.requests().len());
        assert!(
            one + two == 60 && one > 0 && two > 0,
            "{policy}: {one}, {two}"
        );
        gateway.shutdown();
    }
}

#[test]
fn a_request_counts_until_its_body_has_ended() {
    let ((busy, go), idle) = (halting(), Origin::saying("idle"));
    let gateway = by("policy = \"least-connections\"").start(&[busy.url(), idle.url()]);
    let (mut waiting, mut others) = (client(&gateway), client(&gateway));
    set(&gateway, &idle, "disabled");
    waiting.ask("GET", "/", &["host: a.test"]);
    let head = waiting.head().unwrap();
    assert!(head.first.contains("200"), "{}", head.first);
    set(&gateway, &idle, "enabled");
    assert_eq!(shown(&gateway, &busy)["in_flight"], 1);
    for _ in 0..5 {
        assert_eq!(others.get("/", &[]).body, b"idle");
    }
    let series = format!(
        "endpoint_in_flight{{upstream=\"main\",endpoint=\"{}\"}}",
        id(&busy)
    );
    assert!((metric(&gateway, &series) - 1.0).abs() < f64::EPSILON);
    go.send(()).unwrap();
    let is_free = || shown(&gateway, &busy)["in_flight"] == 0;
    eventually("the body has ended", is_free);

    // Given up before its end, it is over, too.
    set(&gateway, &idle, "disabled");
    let mut leaving = client(&gateway);
    leaving.ask("GET", "/", &["host: a.test"]);
    leaving.head().unwrap();
    assert_eq!(shown(&gateway, &busy)["in_flight"], 1);
    drop(leaving);
    eventually("the client has left", is_free);
    drop(go);
    gateway.shutdown();
}

#[test]
fn an_operator_drains_an_endpoint_and_takes_it_back() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let gateway = Setup::default().start(&[one.url(), two.url()]);
    let mut client = client(&gateway);
    let mut ask = |times: usize| {
        for _ in 0..times {
            assert_eq!(client.get("/", &[]).status, 200);
        }
        (one.requests().len(), two.requests().len())
    };
    assert_eq!(ask(10), (5, 5));
    let (status, now) = set(&gateway, &one, "draining");
    assert_eq!((status, &now["health"]), (200, &Value::from("draining")));
    assert_eq!(ask(10), (5, 15));
    assert_eq!(set(&gateway, &one, "enabled").1["health"], "unknown");
    assert_eq!(ask(10), (10, 20));

    for origin in [&one, &two] {
        assert_eq!(set(&gateway, origin, "disabled").1["health"], "disabled");
    }
    let refused = client.get("/", &[]);
    assert_eq!(refused.status, 503);
    let detail = &refused.problem()["detail"];
    assert_eq!(detail, "no server takes requests now, try again later");
    gateway.shutdown();
}

#[test]
fn the_answer_to_a_drain_with_a_deadline_comes_when_the_endpoint_is_idle() {
    let (busy, go) = halting();
    let gateway = Setup::default().start(&[busy.url()]);
    let mut waiting = client(&gateway);
    waiting.ask("GET", "/", &["host: a.test"]);
    waiting.head().unwrap();
    let (_, now) = set(&gateway, &busy, "draining&deadline=1ms");
    assert_eq!(
        (&now["drained"], &now["in_flight"]),
        (&"overdue".into(), &1.into())
    );
    // Both are answered, by what happens meanwhile.
    for (state, drained) in [("enabled", "resumed"), ("", "idle")] {
        set(&gateway, &busy, "enabled");
        let asked = std::thread::scope(|scope| {
            let answer = scope.spawn(|| set(&gateway, &busy, "draining&deadline=1h"));
            eventually("it drains", || {
                shown(&gateway, &busy)["health"] == "draining"
            });
            match state {
                "" => go.send(()).unwrap(),
                state => assert_eq!(set(&gateway, &busy, state).0, 200),
            }
            answer.join().unwrap()
        });
        assert_eq!((asked.0, &asked.1["drained"]), (200, &drained.into()));
    }
    assert_eq!(shown(&gateway, &busy)["in_flight"], 0);
    gateway.shutdown();
}

#[test]
fn what_cannot_be_changed_is_told() {
    let origin = Origin::saying("");
    let gateway = Setup::default().start(&[origin.url()]);
    let (status, problem) = set(&gateway, &origin, "asleep");
    assert_eq!(status, 400);
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "state: \"asleep\" given, expected enabled, draining or disabled"
    );
    for (state, said) in [
        (
            "draining&deadline=2h",
            "deadline: \"2h\" given, expected a time of at most an hour, such as \"30s\"",
        ),
        (
            "enabled&deadline=1s",
            "deadline: \"1s\" given, expected none but with draining",
        ),
    ] {
        let (status, problem) = set(&gateway, &origin, state);
        assert_eq!((status, problem["detail"].as_str()), (400, Some(said)));
    }
    let target = "/endpoints/set?upstream=main&endpoint=no&state=draining";
    assert_eq!(post(&gateway, target).0, 404);
    let target = "/endpoints/set?upstream=no&endpoint=no&state=draining";
    assert_eq!(post(&gateway, target).0, 404);
    assert_eq!(post(&gateway, "/endpoints/set?upstream=main").0, 400);
    assert_eq!(admin(&gateway, "/endpoints/set").0, 405);
    gateway.shutdown();
}

#[test]
fn a_full_endpoint_is_passed_over_and_if_all_are_the_client_is_told() {
    let (busy, go) = halting();
    let text = with(&Setup::default(), &[(&busy, "in_flight_max = 1")]);
    let gateway = start(&text);
    let (mut waiting, mut other) = (client(&gateway), client(&gateway));
    waiting.ask("GET", "/", &["host: a.test"]);
    waiting.head().unwrap();
    let refused = other.get("/", &[]);
    assert_eq!(refused.status, 503);
    let detail = &refused.problem()["detail"];
    assert_eq!(
        detail,
        "every server has as many requests as it may, try again later"
    );
    go.send(()).unwrap();
    eventually("the body has ended", || {
        shown(&gateway, &busy)["in_flight"] == 0
    });
    other.ask("GET", "/", &["host: a.test"]);
    assert!(other.head().unwrap().first.contains("200"));
    drop(go);
    gateway.shutdown();
}

#[test]
fn the_next_level_serves_when_the_first_cannot() {
    let (first, spare) = (Origin::saying("first"), Origin::saying("spare"));
    let text = with(
        &Setup::default(),
        &[(&first, "weight = 1"), (&spare, "priority = 1")],
    );
    let gateway = start(&text);
    let mut client = client(&gateway);
    for _ in 0..5 {
        assert_eq!(client.get("/", &[]).body, b"first");
    }
    set(&gateway, &first, "disabled");
    assert_eq!(client.get("/", &[]).body, b"spare");
    set(&gateway, &first, "enabled");
    assert_eq!(client.get("/", &[]).body, b"first");
    assert_eq!(spare.requests().len(), 1);
    gateway.shutdown();
}

/// Nothing of the request was sent, so it may go elsewhere.
#[test]
fn who_cannot_be_reached_costs_no_request() {
    for policy in [
        "round-robin",
        "random",
        "least-connections",
        "p2c",
        "peak-ewma",
    ] {
        let origin = Origin::saying("there");
        let text = Setup::default().text(&[dead_url(), origin.url(), dead_url()]);
        let upstream = "[upstream.main]\n";
        let gateway = start(&text.replace(
            upstream,
            &format!("{upstream}policy = {policy:?}\nbreaker = {{ window = 4, min_calls = 1, open = \"1h\" }}\n"),
        ));
        let mut client = client(&gateway);
        let statuses: Vec<u16> = (0..20).map(|_| client.get("/", &[]).status).collect();
        // Two tries may both go to one that is not there, until both breakers are open.
        let failed = statuses.iter().filter(|status| **status != 200).count();
        assert!(failed <= 2, "{policy}: {statuses:?}");
        assert_eq!(statuses[19], 200, "{policy}");
        gateway.shutdown();
    }
}

#[test]
fn an_endpoint_whose_breaker_is_open_is_passed_over_until_that_is_set_right() {
    let bad = Origin::start(|head, wire| {
        wire.body(head);
        wire.write("HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n");
        Then::Keep
    });
    let good = Origin::saying("good");
    let gateway = by("breaker = { window = 4, min_calls = 2, open = \"1h\" }")
        .start(&[bad.url(), good.url()]);
    let mut client = client(&gateway);
    for _ in 0..10 {
        client.get("/", &[]);
    }
    assert_eq!((bad.requests().len(), good.requests().len()), (2, 8));
    let now = shown(&gateway, &bad);
    assert_eq!(
        (&now["held"], &now["health"]),
        (&true.into(), &"ejected".into())
    );
    let name = format!("main/{}", id(&bad));
    let target = format!("/breakers/set?kind=endpoint&name={name}&state=closed");
    assert_eq!(post(&gateway, &target).0, 200);
    assert_eq!(shown(&gateway, &bad)["held"], false);
    for _ in 0..2 {
        client.get("/", &[]);
    }
    assert_eq!(bad.requests().len(), 3);
    gateway.shutdown();
}

#[test]
fn what_makes_no_endpoint_is_told_with_its_place() {
    for (endpoints, field, said) in [
        (
            "[{ url = \"http://a\", weight = 65536 }]",
            "upstream.main.endpoints[0].weight",
            "65536 given, from 0 to 65535 is allowed",
        ),
        (
            "[\"http://a\", { url = \"http://b\", priority = 256 }]",
            "upstream.main.endpoints[1].priority",
            "256 given, from 0 to 255 is allowed",
        ),
        (
            "[\"http://a\", \"http://a:80\"]",
            "upstream.main.endpoints[1]",
            "the server \"http://a:80\" is given twice, first on line",
        ),
        (
            "[{ weight = 1 }]",
            "upstream.main.endpoints[0]",
            "missing field `url`",
        ),
        ("[]", "upstream.main.endpoints", "0 given, from 1 to 256"),
    ] {
        let text = Setup::default()
            .text(&[])
            .replace("endpoints = []", &format!("endpoints = {endpoints}"));
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(mistake.field(), field, "{error}");
        assert!(mistake.to_string().contains(said), "{error}");
    }
    let text = Setup::default().text(&["http://a".to_owned()]);
    let text = text.replace("[upstream.main]\n", "[upstream.main]\npolicy = \"best\"\n");
    let error = Config::from_toml(&text).unwrap_err().to_string();
    assert!(
        error.contains("unknown variant `best`, expected one of `round-robin`"),
        "{error}"
    );
}
