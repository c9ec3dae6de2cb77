//! Servers that are asked whether they are well, and used only while they are.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use http::Response;
use serde_json::Value;
use stanchion_gateway::{Config, Gateway};

use crate::balance::{by, id, post, shown};
use crate::origin2::Origin2;
use crate::setup::{Origin, Setup, Then, client, dead_url, eventually, metric, ok};

/// An origin that answers checks with the status that is set, and all else with 200.
fn checked(first: u16) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let set = status.clone();
    let origin = Origin::start(move |head, wire| {
        wire.body(head);
        match head.first.contains("/up") {
            true => {
                let status = set.load(Ordering::SeqCst);
                let ill = if status == 203 { "x-ill: yes\r\n" } else { "" };
                wire.write(format!(
                    "HTTP/1.1 {status} S\r\n{ill}content-length: 0\r\n\r\n"
                ));
            }
            false => wire.write(ok("hello")),
        }
        Then::Keep
    });
    (origin, status)
}

/// Soon, and with more time for an answer than a busy machine takes.
const OFTEN: &str =
    "interval = \"500ms\", timeout = \"499ms\", jitter_percent = 0, rise = 1, fall = 1";

fn http(fields: &str) -> Setup {
    by(format!("checks = {{ path = \"/up\", {OFTEN}{fields} }}").leak())
}

fn health(gateway: &Gateway, origin: &Origin) -> Value {
    shown(gateway, origin)["health"].clone()
}

fn requests(origin: &Origin) -> usize {
    let all = origin.requests();
    let checks = all.iter().filter(|head| head.first.contains("/up"));
    all.len() - checks.count()
}

#[test]
fn who_fails_its_checks_is_not_used_until_it_passes_again() {
    let ((ill, status), (well, _)) = (checked(503), checked(200));
    let gateway = http("").start(&[ill.url(), well.url()]);
    let becomes = |wanted: &str| {
        eventually(wanted, || health(&gateway, &ill) == wanted);
        eventually("the other is well", || health(&gateway, &well) == "healthy");
    };
    becomes("unhealthy");
    let mut client = client(&gateway);
    for _ in 0..10 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!((requests(&ill), requests(&well)), (0, 10));
    status.store(200, Ordering::SeqCst);
    becomes("healthy");
    for _ in 0..10 {
        client.get("/", &[]);
    }
    assert_eq!((requests(&ill), requests(&well)), (5, 15));
    status.store(404, Ordering::SeqCst);
    becomes("unhealthy");
    for (origin, result) in [(&ill, "passed"), (&ill, "failed"), (&well, "passed")] {
        let id = id(origin);
        let labels = format!("{{upstream=\"main\",endpoint=\"{id}\",result=\"{result}\"}}");
        assert!(metric(&gateway, &format!("endpoint_checks_total{labels}")) >= 1.0);
    }
    // Each on a connection of its own, and none of them is left.
    let connections = well.connections();
    assert!(connections > 2);
    gateway.shutdown();
}

#[test]
fn a_check_asks_as_it_is_told_to() {
    let (origin, status) = checked(203);
    let fields = ", host = \"up.test:99\", status = \"200-299\", degraded_header = \"X-Ill\"";
    let gateway = http(fields).start(&[origin.url()]);
    eventually("it says that it is ill", || {
        health(&gateway, &origin) == "degraded"
    });
    let head = &origin.requests()[0];
    assert_eq!(head.first, "GET /up HTTP/1.1");
    assert_eq!(head.field("host"), Some("up.test:99"));
    assert_eq!(head.field("user-agent"), Some("stanchion-gateway-check"));
    // It is the only one there is.
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    status.store(204, Ordering::SeqCst);
    eventually("it is well", || health(&gateway, &origin) == "healthy");
    gateway.shutdown();
}

#[test]
fn a_server_of_http_2_is_asked_in_http_2() {
    let origin = Origin2::start(|mut asked| async move {
        let authority = asked
            .head
            .uri
            .authority()
            .map(|host| host.as_str().to_owned());
        let status = match authority.as_deref() {
            Some("up.test") => 200,
            _ => 500,
        };
        let response = Response::builder().status(status).body(()).unwrap();
        asked.respond.send_response(response, true).unwrap();
    });
    let upstream =
        format!("protocol = \"h2\"\nchecks = {{ path = \"/up?a\", host = \"up.test\", {OFTEN} }}");
    let gateway = by(upstream.leak()).start(&[origin.url()]);
    eventually("it is well", || {
        let (_, body) = crate::setup::admin(&gateway, "/endpoints");
        body.contains("\"health\":\"healthy\"")
    });
    assert_eq!(origin.requests()[0].uri, "http://up.test/up?a");
    gateway.shutdown();
}

