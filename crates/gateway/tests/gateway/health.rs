//! Which servers are taken out, and how they come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use stanchion_gateway::{Config, Event, Gateway};

use crate::balance::{by, id, set, shown, with};
use crate::setup::{Origin, Setup, Then, admin, client, eventually, metric, ok, start};

/// An origin that answers 500 while the switch is on.
fn failing() -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let switch = fails.clone();
    let origin = Origin::start(move |head, wire| {
        wire.body(head);
        match switch.load(Ordering::SeqCst) {
            true => wire.write("HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n"),
            false => wire.write(ok("well")),
        }
        Then::Keep
    });
    (origin, fails)
}

fn counted(gateway: &Gateway, series: &str, origin: &Origin) -> f64 {
    let id = id(origin);
    metric(
        gateway,
        &format!("{series}{{upstream=\"main\",endpoint=\"{id}\"}}"),
    )
}

fn levels(gateway: &Gateway) -> Value {
    let (_, body) = admin(gateway, "/endpoints");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["upstreams"][0]["levels"].clone()
}

#[test]
fn failures_in_a_row_take_a_server_out_until_its_time_is_over() {
    let ((bad, fails), good) = (failing(), Origin::saying("good"));
    let config = by("outliers = { consecutive = 3, ejection_base = \"300ms\" }")
        .config(&[bad.url(), good.url()]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let observer = move |event: &Event| heard.lock().unwrap().push(event.to_string());
    let gateway = Gateway::start_observed(config, observer).unwrap();
    let mut client = client(&gateway);
    while bad.requests().len() < 3 {
        client.get("/", &[]);
    }
    let ejections = "endpoint_ejections_total";
    eventually("the last of three failures was counted", || {
        counted(&gateway, ejections, &bad) > 0.0
    });
    fails.store(false, Ordering::SeqCst);
    eventually("it is asked again", || {
        client.get("/", &[]).status == 200 && bad.requests().len() > 3
    });
    assert!((counted(&gateway, ejections, &bad) - 1.0).abs() < f64::EPSILON);
    assert_eq!(shown(&gateway, &bad)["ejected_for"], Value::Null);
    let id = id(&bad);
    let lines = [
        format!("main: {id} is taken out for 300ms: it failed too often in a row"),
        format!("main: {id} is let in again: its time is over"),
    ];
    eventually("both were told", || *told.lock().unwrap() == lines);
    gateway.shutdown();
}

#[test]
fn a_share_of_failures_takes_a_server_out_at_the_end_of_an_interval() {
    let ((bad, _), good) = (failing(), Origin::saying("good"));
    let outliers = "outliers = { consecutive = 0, success_rate = false, interval = \"100ms\", \
                    failure_percentage = { percent = 50, endpoints_min = 1, calls_min = 1 }, \
                    ejection_base = \"1h\", ejection_max = \"1h\" }";
    let gateway = by(outliers).start(&[bad.url(), good.url()]);
    let mut client = client(&gateway);
    eventually("nobody asks it any more", || {
        client.get("/", &[]);
        shown(&gateway, &bad)["health"] == "ejected"
    });
    let before = bad.requests().len();
    for _ in 0..10 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(bad.requests().len(), before);
    let left = shown(&gateway, &bad)["ejected_for"].as_f64().unwrap();
    assert!((3_000.0..=3_600.0).contains(&left), "{left}");
    gateway.shutdown();
}

#[test]
fn a_reload_keeps_who_is_out_and_lets_all_in_where_nobody_is_to_be() {
    let ((bad, _), good) = (failing(), Origin::saying("good"));
    let out = "outliers = { consecutive = 1, ejection_base = \"1h\", ejection_max = \"1h\" }";
    let urls = [bad.url(), good.url()];
    let gateway = by(out).start(&urls);
    let mut client = client(&gateway);
    for _ in 0..2 {
        client.get("/", &[]);
    }
    let health = || shown(&gateway, &bad)["health"].clone();
    eventually("it is out", || health() == "ejected");
    let milder = "outliers = { consecutive = 100 }\npolicy = \"p2c\"";
    for other in [out, milder] {
        gateway.apply(by(other).config(&urls)).unwrap();
        assert_eq!(health(), "ejected", "{other}");
    }
    gateway.apply(Setup::default().config(&urls)).unwrap();
    assert_eq!(health(), "unknown");
    gateway.shutdown();
}

#[test]
fn who_is_back_starts_slowly() {
    let (warm, cold) = (Origin::saying("warm"), Origin::saying("cold"));
    let gateway = by("slow_start = { window = \"24h\" }").start(&[warm.url(), cold.url()]);
    assert_eq!(shown(&gateway, &cold)["share_percent"], 100);
    set(&gateway, &cold, "disabled");
    set(&gateway, &cold, "enabled");
    assert_eq!(shown(&gateway, &cold)["share_percent"], 10);
    let mut client = client(&gateway);
    for _ in 0..110 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!((warm.requests().len(), cold.requests().len()), (100, 10));
    gateway.shutdown();
}

#[test]
fn too_few_that_are_fit_are_not_left_alone_with_the_load() {
    for (panic_threshold, panics) in [("", true), ("panic_threshold = 0", false)] {
        let ((one, _), (two, _), good) = (failing(), failing(), Origin::saying("good"));
        let upstream = format!(
            "{panic_threshold}\noutliers = {{ consecutive = 1, ejection_percent_max = 100, \
             ejection_base = \"1h\", ejection_max = \"1h\" }}"
        );
        let gateway = by(upstream.leak()).start(&[one.url(), two.url(), good.url()]);
        let mut client = client(&gateway);
        for bad in [&one, &two] {
            eventually("it is out", || {
                client.get("/", &[]);
                shown(&gateway, bad)["health"] == "ejected"
            });
        }
        assert_eq!(levels(&gateway)[0]["panic"], panics);
        let before = one.requests().len();
        for _ in 0..6 {
            client.get("/", &[]);
        }
        assert_eq!(one.requests().len() > before, panics);
        let series = "upstream_panic{upstream=\"main\"}";
        assert_eq!(metric(&gateway, series) > 0.0, panics);
        gateway.shutdown();
    }
}

#[test]
fn requests_stay_in_their_zone_while_that_can_take_its_part() {
    let (near, far) = (Origin::saying("near"), Origin::saying("far"));
    let setup = by("local_zone = \"a\"\nzone_endpoints_min = 0");
    let text = with(&setup, &[(&near, "zone = \"a\""), (&far, "zone = \"b\"")]);
    let gateway = start(&text);
    let mut client = client(&gateway);
    for _ in 0..20 {
        assert_eq!(client.get("/", &[]).body, b"near");
    }
    set(&gateway, &near, "disabled");
    assert_eq!(client.get("/", &[]).body, b"far");
    gateway.shutdown();
}

#[test]
fn what_makes_no_rule_is_told_with_its_place() {
    for (upstream, field, said) in [
        (
            "panic_threshold = 101",
            "panic_threshold",
            "101 given, from 0 to 100 is allowed",
        ),
        (
            "overprovisioning = 99",
            "overprovisioning",
            "99 given, from 100 to 10000 is allowed",
        ),
        (
            "local_zone = \"\"",
            "local_zone",
            "\"\" given, expected a name",
        ),
        (
            "slow_start = { window = \"1ms\" }",
            "slow_start.window",
            "1ms given, from 100ms to 86400s is allowed",
        ),
        (
            "slow_start = { aggression = 0.0 }",
            "slow_start.aggression",
            "0 given, from 0.01 to 100 is allowed",
        ),
        (
            "slow_start = { percent_min = 0 }",
            "slow_start.percent_min",
            "0 given, from 1 to 100 is allowed",
        ),
        (
            "outliers = { consecutive = 1000001 }",
            "outliers.consecutive",
            "from 0 to 1000000 is allowed",
        ),
        (
            "outliers = { success_rate = { calls_min = 0 } }",
            "outliers.success_rate.calls_min",
            "0 given, from 1",
        ),
        (
            "outliers = { success_rate = { stdev_factor = nan } }",
            "outliers.success_rate.stdev_factor",
            "NaN given, from 0 to 100 is allowed",
        ),
        (
            "outliers = { failure_percentage = 85 }",
            "outliers.failure_percentage",
            "expected a table, true or false",
        ),
        (
            "outliers = { interval = \"99ms\" }",
            "outliers.interval",
            "99ms given, from 100ms to 3600s is allowed",
        ),
        (
            "outliers = { ejection_max = \"25h\" }",
            "outliers.ejection_max",
            "from 0ns to 86400s is allowed",
        ),
        (
            "outliers = { ejected_max = 1 }",
            "outliers.ejected_max",
            "unknown field `ejected_max`",
        ),
    ] {
        let setup = Setup::default().text(&["http://a".to_owned()]);
        let text = setup.replace(
            "[upstream.main]\n",
            &format!("[upstream.main]\n{upstream}\n"),
        );
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(mistake.field(), format!("upstream.main.{field}"), "{error}");
        let line = text.lines().position(|line| line == upstream).unwrap() + 1;
        assert_eq!(mistake.line(), line, "{error}");
        assert!(mistake.message().contains(said), "{error}");
    }
}
