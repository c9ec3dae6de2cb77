//! The admin listener as operators and browsers meet it.

use std::io::Write;

use serde_json::Value;
use stanchion_gateway::{Config, Gateway, Switch};

use crate::setup::{Origin, Setup, before, client, eventually, start};
use crate::wire::{Reply, Wire};

fn ask(gateway: &Gateway, target: &str, fields: &[&str]) -> Reply {
    Wire::connect(gateway.admin_address()).get(target, fields)
}

fn json(gateway: &Gateway, target: &str) -> Value {
    let reply = ask(gateway, target, &["host: localhost"]);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.head.field("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).unwrap()
}

fn problem(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    let kind = reply.head.field("content-type");
    assert_eq!(kind, Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["status"], status);
    problem["detail"].as_str().unwrap().to_owned()
}

/// The events of a stream, one by one.
struct Events(Wire);

impl Events {
    fn open(gateway: &Gateway) -> Self {
        let mut wire = Wire::connect(gateway.admin_address());
        wire.ask("GET", "/events", &["host: localhost"]);
        let head = wire.head().unwrap();
        assert_eq!(head.status(), 200);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        Self(wire)
    }

    /// The next event, its name and its data; `None` at the end of the stream.
    fn next(&mut self) -> Option<(String, Value)> {
        // Each event is one chunk.
        let chunk = String::from_utf8(self.0.chunk()?).unwrap();
        let field = |name: &str| {
            let mut lines = chunk.lines();
            lines.find_map(|line| line.strip_prefix(name)).unwrap()
        };
        let name = field("event: ").to_owned();
        assert!(chunk.ends_with("\n\n"), "{chunk}");
        Some((name, serde_json::from_str(field("data: ")).unwrap()))
    }
}

#[test]
fn the_configuration_in_force_is_told_with_its_defaults_and_reads_as_itself() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let told = json(&gateway, "/config");
    assert_eq!(
        (&told["generation"], &told["error"]),
        (&1.into(), &Value::Null)
    );
    assert!(told["loaded"].as_u64().unwrap() > 1_700_000_000);
    let config = &told["config"];
    assert_eq!(config["upstream"]["main"]["endpoints"][0], origin.url());
    assert_eq!(config["listen"]["header_timeout"], "10s");
    let table: toml::Table = serde_json::from_value(config.clone()).unwrap();
    Config::from_toml(&toml::to_string(&table).unwrap()).unwrap();
    gateway.shutdown();
}

#[test]
fn an_explanation_names_the_route_that_the_request_then_takes() {
    let origins = [Origin::saying("users"), Origin::saying("site")];
    let gateway = start(&format!(
        "access_log = \"off\"\nworkers = 1\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         shutdown.idle_grace = \"10ms\"\n\
         upstream.users.endpoints = [{:?}]\nupstream.site.endpoints = [{:?}]\n\
         [[route]]\nid = \"users\"\nupstream = \"users\"\nhost = \"*.a.test\"\n\
         path_prefix = \"/users\"\n\
         [[route]]\nid = \"site\"\nupstream = \"site\"\n",
        origins[0].url(),
        origins[1].url(),
    ));
    for (host, path) in [
        ("x.a.test", "/users/7"),
        ("x.a.test", "/usersx"),
        ("a.test", "/users"),
        ("X.A.TEST:80", "/users"),
    ] {
        let told = json(&gateway, &format!("/explain?url=http://{host}{path}"));
        let taken = client(&gateway).get(path, &[&format!("host: {host}")]);
        assert_eq!(told["route"], taken.text(), "{host}{path}");
        assert_eq!(told["steps"][1]["name"], taken.text());
    }
    let reply = ask(&gateway, "/explain?url=x%20y", &["host: localhost"]);
    assert!(problem(&reply, 400).starts_with("url: \"x y\" given, expected"));
    gateway.shutdown();
}

