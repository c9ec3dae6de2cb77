use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use stanchion_gateway::{Config, Event, Gateway};

use crate::setup::{LONG, Origin, Setup, Then, admin, client, eventually, metric};
use crate::wire::Wire;

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
fn a_limit_with_another_quota_goes_on_from_what_was_used() {
    let origin = Origin::saying("hello");
    let limited = |limit: &str| {
        routes(&format!(
            "[[route]]\nid = \"api\"\nupstream = \"main\"\n\
             [[route.limit]]\nby = \"api-key\"\n{limit}"
        ))
    };
    let gateway = limited("rate = \"4/h\"").start(&[origin.url()]);
    let mut client = client(&gateway);
    let mut ask = |key: &str, times: usize| -> Vec<u16> {
        let field = format!("x-api-key: {key}");
        let ask = |_| client.get("/", &[&field]).status;
        (0..times).map(ask).collect()
    };
    assert_eq!(ask("anna", 2), [200; 2]);
    // Half is left, of more, by another algorithm, with other bounds.
    let next = limited("rate = \"8/h\"\nalgorithm = \"fixed-window\"\nkeys_max = 5000");
    gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(ask("anna", 5), [200, 200, 200, 200, 429]);
    assert_eq!(ask("bob", 9)[7..], [200, 429]);
    let next = limited("rate = \"4/h\"");
    gateway.apply(next.config(&[origin.url()])).unwrap();
    assert_eq!(ask("anna", 1), [429]);
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

/// Asks on one connection until it is told to stop, and then says what went wrong.
fn ask_until(address: SocketAddr, stop: &AtomicBool, answered: &AtomicUsize) -> Vec<String> {
    let mut wire = Wire::connect(address);
    while !stop.load(Ordering::SeqCst) {
        if !wire.try_write(b"POST /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nbody") {
            return vec!["the connection was closed without a word".to_owned()];
        }
        match wire.try_reply() {
            Some(reply) if reply.status == 200 && reply.text() == "hello" => {
                answered.fetch_add(1, Ordering::SeqCst);
            }
            other => return vec![format!("{other:?}")],
        }
    }
    Vec::new()
}

#[test]
fn reloads_under_load_fail_no_request() {
    let origins = [(); 3].map(|()| Origin::saying("hello"));
    let urls = origins.each_ref().map(Origin::url);
    let setup = |turn: usize| {
        let limit = format!(
            "[[route.limit]]\nby = \"address\"\nrate = \"1000000/s\"\nname = \"l{}\"",
            turn % 3
        );
        Setup {
            top: "workers = 2\naccess_log = \"off\"",
            listen: ["", "connections_max = 20"][turn % 2],
            upstream: ["", "connections_max = 4\nidle_max = 1"][turn / 2 % 2],
            routes: format!(
                "[[route]]\nid = \"r{}\"\nupstream = \"main\"\n{limit}\n",
                turn % 5
            ),
            ..Setup::default()
        }
    };
    let gateway = setup(0).start(&urls[..1]);
    let (address, stop, answered) = (
        gateway.address(),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| ask_until(address, &stop, &answered));
        let clients: Vec<_> = (0..6).map(|_| ask()).collect();
        for turn in 1..=60 {
            let before = answered.load(Ordering::SeqCst);
            // Each time another endpoint is left out.
            let endpoints = [&urls[turn % 3], &urls[(turn + 1) % 3]].map(String::clone);
            let reloaded = gateway.apply(setup(turn).config(&endpoints)).unwrap();
            assert_eq!(reloaded.generation, turn as u64 + 1);
            // Each client is answered at least once in each generation, or has failed.
            eventually("the load goes on", || {
                answered.load(Ordering::SeqCst) >= before + 12
                    || clients
                        .iter()
                        .any(std::thread::ScopedJoinHandle::is_finished)
            });
        }
        stop.store(true, Ordering::SeqCst);
        let lost: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
    });
    assert_eq!(gateway.shutdown().connections_cut, 0);
}

#[test]
fn a_request_under_way_ends_as_it_began_and_holds_nothing_up() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Origin::start(move |_, wire| {
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        wire.write("whole");
        Then::Keep
    });
    let next = Origin::saying("next");
    let gateway = Setup::default().start(&[slow.url()]);
    let mut busy = client(&gateway);
    busy.ask("GET", "/", &[]);
    let head = busy.head().unwrap();
    for _ in 0..20 {
        gateway
            .apply(Setup::default().config(&[next.url()]))
            .unwrap();
    }
    assert_eq!(client(&gateway).get("/", &[]).text(), "next");
    go.send(()).unwrap();
    assert_eq!(busy.body(&head), b"halfwhole");
    eventually("the connection to what is gone is closed", || {
        slow.closed() == 1
    });
    assert_eq!(busy.get("/", &[]).text(), "next");
    gateway.shutdown();
}

