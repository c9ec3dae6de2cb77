use crate::setup::{Origin, Setup, client, eventually, metric};

fn routes(routes: &str) -> Setup {
    Setup {
        routes: routes.to_owned(),
        ..Setup::default()
    }
}

const ALL: &str = "[[route]]\nid = \"all\"\nupstream = \"main\"\n";

#[test]
fn the_next_request_on_an_open_connection_is_served_by_the_new_configuration() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let gateway = Setup::default().start(&[old.url()]);
    let mut kept = client(&gateway);
    assert_eq!(kept.get("/", &[]).text(), "old");

    let reloaded = gateway
        .apply(Setup::default().config(&[new.url()]))
        .unwrap();
    assert_eq!((reloaded.generation, reloaded.changed), (2, true));
    assert!(reloaded.restart.is_empty());
    assert_eq!(kept.get("/", &[]).text(), "new");
    eventually("the connection to the endpoint that went is closed", || {
        old.closed() == old.connections()
    });
    assert_eq!(gateway.config_status().generation, 2);
    assert!((metric(&gateway, "config_generation") - 2.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn routes_come_and_go() {
    let origin = Origin::saying("hello");
    let only = |path: &str| {
        let route = format!("path_prefix = \"{path}\"\nid = \"some\"\nupstream = \"main\"\n");
        routes(&format!("[[route]]\n{route}"))
    };
    let gateway = only("/a").start(&[origin.url()]);
    let mut client = client(&gateway);
    for (path, a, b) in [("/a", 200, 404), ("/b", 404, 200)] {
        gateway.apply(only(path).config(&[origin.url()])).unwrap();
        assert_eq!(client.get("/a", &[]).status, a);
        assert_eq!(client.get("/b", &[]).status, b);
    }
    gateway.shutdown();
}

#[test]
fn an_endpoint_that_stays_keeps_its_connections_and_takes_over_its_bounds() {
    let origin = Origin::saying("hello");
    let gateway = Setup::default().start(&[origin.url()]);
    let mut client = client(&gateway);
    assert_eq!(client.get("/", &[]).status, 200);
    let other = Origin::saying("hello");
    for upstream in [
        "connections_max = 5",
        "idle_timeout = \"1h\"",
        "idle_max = 1",
    ] {
        let next = Setup {
            upstream,
            ..Setup::default()
        };
        gateway
            .apply(next.config(&[origin.url(), other.url()]))
            .unwrap();
        assert_eq!(client.get("/", &[]).status, 200);
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 1);
    let none = Setup {
        upstream: "idle_max = 0",
        ..Setup::default()
    };
    gateway.apply(none.config(&[origin.url()])).unwrap();
    eventually("what was kept is closed", || origin.closed() == 1);
    gateway.shutdown();
}

#[test]
fn a_limit_that_stays_keeps_its_buckets_wherever_its_route_goes() {
    let origin = Origin::saying("hello");
    let limited = |path: &str, limit: &str| {
        routes(&format!(
            "[[route]]\nid = \"api\"\npath_prefix = \"{path}\"\nupstream = \"main\"\n\
             [[route.limit]]\nby = \"api-key\"\nrate = \"2/h\"\n{limit}"
        ))
    };
    let gateway = limited("/a", "").start(&[origin.url()]);
    let mut client = client(&gateway);
    let mut ask = |path: &str| client.get(path, &["x-api-key: anna"]).status;
    assert_eq!(ask("/a"), 200);
    let next = limited("/b", "missing = \"share\"");
    gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(ask("/b"), 200);
    assert_eq!(ask("/b"), 429);
    // Under another name it is another limit.
    let next = limited("/b", "name = \"plan\"");
    gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(ask("/b"), 200);
    assert_eq!(ask("/b"), 200);
    assert_eq!(ask("/b"), 429);
    gateway.shutdown();
}

#[test]
fn who_is_trusted_is_asked_for_each_request() {
    let origin = Origin::saying("hello");
    let trusting = Setup {
        listen: "trusted = [\"127.0.0.1\"]",
        ..Setup::default()
    };
    let gateway = Setup::default().start(&[origin.url()]);
    let mut client = client(&gateway);
    for (setup, told) in [
        (&Setup::default(), "127.0.0.1"),
        (&trusting, "203.0.113.9, 127.0.0.1"),
        (&Setup::default(), "127.0.0.1"),
    ] {
        gateway.apply(setup.config(&[origin.url()])).unwrap();
        client.get("/", &["x-forwarded-for: 203.0.113.9"]);
        assert_eq!(origin.last_request().field("x-forwarded-for"), Some(told));
    }
    gateway.shutdown();
}

#[test]
fn what_takes_a_restart_is_told_and_the_rest_is_in_force() {
    let origin = Origin::saying("hello");
    let gateway = routes(ALL).start(&[origin.url()]);
    let next = Setup {
        top: "workers = 2\naccess_log = \"stdout\"",
        routes: ALL.replace("id", "path_prefix = \"/only\"\nid"),
        ..Setup::default()
    };
    let reloaded = gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(reloaded.restart, ["workers", "access_log"]);
    assert_eq!(gateway.config_status().restart, ["workers", "access_log"]);
    assert_eq!(client(&gateway).get("/", &[]).status, 404);
    assert_eq!(client(&gateway).get("/only", &[]).status, 200);
    gateway.shutdown();
}
