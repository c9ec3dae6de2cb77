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
        upstream.a = { endpoints = ["http://a.test"], breaker = {}, outliers = {} }
        route = [{ id = "all", upstream = "a", breaker = {} }]
        "#,
        "url=/",
    );
    let steps = told["steps"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str()).collect();
    let place = names.iter().position(|name| *name == Some("breaker"));
    assert!(place < names.iter().position(|name| *name == Some("fields")));
    let upstream = steps.last().unwrap();
    let expected = "sends to a.test:80 in turn, past those that fail more than they should, \
                    past those whose breaker is open";
    assert_eq!(upstream["does"], expected);
}

#[test]
fn what_decides_on_the_server_is_told() {
    let told = ask(
        r#"
        listen.address = "127.0.0.1:8080"
        route = [{ id = "all", upstream = "a" }]
        [upstream.a]
        endpoints = ["http://a.test"]
        policy = "ring"
        hash.by = "cookie:id"
        affinity.header = "x-server"
        checks = {}
        "#,
        "url=/",
    );
    let upstream = told["steps"].as_array().unwrap().last().unwrap();
    let expected = "sends to a.test:80 to whom its key belongs, the cookie id, but a session where it \
                    was before, by the field x-server, past those that fail their checks";
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