#[test]
fn names_that_are_not_its_own_and_other_sites_are_refused_everywhere() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let host = gateway.admin_address().to_string();
    let own = format!("host: {host}");
    for path in ["/healthz", "/metrics", "/config", "/events", "/nowhere"] {
        let reply = ask(&gateway, path, &["host: evil.test"]);
        assert!(problem(&reply, 421).contains("admin.hosts"));
        for field in ["origin: http://evil.test", "sec-fetch-site: cross-site"] {
            let reply = ask(&gateway, path, &[&own, field]);
            problem(&reply, 403);
        }
    }
    let origin_field = format!("origin: http://{host}");
    assert_eq!(
        ask(&gateway, "/healthz", &[&own, &origin_field]).status,
        200
    );
    let missing = ask(&gateway, "/nowhere", &[&own]);
    assert!(problem(&missing, 404).contains("/metrics"));
    gateway.shutdown();
}

#[test]
fn every_answer_keeps_browsers_in_bounds() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    for path in ["/healthz", "/config", "/nowhere", "/explain"] {
        let head = ask(&gateway, path, &["host: localhost"]).head;
        assert_eq!(head.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(head.field("cache-control"), Some("no-store"));
        let policy = head.field("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    gateway.shutdown();
}

#[test]
fn events_begin_with_the_past_and_go_on_with_what_happens() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut events = Events::open(&gateway);
    let (name, hello) = events.next().unwrap();
    assert_eq!(name, "hello");
    assert!(hello["history"].is_array());
    assert_eq!(hello["stats"]["ready"], true);
    for _ in 0..10 {
        client(&gateway).get("/", &[]);
    }
    let mut seen = 0.0;
    eventually("ten requests are told of", || {
        let (name, stats) = events.next().unwrap();
        assert_eq!(name, "stats");
        seen = stats["totals"]["requests"].as_f64().unwrap();
        seen >= 10.0
    });
    let told = json(&gateway, "/stats");
    assert_eq!(told["totals"]["requests"], 10);
    let route = &told["routes"]["shown"][0];
    assert_eq!(
        (&route["requests"], &route["upstream"]),
        (&10.into(), &"main".into())
    );
    assert!(route["latency"]["p50"].as_f64().unwrap() > 0.0);
    let endpoint = &told["endpoints"]["shown"][0];
    assert_eq!(
        (&endpoint["requests"], &endpoint["failed"]),
        (&10.into(), &0.into())
    );
    assert_eq!(
        endpoint["connections"],
        origin.connections() - origin.closed()
    );
    gateway.shutdown();
}

#[test]
fn listeners_are_bounded_and_a_place_is_free_again_when_one_leaves() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut all: Vec<Events> = (0..16).map(|_| Events::open(&gateway)).collect();
    let reply = ask(&gateway, "/events", &["host: localhost"]);
    assert!(problem(&reply, 503).starts_with("16 pages listen already"));
    // Everything else is still answered.
    assert_eq!(ask(&gateway, "/healthz", &["host: localhost"]).status, 200);
    all.pop();
    eventually("the place is free again", || {
        let mut wire = Wire::connect(gateway.admin_address());
        wire.ask("GET", "/events", &["host: localhost"]);
        wire.head().unwrap().status() == 200
    });
    gateway.shutdown();
}

#[test]
fn an_open_stream_tells_of_the_leave_and_does_not_hold_it_up() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        shutdown: "announce = \"500ms\"\nidle_grace = \"10ms\"\ndeadline = \"1h\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut events = Events::open(&gateway);
    events.next().unwrap();
    gateway.begin_shutdown();
    let mut ready = true;
    eventually("the page hears of it", || {
        let (_, stats) = events.next().unwrap();
        ready = stats["ready"].as_bool().unwrap();
        !ready
    });
    // With the stream still open.
    assert_eq!(gateway.shutdown().connections_cut, 0);
    events.0.rest();
}

