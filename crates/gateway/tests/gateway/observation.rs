use std::collections::HashSet;

use serde_json::Value;

use crate::setup::{Origin, Setup, admin, before, client, dead_url, eventually, metric, start};

#[test]
fn metrics_bear_the_routes_id_and_nothing_that_a_client_chose() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        routes: "[[route]]\nid = \"api\"\npath_prefix = \"/api\"\nupstream = \"main\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    let series = || {
        let (status, text) = admin(&gateway, "/metrics");
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        names.collect::<HashSet<String>>()
    };
    let ask = |client: &mut crate::wire::Wire, number: usize| {
        for path in [format!("/api/{number}"), format!("/secret-{number}")] {
            client.ask("GET", &path, &[&format!("host: h{number}.test")]);
            client.reply();
            client.ask(&format!("M{number}"), &path, &[]);
            client.reply();
        }
    };
    ask(&mut client, 0);
    let before = series();
    for number in 1..50 {
        ask(&mut client, number);
    }
    assert_eq!(series(), before);
    assert!(before.iter().all(|series| !series.contains("secret")));

    for (labels, count) in [
        ("route=\"api\",method=\"GET\",status=\"2xx\"", 50.0),
        ("route=\"api\",method=\"other\",status=\"2xx\"", 50.0),
        ("route=\"unmatched\",method=\"GET\",status=\"4xx\"", 50.0),
    ] {
        let found = metric(&gateway, &format!("requests_total{{{labels}}}"));
        assert!((found - count).abs() < f64::EPSILON, "{labels}: {found}");
    }
    let timed = metric(&gateway, "request_duration_seconds_count{route=\"api\"}");
    assert!((timed - 100.0).abs() < f64::EPSILON);
    assert!(metric(&gateway, "requests_in_flight").abs() < f64::EPSILON);
    assert!((metric(&gateway, "connections") - 1.0).abs() < f64::EPSILON);
    gateway.shutdown();
}

#[test]
fn every_request_gets_a_line_of_json_and_shutdown_writes_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    let origin = Origin::saying("hello");
    let gateway = start(&format!(
        "workers = 2\naccess_log = \"file:{}\"\n\
         listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         shutdown.idle_grace = \"50ms\"\n\
         upstream.main.endpoints = [{:?}]\nupstream.dead.endpoints = [{:?}]\n\
         [[route]]\nid = \"main\"\nupstream = \"main\"\npath_prefix = \"/main\"\n\
         limit = [{{ by = \"header:x-tenant\", rate = \"1/h\", missing = \"pass\" }}]\n\
         [[route]]\nid = \"dead\"\nupstream = \"dead\"\npath_prefix = \"/dead\"\n",
        path.display(),
        origin.url(),
        dead_url(),
    ));
    let mut ids = Vec::new();
    for (target, field) in [
        ("/main/a%22b?token=secret", "x-tenant: a"),
        ("/main", "x-tenant: a"),
        ("/dead", "x-tenant: a"),
        ("/none", "x-tenant: a"),
    ] {
        let reply = client(&gateway).get(target, &[field]);
        ids.push(reply.head.field("x-request-id").unwrap().to_owned());
    }
    let early = || std::fs::read_to_string(&path).unwrap();
    eventually("lines are written while it runs", || {
        early().lines().count() == 4
    });
    for _ in 0..500 {
        client(&gateway).get("/main", &[]);
    }
    gateway.shutdown();

    let text = early();
    assert!(!text.contains("secret"));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 504);
    let of = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap();
    let served = of(&ids[0]);
    assert_eq!(served["route"], "main");
    assert_eq!(served["method"], "GET");
    assert_eq!(served["path"], "/main/a%22b");
    assert_eq!(served["host"], "a.test");
    assert_eq!(served["client"], "127.0.0.1");
    assert_eq!(served["status"], 200);
    assert_eq!(served["bytes"], 5);
    assert_eq!(
        served["endpoint"],
        origin.url().trim_start_matches("http://")
    );
    assert!(served["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(of(&ids[1])["refused_by"], "x-tenant");
    assert_eq!(of(&ids[2])["problem"], "connect");
    assert_eq!(of(&ids[3])["route"], "unmatched");
    assert_eq!(of(&ids[3])["problem"], "no_route");
}

#[test]
fn the_admin_listener_serves_health_readiness_and_metrics_to_readers() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    assert_eq!(admin(&gateway, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(admin(&gateway, "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(admin(&gateway, "/other").0, 404);
    let mut client = crate::wire::Wire::connect(gateway.admin_address());
    client.ask(
        "POST",
        "/metrics",
        &["host: localhost", "content-length: 0"],
    );
    assert_eq!(client.reply().status, 405);
    // Nothing of it is on the clients' side.
    assert_eq!(
        crate::setup::client(&gateway).get("/healthz", &[]).text(),
        "hello"
    );
    gateway.shutdown();
}
