use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use stanchion_gateway::Config;

use crate::setup::{Origin, eventually};
use crate::shutdown::{ask_on_new_connections, ask_on_one_connection};
use crate::wire::Wire;

const EXAMPLE: &str = include_str!("../../examples/gateway.toml");

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stanchion-gateway"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
    let output = program()
        .args(["check", "gateway.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    (status.success(), text(&stdout) + &text(&stderr))
}

const SOUND: &str = r#"
workers = 2

[listen]
address = "127.0.0.1:0"
idle_timeout = "60s"

[upstream.users]
endpoints = ["http://127.0.0.1:9001"]
connections_max = 10

[[route]]
id = "users"
path_prefix = "/users"
upstream = "users"

[[route.limit]]
by = "address"
rate = "100/s"
"#;

#[test]
fn check_says_that_a_sound_file_is_sound() {
    let (sound, said) = check(SOUND);
    assert!(sound, "{said}");
    assert_eq!(
        said,
        "gateway.toml: sound: 1 route, 1 upstream, 1 endpoint\n"
    );
}

#[test]
fn check_names_the_line_the_field_what_was_given_and_what_is_allowed() {
    for (from, to, expected) in [
        (
            "workers = 2",
            "workers = 0",
            "2:11: workers: 0 given, from 1 to 256 is allowed",
        ),
        (
            "workers = 2",
            "workers = \"two\"",
            "2:11: workers: invalid type: string \"two\", expected usize",
        ),
        (
            "workers = 2",
            "worker = 2",
            "2:1: worker: unknown field `worker`, expected one of `workers`",
        ),
        ("workers = 2", "workers = ", "2:"),
        (
            "\"127.0.0.1:0\"",
            "8080",
            "5:11: listen.address: invalid type: integer `8080`, expected an address with a port",
        ),
        (
            "\"127.0.0.1:0\"",
            "\"here\"",
            "5:11: listen.address: \"here\" given, expected an address with a port",
        ),
        (
            "\"60s\"",
            "\"a while\"",
            "6:16: listen.idle_timeout: \"a while\" given, expected a duration",
        ),
        (
            "\"60s\"",
            "\"48h\"",
            "6:16: listen.idle_timeout: 172800s given, from 1ms to 86400s is allowed",
        ),
        (
            "[\"http://127.0.0.1:9001\"]",
            "[]",
            "9:13: upstream.users.endpoints: 0 given, from 1 to 256 are allowed",
        ),
        (
            "\"http://127.0.0.1:9001\"",
            "\"http://a\", \"https://b\"",
            "9:26: upstream.users.endpoints[1]: \"https://b\" given, expected the URL",
        ),
        (
            "connections_max = 10",
            "connections_max = 10\nidle_max = 11",
            "11:12: upstream.users.idle_max: 11 given, from 0 to 10 is allowed",
        ),
        (
            "[listen]",
            "trace_ratio = 1.5\n[listen]",
            "4:15: trace_ratio: 1.5 given, from 0 to 1 is allowed",
        ),
        (
            "connections_max = 10",
            "connections_max = 10\nforwarded = \"none\"",
            "11:13: upstream.users.forwarded: unknown variant `none`, expected one of `x-forwarded`, `forwarded`, `both`",
        ),
        (
            "[upstream.users]",
            "[upstream.\"a b\"]",
            "8:11: upstream.a b: \"a b\" given, expected a name",
        ),
        (
            "id = \"users\"",
            "id = \"unmatched\"",
            "13:6: route[0].id: \"unmatched\" given, which stands for",
        ),
        (
            "id = \"users\"",
            "id = \"\"",
            "13:6: route[0].id: \"\" given, expected a name",
        ),
        (
            "\"/users\"",
            "\"users\"",
            "14:15: route[0].path_prefix: \"users\" given, expected a path that begins with /",
        ),
        (
            "\"/users\"",
            "\"/users\"\nstrip_prefix = \"/user\"",
            "15:16: route[0].strip_prefix: \"/user\" given, which not every path under \"/users\" begins with",
        ),
        (
            "path_prefix = \"/users\"",
            "strip_prefix = true",
            "14:16: route[0].strip_prefix: \"/\" is to be stripped, which leaves every path as it is",
        ),
        (
            "\"/users\"",
            "\"/users\"\nstrip_prefix = 1",
            "15:16: route[0].strip_prefix: invalid type: integer `1`, expected true, false or a path",
        ),
        (
            "\"/users\"",
            "\"/users\"\nstrip_prefix = \"users\"",
            "15:16: route[0].strip_prefix: \"users\" given, expected a path that begins with /",
        ),
        (
            "\"/users\"",
            "\"/users\"\nrequest_headers.set.Host = \"a.test\"",
            "15:21: route[0].request_headers.set.Host: \"Host\" given, which is the gateway's own",
        ),
        (
            "\"/users\"",
            "\"/users\"\nrequest_headers.add = { \"a b\" = \"x\" }",
            "15:25: route[0].request_headers.add.a b: \"a b\" given, expected the name of a field",
        ),
        (
            "\"/users\"",
            "\"/users\"\nresponse_headers.set.x-a = \"a\\nb\"",
            "15:28: route[0].response_headers.set.x-a: \"a\\nb\" given, expected a field's value",
        ),
        (
            "\"/users\"",
            "\"/users\"\nresponse_headers.remove = [\"server\", \"te\"]",
            "15:38: route[0].response_headers.remove[1]: \"te\" given, which is the gateway's own",
        ),
        (
            "\"/users\"",
            "\"/users\"\nresponse_headers.set = { x-a = \"1\", X-A = \"2\" }",
            "15:37: route[0].response_headers.set.X-A: the field \"X-A\" is given twice, first on line 15",
        ),
        (
            "\"/users\"",
            "\"/users\"\nresponse_headers.put = {}",
            "15:18: route[0].response_headers.put: unknown field `put`, expected one of `remove`, `set`, `add`",
        ),
        (
            "upstream = \"users\"",
            "upstream = \"user\"",
            "15:12: route[0].upstream: \"user\" given, which is no upstream; there are \"users\"",
        ),
        (
            "upstream = \"users\"\n",
            "",
            "12:1: route[0]: missing field `upstream`",
        ),
        (
            "\"address\"",
            "\"ip\"",
            "18:6: route[0].limit[0].by: \"ip\" given, expected \"address\", \"api-key\" or",
        ),
        ("\"100/s\"", "\"100\"", "19:8: route[0].limit[0].rate: "),
        (
            "\"100/s\"",
            "\"100/s\"\nburst = 0",
            "20:9: route[0].limit[0].burst: ",
        ),
        (
            "\"100/s\"",
            "\"100/s\"\nmissing = \"ignore\"",
            "20:11: route[0].limit[0].missing: unknown variant `ignore`, expected one of `refuse`, `share`, `pass`",
        ),
        (
            "\"100/s\"",
            "\"100/s\"\n[[route]]\nid = \"users\"\nupstream = \"users\"",
            "21:6: route[1].id: the id \"users\" is given twice, first on line 13",
        ),
        (
            "\"100/s\"",
            "\"100/s\"\n[[route]]\nid = \"b\"\npath_prefix = \"/users/\"\nupstream = \"users\"",
            "20:1: route[1]: this host and path prefix is given twice, first on line 12",
        ),
    ] {
        let broken = SOUND.replacen(from, to, 1);
        assert_ne!(broken, SOUND, "{from}");
        let (sound, said) = check(&broken);
        assert!(!sound, "{to} was taken");
        let expected = format!("gateway.toml:{expected}");
        assert!(
            said.starts_with(&expected),
            "expected {expected}\nfound    {said}"
        );
    }
}

#[test]
fn check_tells_all_mistakes_at_once() {
    let broken = SOUND
        .replace("workers = 2", "workers = 0")
        .replace("\"60s\"", "\"0s\"");
    let (_, said) = check(&broken.replace("upstream = \"users\"", "upstream = \"x\""));
    let lines: Vec<&str> = said
        .lines()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(
        lines,
        ["workers", "listen.idle_timeout", "route[0].upstream"]
    );
}

#[test]
fn check_tells_of_a_file_that_is_not_there() {
    let output = program()
        .args(["check", "/nonexistent/x.toml"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(
        said.starts_with("/nonexistent/x.toml: cannot be read: "),
        "{said}"
    );
}

#[test]
fn the_example_and_the_demos_configuration_are_sound() {
    let (sound, said) = check(EXAMPLE);
    assert!(sound, "{said}");

    let printed = program().args(["demo", "--print-config"]).output().unwrap();
    let (sound, said) = check(&text(&printed.stdout));
    assert!(sound, "{said}");
}

#[test]
fn the_example_tells_the_defaults() {
    let uncommented = |but: &[&str]| {
        let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
            Some(field) if but.iter().any(|but| field.starts_with(but)) => line,
            Some(field) if field.contains(" = ") || field.starts_with('[') => field,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (sound, said) = check(&uncommented(&[]));
    assert!(sound, "{said}");
    let read = |text: &str| format!("{:?}", Config::from_toml(text).unwrap());
    // These have no default that could stand there.
    let without = [
        "workers",
        "trusted",
        "token_file",
        "hosts",
        "request_headers",
        "response_headers",
        "[redis.main]",
        "servers",
        "cluster",
        "store",
        "deadline",
        "outage",
        "instances",
        "lease",
        "breaker",
        "throttle",
        "local_zone",
        "affinity",
        "slow_start",
        "outliers",
        "checks",
    ];
    assert_eq!(read(&uncommented(&without)), read(EXAMPLE));
}

/// What stands in a table that is not there by default.
#[test]
fn the_tables_of_the_example_tell_their_defaults() {
    let asks = "path = \"/healthz\", host = \"users.internal\"";
    let bound = "cookie = \"lb\", secret = \"file:/etc/stanchion/sessions\", max_age = \"24h\"";
    for (table, set) in [
        ("affinity", bound),
        ("slow_start", ""),
        ("outliers", ""),
        ("checks", asks),
    ] {
        let mut lines = EXAMPLE.lines();
        let line = lines.find_map(|line| {
            let line = line.strip_prefix("# ")?;
            line.starts_with(&format!("{table} = {{")).then_some(line)
        });
        let line = line.unwrap_or_else(|| panic!("there is {table}"));
        let read = |upstream: &str| {
            let text = SOUND.replace(
                "[upstream.users]\n",
                &format!("[upstream.users]\n{upstream}\n"),
            );
            format!("{:?}", Config::from_toml(&text).unwrap())
        };
        assert_eq!(read(line), read(&format!("{table} = {{ {set} }}")));
        assert_ne!(read(line), read(""));
    }
}

#[test]
fn the_smallest_file_of_the_readme_is_sound() {
    let readme = include_str!("../../README.md");
    let smallest = readme.split("```toml\n").nth(1).unwrap();
    let (sound, said) = check(smallest.split("```").next().unwrap());
    assert!(sound, "{said}");
}

#[test]
fn help_names_the_commands() {
    let output = program().arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = text(&output.stdout);
    for command in ["demo", "run", "check"] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{help}"
        );
    }
}

/// Until it has seen enough; the demo goes on for as long as that takes.
#[test]
fn the_demo_shows_an_origin_that_is_killed_and_comes_back() {
    let mut demo = program()
        .args([
            "demo",
            "--for",
            "60s",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let mut sees = |said: &str| {
        let seen = lines.find(|line| line.contains(said));
        seen.unwrap_or_else(|| panic!("the demo ended before: {said}"))
    };
    sees("origin-2 is killed");
    // By its failures or by its checks, whichever is first.
    let out = sees("hello: 127.0.0.1:");
    assert!(
        ["is taken out", "is unhealthy", "is ejected"]
            .iter()
            .any(|said| out.contains(said)),
        "{out}"
    );
    sees("origin-2 is started again");
    sees("is healthy, was");
    demo.kill().unwrap();
    demo.wait().unwrap();
}

#[test]
fn the_demo_shows_limits_biting_and_ends_by_itself() {
    let output = program()
        .args(["demo", "--for", "2s", "--rate", "90"])
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("Watch    http://127.0.0.1:"), "{said}");
    assert_eq!(said.matches("curl ").count(), 3, "{said}");
    let summary = said.lines().find(|line| line.starts_with("In 2.")).unwrap();
    assert!(summary.ends_with("0 failed."), "{said}");
    // Bob asks for much more than his share.
    let bob = said
        .lines()
        .rfind(|line| line.trim_start().starts_with("bob"))
        .unwrap();
    let words: Vec<&str> = bob.split_whitespace().collect();
    let served: u32 = words[1].parse().unwrap();
    let refused: u32 = words[3].parse().unwrap();
    assert!((20..=50).contains(&served) && refused > 10, "{bob}");
}

#[test]
fn run_serves_until_it_is_told_to_stop_and_writes_its_log_to_standard_output() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    write_config(&file, &origin);
    let mut child = Running::start(&file);
    let mut first = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    let address = first.strip_prefix("listening on http://").unwrap();
    let address = address.split(',').next().unwrap().parse().unwrap();
    assert_eq!(Wire::connect(address).get("/x", &[]).text(), "hello");

    child.terminate();
    let mut status = None;
    eventually("the program ends", || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("shut down, nothing was lost\n"), "{rest}");
    let mut log = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    let line: Value = serde_json::from_str(log.trim()).unwrap();
    assert_eq!(line["path"], "/x");
}

#[test]
fn a_terminated_program_under_load_and_reloads_loses_nothing() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    write_config(&file, &origin);
    let sound = std::fs::read_to_string(&file).unwrap();
    // A client that is slow to come back on a busy machine is waited for.
    let sound = sound.replace("50ms", "3s");
    let sound = format!("access_log = \"off\"\n{sound}");
    std::fs::write(&file, &sound).unwrap();
    let mut child = Running::start(&file);
    let mut first = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    let address = first.strip_prefix("listening on http://").unwrap();
    let address = address.split(',').next().unwrap().parse().unwrap();

    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut status = None;
    std::thread::scope(|scope| {
        let (answered, stop) = (&answered, &stop);
        let clients: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn(move || match number % 2 {
                    0 => ask_on_one_connection(address, answered, stop),
                    _ => ask_on_new_connections(address, answered, stop),
                })
            })
            .collect();
        let more = |count: usize| {
            let before = answered.load(Ordering::SeqCst);
            eventually("the load is on", || {
                answered.load(Ordering::SeqCst) > before + count
            });
        };
        more(100);
        for turn in 0..5 {
            std::fs::write(&file, format!("{sound}# {turn}\n")).unwrap();
            child.signal(rustix::process::Signal::HUP);
            more(20);
        }
        // The next reload and the end come together.
        std::fs::write(&file, format!("{sound}# last\n")).unwrap();
        child.signal(rustix::process::Signal::HUP);
        child.terminate();
        eventually("the program ends", || {
            status = child.0.try_wait().unwrap();
            status.is_some()
        });
        stop.store(true, Ordering::SeqCst);
        let lost: Vec<String> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
    });
    assert!(status.unwrap().success());
    let mut told = String::new();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("configuration 2 is in force"), "{told}");
    assert!(told.ends_with("shut down, nothing was lost\n"), "{told}");
}