#[test]
fn a_reload_takes_the_file_over_or_tells_what_is_wrong_with_it() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let write = |id: &str| {
        let text = format!(
            "access_log = \"off\"\nworkers = 1\nlisten.address = \"127.0.0.1:0\"\n\
             admin.address = \"127.0.0.1:0\"\nshutdown.idle_grace = \"10ms\"\n\
             upstream.main.endpoints = [{:?}]\n[[route]]\nid = {id:?}\nupstream = \"main\"\n",
            origin.url()
        );
        std::fs::write(&file, text).unwrap();
    };
    write("before");
    let gateway = Gateway::start(Config::read(&file).unwrap()).unwrap();
    let reload = || {
        let mut wire = Wire::connect(gateway.admin_address());
        wire.ask("POST", "/reload", &["host: localhost", "content-length: 0"]);
        wire.reply()
    };
    let told = |reply: Reply| {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let told: Value = serde_json::from_slice(&reply.body).unwrap();
        (
            told["generation"].as_u64().unwrap(),
            told["changed"].as_bool().unwrap(),
        )
    };
    assert_eq!(told(reload()), (1, false));
    write("after");
    assert_eq!(told(reload()), (2, true));
    client(&gateway).get("/", &[]);
    assert_eq!(
        json(&gateway, "/config")["config"]["route"][0]["id"],
        "after"
    );
    assert_eq!(json(&gateway, "/explain?url=/")["route"], "after");
    eventually("the new route is counted", || {
        let route = &json(&gateway, "/stats")["routes"]["shown"][0];
        route["id"] == "after" && route["requests"] == 1
    });

    write("no name");
    let said = problem(&reload(), 422);
    assert!(said.contains("gateway.toml:8:6: route[0].id"), "{said}");
    let config = json(&gateway, "/config");
    assert_eq!(
        (&config["generation"], &config["error"]),
        (&2.into(), &said.into())
    );
    // Reading it changes nothing, so it is no way to ask for a change.
    problem(&ask(&gateway, "/reload", &["host: localhost"]), 405);
    gateway.shutdown();
}

#[test]
fn where_there_is_a_token_nothing_but_reading_is_taken_without_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"0123456789abcdef\n").unwrap();
    let gateway = start(&with_token(&file));
    let post = |fields: &[&str]| {
        let mut wire = Wire::connect(gateway.admin_address());
        let fields = [&["host: localhost", "content-length: 0"], fields].concat();
        wire.ask("POST", "/reload", &fields);
        wire.reply()
    };
    let reply = post(&[]);
    assert!(problem(&reply, 401).contains("admin.token_file"));
    let asked = reply.head.field("www-authenticate").unwrap();
    assert!(asked.starts_with("Bearer"), "{asked}");
    problem(&post(&["authorization: Bearer 0123456789abcdeg"]), 401);
    // The token is right, but this configuration came from no file.
    problem(&post(&["authorization: Bearer 0123456789abcdef"]), 422);
    assert_eq!(ask(&gateway, "/metrics", &["host: localhost"]).status, 200);
    let shown = json(&gateway, "/config").to_string();
    assert!(!shown.contains("0123456789abcdef"));
    gateway.shutdown();
}

fn with_token(file: &tempfile::NamedTempFile) -> String {
    format!(
        "access_log = \"off\"\nworkers = 1\nlisten.address = \"127.0.0.1:0\"\n\
         admin = {{ address = \"127.0.0.1:0\", token_file = {:?} }}\n\
         upstream.a.endpoints = [\"http://127.0.0.1:1\"]\n\
         route = [{{ id = \"a\", upstream = \"a\" }}]\n",
        file.path()
    )
}

#[test]
fn a_gateway_whose_token_file_holds_no_token_does_not_start() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"short").unwrap();
    let text = with_token(&file);
    let error = Gateway::start(Config::from_toml(&text).unwrap()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("admin.token_file: "), "{cause}");
    assert!(cause.contains("holds no token"), "{cause}");
}

#[test]
fn operators_set_the_switches_that_the_gateway_was_given() {
    let origin = Origin::saying("hello");
    let switch = Switch::new("mode", ["normal", "read-only"]).unwrap();
    let config = Setup::default().config(&[origin.url()]);
    let gateway = Gateway::start_with(config, (), [switch.clone()]).unwrap();
    let told = json(&gateway, "/switches");
    assert_eq!(told["switches"][0]["words"][1], "read-only");
    assert_eq!(json(&gateway, "/stats")["switches"][0]["word"], "normal");
    let set = |query: &str| {
        let mut wire = Wire::connect(gateway.admin_address());
        let target = format!("/switches/set?{query}");
        wire.ask("POST", &target, &["host: localhost"]);
        wire.reply()
    };
    assert_eq!(set("name=mode&word=read-only").status, 200);
    assert_eq!(switch.word(), "read-only");
    problem(&set("name=mode&word=off"), 400);
    problem(&set("name=mode"), 400);
    problem(&set("name=none&word=off"), 404);
    assert_eq!(switch.position(), 1);
    gateway.shutdown();
}
