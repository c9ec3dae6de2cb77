//! What the fixture does for any server, with a shell script in the server's place.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use testkit::{Place, Server, ServerSpec, eventually_blocking};

use crate::processes::{Other, is_run_again, run_again, runs, tell_and_wait};

const LIMIT: Duration = Duration::from_secs(20);

/// A server that runs a shell script, and answers once its folder has a file `ready`.
struct Script {
    program: &'static str,
    prepare: Vec<&'static str>,
    run: &'static str,
}

impl Script {
    fn new(run: &'static str) -> Self {
        Self {
            program: "sh",
            prepare: Vec::new(),
            run,
        }
    }
}

impl ServerSpec for Script {
    fn program(&self) -> &str {
        self.program
    }

    fn package(&self) -> &str {
        "dash"
    }

    fn prepare(&self, place: &Place) -> Vec<Command> {
        let shell = |script| {
            let mut command = Command::new(place.program());
            command.args(["-c", script]);
            command
        };
        self.prepare.iter().map(|&script| shell(script)).collect()
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(place.program());
        command.args(["-c", self.run]);
        command
    }

    fn answers(&self, place: &Place, _: u32) -> bool {
        place.data().join("ready").exists()
    }
}

/// Has a child of its own, whose number it writes down.
const PARENT: &str = "sleep 600 & echo $! > child; touch ready; wait";

fn child(data: &Path) -> u32 {
    let child = fs::read_to_string(data.join("child")).expect("the script wrote it");
    child.trim().parse().expect("a process id")
}

#[test]
fn killing_takes_the_children_along() {
    let Some(mut server) = Server::start(Script::new(PARENT)) else {
        return;
    };
    let (pid, child) = (server.pid().unwrap(), child(server.data()));
    assert!(runs(pid) && runs(child));
    server.kill();
    assert!(!runs(pid));
    assert_eq!(server.pid(), None);
    eventually_blocking(LIMIT, "the child is gone", || !runs(child));
    server.kill();
}

#[test]
fn dropping_leaves_neither_process_nor_folder() {
    let Some(server) = Server::start(Script::new(PARENT)) else {
        return;
    };
    let (pid, data) = (server.pid().unwrap(), server.data().to_owned());
    let child = child(&data);
    server.freeze();
    drop(server);
    assert!(!runs(pid));
    eventually_blocking(LIMIT, "the child is gone", || !runs(child));
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn a_panicking_test_leaves_no_process() {
    let Some(server) = Server::start(Script::new(PARENT)) else {
        return;
    };
    let pid = server.pid().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _server = server;
        panic!("the test failed");
    }));
    assert!(panicked.is_err());
    assert!(!runs(pid));
}

#[test]
fn the_server_outlives_the_thread_that_started_it() {
    let started = thread::spawn(|| Server::start(Script::new(PARENT)));
    let Some(server) = started.join().unwrap() else {
        return;
    };
    // Had its end sent the signal, the end of the thread would have come before this.
    assert!(runs(server.pid().unwrap()));
}

#[test]
fn the_server_dies_with_a_killed_test_process() {
    const TEST: &str = "script::the_server_dies_with_a_killed_test_process";
    if is_run_again() {
        let server = Server::start(Script::new(PARENT)).unwrap();
        tell_and_wait(server.pid().unwrap());
        return;
    }
    goes_with_a_killed_test_process(TEST);
}

#[test]
fn a_frozen_server_dies_with_a_killed_test_process() {
    const TEST: &str = "script::a_frozen_server_dies_with_a_killed_test_process";
    if is_run_again() {
        let server = Server::start(Script::new(PARENT)).unwrap();
        server.freeze();
        tell_and_wait(server.pid().unwrap());
        return;
    }
    goes_with_a_killed_test_process(TEST);
}

fn goes_with_a_killed_test_process(test: &str) {
    let mut other = Other::start(test);
    let pid = other.told();
    assert!(runs(pid));
    let data = fs::read_link(format!("/proc/{pid}/cwd")).expect("its working folder");
    let child = child(&data);
    other.kill();
    eventually_blocking(LIMIT, "the server and its child died", || {
        !runs(pid) && !runs(child)
    });
    eventually_blocking(LIMIT, "its folder went", || {
        data.parent().is_some_and(|folder| !folder.exists())
    });
}

#[test]
fn empty_data_are_prepared_before_the_first_start_and_when_wiped() {
    let mut script = Script::new("touch ready; echo ran >> runs; exec sleep 600");
    script.prepare = vec!["echo one > prepared", "echo two >> prepared"];
    let Some(mut server) = Server::start(script) else {
        return;
    };
    let read = |server: &Server<Script>, name| {
        fs::read_to_string(server.data().join(name)).unwrap_or_default()
    };
    let addr = server.addr();
    eventually_blocking(LIMIT, "the first run is noted", || {
        read(&server, "runs") == "ran\n"
    });
    server.restart();
    eventually_blocking(LIMIT, "the second too", || {
        read(&server, "runs") == "ran\nran\n"
    });
    server.restart_empty();
    eventually_blocking(LIMIT, "only the third", || read(&server, "runs") == "ran\n");
    assert_eq!(read(&server, "prepared"), "one\ntwo\n");
    assert_eq!(server.addr(), addr);
}

#[test]
#[should_panic(expected = "failed")]
fn a_preparation_that_fails_fails_the_start() {
    let mut script = Script::new("touch ready; exec sleep 600");
    script.prepare = vec!["exit 3"];
    assert!(Server::start(script).is_some());
}

#[test]
#[should_panic(expected = "its log ends:\nno such luck")]
fn a_start_that_fails_shows_the_log() {
    Server::start(Script::new("echo no such luck; exit 1"));
}

#[test]
#[should_panic(expected = "5 ports in turn were taken")]
fn a_start_that_loses_every_port_gives_up() {
    Server::start(Script::new("echo bind: Address already in use; exit 1"));
}

#[test]
#[should_panic(expected = "does not run: it was killed")]
fn a_killed_server_cannot_be_frozen() {
    let mut server = Server::start(Script::new(PARENT)).unwrap();
    server.kill();
    server.freeze();
}

#[test]
fn a_missing_server_leaves_the_test_out_or_fails_it_when_required() {
    const TEST: &str = "script::a_missing_server_leaves_the_test_out_or_fails_it_when_required";
    if is_run_again() {
        let mut script = Script::new("");
        script.program = "no-such-server";
        assert!(Server::start(script).is_none());
        return;
    }
    let run = |required| {
        let mut other = run_again(TEST);
        let output = other
            .env("STANCHION_REQUIRE_SERVERS", required)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (passed, said) = run("0");
    assert!(passed, "{said}");
    let left_out = format!("left out: {TEST} at crates/testkit/tests/server/script.rs");
    assert!(said.contains(&left_out), "{said}");
    assert!(
        said.contains("no-such-server is not installed (Debian package `dash`)"),
        "{said}"
    );

    let (passed, said) = run("1");
    assert!(!passed, "{said}");
    assert!(
        said.contains("and STANCHION_REQUIRE_SERVERS=1 requires it"),
        "{said}"
    );
}
