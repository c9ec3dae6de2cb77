//! A real `redis-server`: killed, frozen, restarted, and as another user.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use testkit::{Place, Redis, RedisServer, Server, ServerSpec, eventually_blocking};

use crate::processes::{Other, is_run_again, runs, tell_and_wait};

const LIMIT: Duration = Duration::from_secs(20);

fn redis() -> Option<RedisServer> {
    Server::start(Redis::new())
}

#[test]
fn two_servers_run_side_by_side() {
    let (Some(one), Some(two)) = (redis(), redis()) else {
        return;
    };
    assert_ne!(one.addr(), two.addr());
    assert_eq!(one.ask("SET key one").unwrap(), "OK");
    assert_eq!(two.ask("GET key").unwrap(), "(nil)");
    assert_eq!(one.ask("GET key").unwrap(), "one");
    assert_eq!(one.ask("INCR count").unwrap(), "1");
    let error = one.ask("INCR key").unwrap_err();
    assert!(error.to_string().contains("not an integer"), "{error}");
    assert_eq!(one.url(), format!("redis://{}", one.addr()));
}

#[test]
fn options_reach_the_server() {
    let Some(server) = Server::start(Redis::new().option("maxmemory", "3mb")) else {
        return;
    };
    let memory = server.ask("INFO memory").unwrap();
    assert!(memory.contains("maxmemory:3145728\r\n"), "{memory}");
}

#[test]
fn what_was_answered_outlives_a_kill_unless_data_are_wiped() {
    let Some(mut server) = redis() else {
        return;
    };
    let (addr, pid) = (server.addr(), server.pid());
    for count in 1..=100 {
        assert_eq!(server.ask("INCR count").unwrap(), count.to_string());
    }
    server.kill();
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    server.restart();
    assert_eq!(server.addr(), addr);
    assert_ne!(server.pid(), pid);
    assert_eq!(server.ask("GET count").unwrap(), "100");

    server.restart_empty();
    assert_eq!(server.addr(), addr);
    assert_eq!(server.ask("GET count").unwrap(), "(nil)");
}

#[test]
fn a_frozen_server_accepts_and_does_not_answer_until_thawed() {
    let Some(server) = redis() else {
        return;
    };
    for _ in 0..2 {
        server.freeze();
        TcpStream::connect(server.addr()).unwrap();
        let silent = server.ask("PING").unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
        server.thaw();
        assert_eq!(server.ask("PING").unwrap(), "PONG");
    }
}

#[test]
fn a_frozen_server_can_be_killed_and_restarted() {
    let Some(mut server) = redis() else {
        return;
    };
    server.freeze();
    server.kill();
    server.restart();
    assert_eq!(server.ask("PING").unwrap(), "PONG");
}

#[test]
fn a_wrong_option_fails_the_start_with_redis_own_words() {
    let Some(_server) = redis() else {
        return;
    };
    let start = || Server::start(Redis::new().option("no-such-option", "1"));
    let panic = thread::spawn(start).join().unwrap_err();
    let said = panic.downcast::<String>().unwrap();
    assert!(
        said.contains("Bad directive or wrong number of arguments"),
        "{said}"
    );
}

/// Redis, told to listen on a port that somebody else has on its first start.
struct LosesItsPort {
    redis: Redis,
    taken: u16,
    starts: Arc<AtomicUsize>,
}

impl ServerSpec for LosesItsPort {
    fn program(&self) -> &str {
        self.redis.program()
    }

    fn package(&self) -> &str {
        self.redis.package()
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = self.redis.command(place);
        if self.starts.fetch_add(1, Ordering::SeqCst) == 0 {
            command.args(["--port", &self.taken.to_string()]);
        }
        command
    }

    fn answers(&self, place: &Place, pid: u32) -> bool {
        self.redis.answers(place, pid)
    }
}

#[test]
fn a_taken_port_is_tried_elsewhere_first_and_waited_for_later() {
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let starts = Arc::new(AtomicUsize::new(0));
    let spec = LosesItsPort {
        redis: Redis::new(),
        taken: other.local_addr().unwrap().port(),
        starts: Arc::clone(&starts),
    };
    let Some(mut server) = Server::start(spec) else {
        return;
    };
    assert_eq!(starts.load(Ordering::SeqCst), 2);

    server.kill();
    let squatter = TcpListener::bind(server.addr()).unwrap();
    let leaves = thread::spawn(move || {
        eventually_blocking(LIMIT, "two more starts", || {
            starts.load(Ordering::SeqCst) >= 4
        });
        drop(squatter);
    });
    server.restart();
    leaves.join().unwrap();
    assert!(runs(server.pid().unwrap()));
}

/// Redis, as the user that a test which runs as root drops to.
struct AsNobody(Redis);

impl ServerSpec for AsNobody {
    fn program(&self) -> &str {
        self.0.program()
    }

    fn package(&self) -> &str {
        self.0.package()
    }

    fn user(&self) -> Option<&str> {
        Some("nobody")
    }

    fn command(&self, place: &Place) -> Command {
        self.0.command(place)
    }

    fn answers(&self, place: &Place, pid: u32) -> bool {
        self.0.answers(place, pid)
    }
}

#[test]
fn a_server_under_another_user_works_and_dies_with_the_test_process() {
    const TEST: &str = "redis::a_server_under_another_user_works_and_dies_with_the_test_process";
    if is_run_again() {
        let server = Server::start(AsNobody(Redis::new())).unwrap();
        tell_and_wait(server.pid().unwrap());
        return;
    }
    let Some(mut server) = Server::start(AsNobody(Redis::new())) else {
        return;
    };
    let owner = |path: String| fs::metadata(path).unwrap().uid();
    let ours = owner("/proc/self".to_owned());
    let theirs = owner(format!("/proc/{}", server.pid().unwrap()));
    assert_eq!(ours == 0, ours != theirs, "run as {theirs} by {ours}");
    server.restart_empty();

    let mut other = Other::start(TEST);
    let pid = other.told();
    assert!(runs(pid));
    other.kill();
    eventually_blocking(LIMIT, "the server died", || !runs(pid));
}