#[test]
fn a_gateway_that_runs_out_of_files_serves_again_when_clients_leave() {
    const FILES: u64 = 40;
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    write_config(&file, &origin);
    let mut child = Running::start(&file);
    let mut first = String::new();
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    let mut addresses = first.split("http://").skip(1);
    let mut next = || {
        let words = addresses.next().unwrap();
        let end = words.find([',', ';']).unwrap();
        words[..end].parse().unwrap()
    };
    let address = next();
    // Open before: later there is no room for another.
    let mut admin = Wire::connect(next());
    let local = &["host: localhost"];
    admin.get("/healthz", local);
    let limit = rustix::process::Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).unwrap();

    let clients: Vec<_> = (0..FILES + 8).map(|_| Wire::connect(address)).collect();
    eventually("there is no room for all", || {
        let metrics = admin.get("/metrics", local).text().to_owned();
        let series = "stanchion_gateway_accept_errors_total ";
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix(series));
        count.unwrap() != "0"
    });
    drop(clients);
    eventually("a client is served again", || {
        let mut client = Wire::connect(address);
        client.ask("GET", "/", &[]);
        client
            .try_reply()
            .is_some_and(|reply| reply.text() == "hello")
    });
    child.terminate();
}

#[test]
fn run_follows_its_file_and_the_hang_up_signal() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    write_config(&file, &origin);
    let sound = std::fs::read_to_string(&file).unwrap();
    let mut child = Running::start(&file);
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        line
    };
    assert!(line().starts_with("listening on "));
    std::fs::write(&file, sound.clone() + "# changed\n").unwrap();
    assert_eq!(line(), "configuration 2 is in force\n");
    std::fs::write(&file, sound.clone() + "[nonsense]\n").unwrap();
    let told = line();
    assert!(
        told.contains("nothing changed: ") && told.contains("nonsense"),
        "{told}"
    );
    std::fs::write(&file, sound.replace("workers = 1", "workers = 2")).unwrap();
    assert_eq!(
        line(),
        "configuration 3 is in force; until a restart, the old value of: workers\n"
    );
    child.signal(rustix::process::Signal::HUP);
    assert_eq!(
        line(),
        "the file is unchanged, configuration 3 stays in force; \
         until a restart, the old value of: workers\n"
    );
    child.terminate();
    let told = line() + &line();
    assert!(told.ends_with("shut down, nothing was lost\n"), "{told}");
}

fn write_config(file: &PathBuf, origin: &Origin) {
    let config = format!(
        "workers = 1\nlisten.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         upstream.main.endpoints = [{:?}]\nshutdown.idle_grace = \"50ms\"\n\
         [[route]]\nid = \"all\"\nupstream = \"main\"\n",
        origin.url()
    );
    std::fs::write(file, config).unwrap();
}

/// A running program, killed if a test fails.
struct Running(Child);

impl Running {
    fn start(file: &Path) -> Self {
        let child = program()
            .arg("run")
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