#[test]
fn without_a_path_a_connection_suffices() {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let dead = dead_url();
    for (fields, silent_is) in [("", "healthy"), ("path = \"/up\", ", "unhealthy")] {
        let upstream = format!("checks = {{ {fields}{OFTEN} }}");
        let gateway = by(upstream.leak()).start(&[silent_url.clone(), dead.clone()]);
        let health = |url: &str| {
            let (_, body) = crate::setup::admin(&gateway, "/endpoints");
            let body: Value = serde_json::from_str(&body).unwrap();
            let all = body["upstreams"][0]["endpoints"]
                .as_array()
                .unwrap()
                .clone();
            let name = url.trim_start_matches("http://");
            let found = all.into_iter().find(|known| known["endpoint"] == name);
            found.unwrap()["health"].clone()
        };
        eventually("both were checked", || {
            health(&silent_url) == silent_is && health(&dead) == "unhealthy"
        });
        gateway.shutdown();
    }
}

#[test]
fn a_reload_goes_on_from_what_checks_found_and_without_checks_nothing_is_known() {
    let (ill, _) = checked(500);
    let urls = [ill.url()];
    let gateway = http("").start(&urls);
    eventually("it failed", || health(&gateway, &ill) == "unhealthy");
    let seldom = by("checks = { path = \"/up\", interval = \"24h\" }");
    gateway.apply(seldom.config(&urls)).unwrap();
    assert_eq!(health(&gateway, &ill), "unhealthy");
    let connections = ill.connections();
    gateway.apply(Setup::default().config(&urls)).unwrap();
    eventually("it is not known", || health(&gateway, &ill) == "unknown");
    eventually("checks have ended", || ill.closed() == ill.connections());
    assert_eq!(ill.connections(), connections);

    // An upstream that went and came back at once is another one.
    gateway.apply(http("").config(&urls)).unwrap();
    eventually("it failed", || health(&gateway, &ill) == "unhealthy");
    let text = |name: &str| {
        let text = http("").text(&urls);
        Config::from_toml(&text.replace("main", name)).unwrap()
    };
    gateway.apply(text("other")).unwrap();
    gateway.apply(http("").config(&urls)).unwrap();
    eventually("it is checked anew", || {
        health(&gateway, &ill) == "unhealthy"
    });
    gateway.shutdown();
}

/// Or all requests that it is sent fail, and fast, which looks attractive.
#[test]
fn who_passes_its_checks_is_not_used_while_its_breaker_is_open() {
    let (one, _) = checked(200);
    let (other, _) = checked(200);
    let setup =
        by(format!("breaker = {{ open = \"1h\" }}\nchecks = {{ path = \"/up\", {OFTEN} }}").leak());
    let gateway = setup.start(&[one.url(), other.url()]);
    eventually("both are well", || {
        health(&gateway, &one) == "healthy" && health(&gateway, &other) == "healthy"
    });
    let breaker = |state: &str| {
        let name = format!("main/{}", id(&one));
        let target = format!("/breakers/set?kind=endpoint&name={name}&state={state}");
        assert_eq!(post(&gateway, &target).0, 200);
    };
    let mut client = client(&gateway);
    let mut ask = || {
        for _ in 0..10 {
            assert_eq!(client.get("/", &[]).status, 200);
        }
        requests(&one)
    };
    for _ in 0..2 {
        let before = ask();
        assert!(before > 0);
        breaker("open");
        assert_eq!(ask(), before);
        assert_eq!(shown(&gateway, &one)["held"], true);
        let checks = one.requests().len();
        eventually("it was checked meanwhile", || one.requests().len() > checks);
        assert_eq!(shown(&gateway, &one)["held"], true);
        assert_eq!(ask(), before);
        breaker("closed");
        assert!(ask() > before);
    }
    gateway.shutdown();
}

#[test]
fn what_makes_no_check_is_told_with_its_place() {
    for (checks, field, said) in [
        (
            "path = \"up\"",
            "path",
            "expected a path that begins with /",
        ),
        ("interval = \"9ms\"", "interval", "9ms given, from 10ms to"),
        (
            "interval = \"1s\", timeout = \"1s\"",
            "timeout",
            "1s given, from 1ms to 999ms is allowed",
        ),
        ("jitter_percent = 101", "jitter_percent", "from 0 to 100"),
        ("rise = 0", "rise", "0 given, from 1"),
        ("at_once_max = 1025", "at_once_max", "from 1 to 1024"),
        ("host = \"a\"", "host", "given without a path"),
        ("status = \"200\"", "status", "given without a path"),
        (
            "path = \"/\", status = \"299-200\"",
            "status",
            "expected a status from 100 to 599",
        ),
        ("every = \"1s\"", "every", "unknown field `every`"),
    ] {
        let line = format!("checks = {{ {checks} }}");
        let setup = Setup::default().text(&["http://a".to_owned()]);
        let text = setup.replace("[upstream.main]\n", &format!("[upstream.main]\n{line}\n"));
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(
            mistake.field(),
            format!("upstream.main.checks.{field}"),
            "{error}"
        );
        assert_eq!(
            text.lines().nth(mistake.line() - 1),
            Some(&*line),
            "{error}"
        );
        assert!(mistake.message().contains(said), "{error}");
    }
}
