//! Which trace a request belongs to.

use std::collections::HashSet;

use serde_json::Value;

use crate::http2::{Client, get, run};
use crate::setup::{Origin, Setup, before, client, eventually};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LATER: &str = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";

/// The trace that a gateway began, of the field that says so.
fn begun(parent: &str) -> &str {
    let parts: Vec<&str> = parent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("{parent}");
    };
    assert_eq!((version, flags), ("00", "00"), "{parent}");
    assert_eq!((trace.len(), span.len()), (32, 16), "{parent}");
    assert!(!span.bytes().all(|byte| byte == b'0'), "{parent}");
    trace
}

#[test]
fn a_trace_is_passed_on_as_it_came() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for parent in [PARENT, LATER] {
        let parent_line = format!("traceparent: {parent}");
        let fields = [&parent_line, "tracestate: a=1", "tracestate: b=2"];
        assert_eq!(client.get("/", &fields).status, 200);
        let request = origin.last_request();
        assert_eq!(request.field("traceparent"), Some(parent));
        assert_eq!(request.all("tracestate"), ["a=1", "b=2"]);
    }
    gateway.shutdown();
}

#[test]
fn a_trace_is_begun_where_there_is_none_or_a_malformed_one() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let twice = format!("{PARENT}\r\ntraceparent: {PARENT}");
    let longer = format!("{PARENT}-more");
    let upper = PARENT.to_uppercase();
    let mut seen = HashSet::new();
    for parent in ["", "nonsense", &twice, &longer, &upper] {
        let given = format!("traceparent: {parent}");
        client.get("/", &[&given, "tracestate: a=1"]);
        let request = origin.last_request();
        let trace = begun(request.field("traceparent").unwrap()).to_owned();
        assert_ne!(trace, ID);
        assert!(seen.insert(trace));
        assert_eq!(request.field("tracestate"), None, "{parent}");
    }
    client.get("/", &["tracestate: a=1"]);
    assert!(seen.insert(begun(origin.last_request().field("traceparent").unwrap()).to_owned()));
    assert_eq!(origin.last_request().field("tracestate"), None);
    gateway.shutdown();
}

#[test]
fn a_trace_that_is_begun_is_sampled_if_the_file_says_so() {
    let origin = Origin::saying("hello");
    let setup = Setup {
        top: "workers = 1\naccess_log = \"off\"\ntrace_ratio = 1",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    client.get("/", &[]);
    let request = origin.last_request();
    let parent = request.field("traceparent").unwrap();
    assert!(parent.ends_with("-01"), "{parent}");
    // That of another is left as it is.
    let unsampled = PARENT.replace("-01", "-00");
    client.get("/", &[&format!("traceparent: {unsampled}")]);
    let request = origin.last_request();
    assert_eq!(request.field("traceparent"), Some(&*unsampled));
    gateway.shutdown();
}

#[test]
fn clients_of_http_2_are_in_traces_too() {
    let origin = Origin::saying("hello");
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut request = get("/");
        request
            .headers_mut()
            .insert("traceparent", PARENT.parse().unwrap());
        assert_eq!(client.ask(request, None).await.status(), 200);
        assert_eq!(client.ask(get("/"), None).await.status(), 200);
    });
    let requests = origin.requests();
    assert_eq!(requests[0].field("traceparent"), Some(PARENT));
    begun(requests[1].field("traceparent").unwrap());
    gateway.shutdown();
}

#[test]
fn the_log_names_the_trace_that_the_server_was_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.json");
    let top = format!("workers = 1\naccess_log = \"file:{}\"", path.display());
    let origin = Origin::saying("hello");
    let setup = Setup {
        top: top.leak(),
        routes: "[[route]]\nid = \"a\"\nupstream = \"main\"\npath_prefix = \"/a\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    let mut client = client(&gateway);
    let given = format!("traceparent: {PARENT}");
    client.get("/a/given", &[&given]);
    client.get("/a/begun", &[]);
    client.get("/none", &[&given]);
    eventually("three lines are written", || {
        std::fs::read_to_string(&path).unwrap().lines().count() == 3
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = origin.last_request();
    assert_eq!(lines[0]["trace"], ID);
    assert_eq!(lines[1]["trace"], begun(told.field("traceparent").unwrap()));
    assert_eq!(lines[2]["trace"], ID);
    gateway.shutdown();
}
