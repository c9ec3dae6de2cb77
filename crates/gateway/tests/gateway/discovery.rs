//! Servers that are found while the gateway runs.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use stanchion_gateway::{Config, Event, Gateway};

use crate::balance::{id, post};
use crate::setup::{Origin, Setup, admin, client, eventually, metric};

fn list(file: &Path, servers: &[(&Origin, &str)]) {
    let entry = |(origin, more): &(&Origin, &str)| {
        format!("[[endpoint]]\naddress = \"{}\"\n{more}\n", id(origin))
    };
    let entries: String = servers.iter().map(entry).collect();
    let text = match servers {
        [] => "endpoint = []\n",
        _ => &entries,
    };
    std::fs::write(file, text).unwrap();
}

/// A configuration whose servers the file lists.
fn found_in(file: &Path, more: &str) -> String {
    let text = Setup::default().text(&[]);
    let discovery = format!("discovery = {{ file = {file:?} }}\n{more}");
    text.replace("endpoints = []", &discovery)
}

type Told = Arc<Mutex<Vec<String>>>;

fn start(text: &str) -> (Gateway, Told) {
    let told = Told::default();
    let heard = told.clone();
    let observer = move |event: &Event| heard.lock().unwrap().push(event.to_string());
    let config = Config::from_toml(text).unwrap();
    (Gateway::start_observed(config, observer).unwrap(), told)
}

fn endpoints(gateway: &Gateway) -> Vec<Value> {
    let (_, body) = admin(gateway, "/endpoints");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["upstreams"][0]["endpoints"]
        .as_array()
        .unwrap()
        .clone()
}

fn set(gateway: &Gateway, origin: &Origin, state: &str) {
    let target = format!(
        "/endpoints/set?upstream=main&endpoint={}&state={state}",
        id(origin)
    );
    assert_eq!(post(gateway, &target).0, 200);
}

#[test]
fn servers_come_and_go_with_their_list_and_those_that_stay_keep_what_is_known_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let [one, two, three] = ["one", "two", "three"].map(Origin::saying);
    list(&file, &[(&one, ""), (&two, "weight = 3")]);
    let (gateway, told) = start(&found_in(&file, "breaker = {}"));
    // They were found before the first request could come.
    let mut client = client(&gateway);
    for _ in 0..4 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (2, 2));
    assert_eq!(endpoints(&gateway)[1]["weight"], 3);
    set(&gateway, &two, "disabled");
    let connections = one.connections();

    list(&file, &[(&three, "priority = 1"), (&two, ""), (&one, "")]);
    eventually("the third is found", || endpoints(&gateway).len() == 3);
    let health = |gateway: &Gateway, place: usize| endpoints(gateway)[place]["health"].clone();
    assert_eq!(health(&gateway, 1), "disabled");
    for _ in 0..4 {
        assert_eq!(client.get("/", &[]).body, b"one");
    }
    assert_eq!(one.connections(), connections, "the kept one was used");

    list(&file, &[(&three, "")]);
    eventually("only the third is left", || endpoints(&gateway).len() == 1);
    assert_eq!(client.get("/", &[]).body, b"three");
    // The configuration is the one that it was, and does not list them.
    assert_eq!(gateway.config_status().generation, 1);
    let (_, config) = admin(&gateway, "/config");
    let config: Value = serde_json::from_str(&config).unwrap();
    let upstream = &config["config"]["upstream"]["main"];
    assert_eq!(upstream["discovery"]["file"], file.to_str().unwrap());
    assert_eq!(upstream["endpoints"], Value::Null);
    eventually("series of those that went are gone", || {
        let (_, text) = admin(&gateway, "/metrics");
        !text.contains(&id(&one)) && text.contains(&id(&three))
    });
    let breakers = admin(&gateway, "/breakers").1;
    assert!(breakers.contains(&id(&three)) && !breakers.contains(&id(&one)));
    let lines = [
        "main: 2 servers were found, 0 before",
        "main: 3 servers were found, 2 before",
        "main: 1 servers were found, 3 before",
    ];
    let found = |line: &&String| line.contains("were found,");
    let told: Vec<String> = told.lock().unwrap().iter().filter(found).cloned().collect();
    assert_eq!(told, lines);
    gateway.shutdown();
}

