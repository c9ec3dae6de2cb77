use std::time::Duration;

use stanchion_core::Clock;
use stanchion_gateway::Gateway;

use crate::setup::{Origin, Setup, client, eventually, metric};

/// A gateway whose only route has these limits, as inline tables.
fn limited(origin: &Origin, listen: &'static str, limits: &str) -> Gateway {
    let setup = Setup {
        listen,
        routes: format!("[[route]]\nid = \"all\"\nupstream = \"main\"\nlimit = [{limits}]\n"),
        ..Setup::default()
    };
    setup.start(&[origin.url()])
}

/// The statuses of some requests with this field.
fn ask(gateway: &Gateway, times: usize, field: &str) -> Vec<u16> {
    let mut client = client(gateway);
    let statuses = (0..times).map(|_| client.get("/", &[field]).status);
    statuses.collect()
}

#[test]
fn a_refused_request_is_told_when_to_come_back_and_never_reaches_the_origin() {
    let origin = Origin::saying("hello");
    let limit = "{ by = \"api-key\", rate = \"2/h\", name = \"plan\" }";
    let gateway = limited(&origin, "", limit);
    let mut client = client(&gateway);
    let admitted = client.get("/", &["x-api-key: k"]);
    assert_eq!(admitted.status, 200);
    assert_eq!(
        admitted.head.field("ratelimit-policy"),
        Some("\"plan\";q=2;w=3600")
    );
    let left = admitted.head.field("ratelimit").unwrap();
    assert!(left.starts_with("\"plan\";r=1;t="), "{left}");
    assert_eq!(client.get("/", &["authorization: Bearer k"]).status, 200);

    let refused = client.get("/", &["x-api-key: k"]);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.problem()["title"], "Too Many Requests");
    let after: u64 = refused.head.field("retry-after").unwrap().parse().unwrap();
    assert!((1_790..=1_800).contains(&after), "{after}");
    let left = refused.head.field("ratelimit").unwrap();
    assert_eq!(left, format!("\"plan\";r=0;t={after}"));
    assert_eq!(origin.requests().len(), 2);

    // The connection goes on, and others have budgets of their own.
    assert_eq!(client.get("/", &["x-api-key: other"]).status, 200);
    let series = "requests_refused_total{route=\"all\",limit=\"plan\"}";
    assert!((metric(&gateway, series) - 1.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn the_budget_comes_back_with_time() {
    let origin = Origin::saying("hello");
    let gateway = limited(
        &origin,
        "",
        "{ by = \"api-key\", rate = \"20/s\", burst = 1 }",
    );
    let mut client = client(&gateway);
    assert_eq!(client.get("/", &["x-api-key: k"]).status, 200);
    let clock = Clock::system();
    let start = clock.now();
    eventually("the budget is back", || {
        client.get("/", &["x-api-key: k"]).status == 200
    });
    // Some of the 50 ms passed before the start was read.
    assert!(clock.now() - start >= Duration::from_millis(20));
    gateway.shutdown();
}

#[test]
fn all_workers_draw_from_one_budget() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        top: "workers = 4\naccess_log = \"off\"",
        routes: "[[route]]\nid = \"all\"\nupstream = \"main\"\n\
                 limit = [{ by = \"address\", rate = \"10/h\" }]\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    // The kernel spreads connections over the workers.
    let statuses: Vec<u16> = (0..40)
        .map(|_| client(&gateway).get("/", &[]).status)
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    assert_eq!(origin.requests().len(), 10);
    gateway.shutdown();
}

#[test]
fn a_request_without_a_key_is_refused_shared_or_passed_as_configured() {
    let origin = Origin::saying("hello");
    for (missing, expected) in [
        ("", [400, 400, 400]),
        (", missing = \"share\"", [200, 429, 429]),
        (", missing = \"pass\"", [200, 200, 200]),
    ] {
        let limit = format!("{{ by = \"header:x-tenant\", rate = \"1/h\"{missing} }}");
        let gateway = limited(&origin, "", &limit);
        assert_eq!(ask(&gateway, 3, "x-other: 1"), expected, "{missing}");
        assert_eq!(ask(&gateway, 2, "x-tenant: a"), [200, 429], "{missing}");
        gateway.shutdown();
    }
}

#[test]
fn a_client_cannot_choose_its_address_but_a_trusted_proxy_can_tell_it() {
    let origin = Origin::saying("hello");
    let limit = "{ by = \"address\", rate = \"1/h\" }";
    let gateway = limited(&origin, "", limit);
    assert_eq!(ask(&gateway, 1, "x-forwarded-for: 203.0.113.1"), [200]);
    assert_eq!(ask(&gateway, 1, "x-forwarded-for: 203.0.113.2"), [429]);
    gateway.shutdown();

    let gateway = limited(&origin, "trusted = [\"127.0.0.1\"]", limit);
    assert_eq!(ask(&gateway, 2, "x-forwarded-for: 203.0.113.1"), [200, 429]);
    assert_eq!(ask(&gateway, 2, "x-forwarded-for: 203.0.113.2"), [200, 429]);
    assert_eq!(
        ask(&gateway, 1, "x-forwarded-for: 203.0.113.3, 203.0.113.2"),
        [429]
    );
    assert_eq!(ask(&gateway, 2, "x-forwarded-for: 2001:db8::1"), [200, 429]);
    assert_eq!(ask(&gateway, 1, "x-forwarded-for: 2001:db8::2"), [429]);
    gateway.shutdown();
}