#[test]
fn a_file_that_is_refused_changes_nothing_and_is_told_of() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let sound = Setup::default().text(&[origin.url()]);
    std::fs::write(&file, &sound).unwrap();
    let (tell, heard) = channel();
    let tell = Mutex::new(tell);
    let observer = move |event: &Event| drop(tell.lock().unwrap().send(event.to_string()));
    let gateway = Gateway::start_observed(Config::read(&file).unwrap(), observer).unwrap();
    let mut client = client(&gateway);

    let unknown = sound.replace("[shutdown]", "[shutdown]\nnow = true");
    let dangling = sound.replace("upstream = \"main\"", "upstream = \"other\"");
    let refused: [(&[u8], &str); 6] = [
        (b"", "missing field `listen`"),
        (b"workers = ", "gateway.toml:1:"),
        (&sound.as_bytes()[..sound.len() / 2], "gateway.toml:"),
        (b"\xff\xfe", "cannot be read"),
        (unknown.as_bytes(), "shutdown.now: unknown field"),
        (dangling.as_bytes(), "route[0].upstream: \"other\" given"),
    ];
    for (count, (bytes, said)) in refused.into_iter().enumerate() {
        std::fs::write(&file, bytes).unwrap();
        let error = gateway.reload().unwrap_err();
        let told = heard.recv_timeout(LONG).unwrap();
        assert!(
            told.contains(said) && told.contains("nothing changed"),
            "{told}"
        );
        assert!(told.contains(&error.to_string()), "{told}");
        assert_eq!(gateway.config_status().generation, 1);
        assert!(gateway.config_status().failed.is_some());
        let failures = metric(&gateway, "config_reload_failures_total");
        assert!((failures - (count + 1) as f64).abs() < f64::EPSILON);
        assert!(metric(&gateway, "config_last_reload_successful") < 0.5);
        assert_eq!(client.get("/", &[]).status, 200);
    }
    std::fs::remove_file(&file).unwrap();
    assert!(
        gateway
            .reload()
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );

    std::fs::write(&file, &sound).unwrap();
    let reloaded = gateway.reload().unwrap();
    assert_eq!((reloaded.generation, reloaded.changed), (1, false));
    assert!(gateway.config_status().failed.is_none());
    assert!(metric(&gateway, "config_last_reload_successful") > 0.5);
    std::fs::write(&file, sound + "# another one\n").unwrap();
    assert_eq!(gateway.reload().unwrap().generation, 2);
    gateway.shutdown();
}

#[test]
fn a_configuration_without_a_file_cannot_be_read_again() {
    let origin = Origin::saying("hello");
    let gateway = Setup::default().start(&[origin.url()]);
    let error = gateway.reload().unwrap_err().to_string();
    assert_eq!(error, "the configuration was not read from a file");
    gateway.shutdown();
}

/// As Kubernetes mounts a map: the file is a link into a folder that is itself a link, and the
/// second link is swapped.
#[test]
fn a_file_behind_two_links_is_followed_when_the_links_are_swapped() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let write = |version: &str, text: &str| {
        std::fs::create_dir(folder.path().join(version)).unwrap();
        std::fs::write(folder.path().join(version).join("gateway.toml"), text).unwrap();
        symlink(version, folder.path().join("..new")).unwrap();
        std::fs::rename(folder.path().join("..new"), folder.path().join("..data")).unwrap();
    };
    let only = |path: &str| {
        let routes = ALL.replace("id =", &format!("path_prefix = \"{path}\"\nid ="));
        routes_text(&routes, &origin)
    };
    write("v1", &only("/a"));
    let file = folder.path().join("gateway.toml");
    symlink("..data/gateway.toml", &file).unwrap();
    let gateway = Gateway::start(Config::read(&file).unwrap().watched()).unwrap();
    let mut client = client(&gateway);
    assert_eq!(client.get("/a", &[]).status, 200);
    write("v2", &only("/b"));
    eventually("the new file is in force", || {
        client.get("/b", &[]).status == 200
    });
    assert_eq!(gateway.config_status().generation, 2);
    // In place.
    std::fs::write(&file, only("/c")).unwrap();
    eventually("the new text is in force", || {
        client.get("/c", &[]).status == 200
    });
    gateway.shutdown();
}

fn routes_text(all: &str, origin: &Origin) -> String {
    routes(all).text(&[origin.url()])
}

#[test]
fn a_thousand_reloads_leave_no_series_and_no_connections_behind() {
    let origin = Origin::saying("hello");
    let setup = |turn: usize| Setup {
        routes: format!(
            "[[route]]\nid = \"r{turn}\"\nupstream = \"main\"\n\
             [[route.limit]]\nby = \"address\"\nrate = \"{}/s\"\nkeys_max = 1000\n",
            turn + 1_000
        ),
        ..Setup::default()
    };
    let gateway = setup(0).start(&[origin.url()]);
    let mut kept = client(&gateway);
    // Held for all of them, as an idle connection is.
    let mut idle = client(&gateway);
    assert_eq!(idle.get("/", &[]).status, 200);
    let lines = |gateway: &Gateway| admin(gateway, "/metrics").1.lines().count();
    assert_eq!(kept.get("/", &[]).status, 200);
    let before = lines(&gateway);
    for turn in 1..=1_000 {
        gateway.apply(setup(turn).config(&[origin.url()])).unwrap();
        assert_eq!(kept.get("/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 1);
    eventually("the series are those of one configuration", || {
        lines(&gateway) == before
    });
    assert_eq!(idle.get("/", &[]).status, 200);
    gateway.shutdown();
}