#[test]
fn a_list_that_is_wrong_changes_nothing_and_an_empty_one_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let origin = Origin::saying("there");
    // At first there is none.
    let (gateway, told) = start(&found_in(&file, ""));
    let mut client = client(&gateway);
    assert_eq!(client.get("/", &[]).status, 503);
    list(&file, &[(&origin, "")]);
    eventually("it is found", || client.get("/", &[]).status == 200);
    for (wrong, said) in [
        (
            "[[endpoint]]\naddress = \"a/b\"\nweight = 1",
            "endpoint[0].address",
        ),
        ("[[endpoint]]\naddress = \"a:1\"\nwieght = 1", "wieght"),
        (
            "endpoint = [{ address = \"a:1\" }, { id = \"x\", address = \"a:1\" }]",
            "two endpoints have the id \"a:1\"",
        ),
    ] {
        std::fs::write(&file, wrong).unwrap();
        eventually(said, || {
            let told = told.lock().unwrap();
            let last = told.last().unwrap();
            last.contains("were not found, those of before stay") && last.contains(said)
        });
        assert_eq!(client.get("/", &[]).status, 200);
    }
    list(&file, &[]);
    eventually("there are none", || client.get("/", &[]).status == 503);
    gateway.shutdown();
}

#[test]
fn a_reload_keeps_what_was_found_until_something_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let [one, two] = ["one", "two"].map(Origin::saying);
    list(&first, &[(&one, "")]);
    let (gateway, _) = start(&found_in(&first, ""));
    let mut client = client(&gateway);
    assert_eq!(client.get("/", &[]).body, b"one");
    let apply = |text: &str| gateway.apply(Config::from_toml(text).unwrap()).unwrap();
    // The same list, and one that is not there.
    for text in [found_in(&first, "policy = \"p2c\""), found_in(&second, "")] {
        apply(&text);
        assert_eq!(client.get("/", &[]).body, b"one");
    }
    list(&second, &[(&two, "")]);
    eventually("the other list is there", || {
        client.get("/", &[]).body == b"two"
    });
    // Nobody reads the first one any more.
    list(&first, &[]);
    apply(&Setup::default().text(&[one.url()]));
    assert_eq!(client.get("/", &[]).body, b"one");
    apply(&found_in(&second, ""));
    eventually("they are found again", || {
        client.get("/", &[]).body == b"two"
    });
    gateway.shutdown();
}

#[test]
fn a_reload_that_found_servers_do_not_fit_changes_no_upstream_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let [listed, found] = ["listed", "found"].map(Origin::saying);
    list(&file, &[(&found, "weight = 65535")]);
    let text = |weight: u16, policy: &str| {
        let endpoint = format!("[{{ url = {:?}, weight = {weight} }}]", listed.url());
        let second = format!(
            "[upstream.second]\ndiscovery = {{ file = {file:?} }}\npolicy = \"{policy}\"\n"
        );
        let text = Setup::default().text(&[]);
        text.replace("endpoints = []", &format!("endpoints = {endpoint}")) + &second
    };
    let (gateway, told) = start(&text(1, "round-robin"));
    eventually("the other's server is found", || {
        told.lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("second: 1 servers"))
    });
    // A ring has 160 points for each unit of weight, and not so many.
    let error = gateway.apply(Config::from_toml(&text(3, "ring")).unwrap());
    let error = error.unwrap_err().to_string();
    assert!(!error.is_empty());
    assert_eq!(endpoints(&gateway)[0]["weight"], 1);
    gateway
        .apply(Config::from_toml(&text(3, "maglev")).unwrap())
        .unwrap();
    assert_eq!(endpoints(&gateway)[0]["weight"], 3);
    gateway.shutdown();
}

/// Another process at the address of an earlier one: what was known of that says nothing of it.
#[test]
fn a_server_of_another_incarnation_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("servers.toml");
    let origin = Origin::saying("hello");
    list(&file, &[(&origin, "")]);
    let (gateway, _) = start(&found_in(&file, ""));
    set(&gateway, &origin, "disabled");
    list(&file, &[(&origin, "incarnation = 2")]);
    eventually("it is another one", || {
        endpoints(&gateway)[0]["health"] == "unknown"
    });
    assert_eq!(client(&gateway).get("/", &[]).status, 200);
    let requests = format!(
        "upstream_requests_total{{upstream=\"main\",endpoint=\"{}\"}}",
        id(&origin)
    );
    assert!(metric(&gateway, &requests) > 0.0);
    gateway.shutdown();
}

#[test]
fn what_finds_no_servers_is_told_with_its_place() {
    for (upstream, field, said) in [
        ("discovery = {}", "discovery", "expected a file"),
        (
            "discovery = { file = \"\" }",
            "discovery.file",
            "expected the path of a list",
        ),
        (
            "discovery = { file = \"a\" }\nendpoints = [\"http://a\"]",
            "discovery",
            "given beside endpoints",
        ),
        (
            "policy = \"p2c\"",
            "",
            "expected its endpoints, or a discovery",
        ),
    ] {
        let text = Setup::default()
            .text(&[])
            .replace("endpoints = []", upstream);
        let error = Config::from_toml(&text).unwrap_err();
        let mistake = &error.mistakes()[0];
        let field = format!("upstream.main.{field}");
        assert_eq!(mistake.field(), field.trim_end_matches('.'), "{error}");
        assert!(mistake.message().contains(said), "{error}");
    }
}
