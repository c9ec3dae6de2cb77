//! Three server processes behind the gateway, each of which goes wrong in its own way, under load.

use std::thread;
use std::time::Duration;

use stanchion_core::Clock;
use stanchion_gateway::Gateway;
use testkit::Server;

use crate::nginx::{Nginx, PAGE, Way, go, seen};
use crate::setup::{Setup, client, eventually, metric};

/// One answer, and how long it took.
type Answer = (u16, Duration);

/// Asks `requests` times in each of `clients` threads.
fn load(gateway: &Gateway, clients: usize, requests: usize) -> Vec<Answer> {
    let clock = Clock::system();
    let one = || {
        let mut client = client(gateway);
        let ask = |_| {
            let begin = clock.now();
            let reply = client.get("/page", &["host: a.test"]);
            if reply.status == 200 {
                assert_eq!(reply.body.len(), PAGE);
            }
            (reply.status, clock.now() - begin)
        };
        (0..requests).map(ask).collect::<Vec<Answer>>()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let answers = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        answers.collect()
    })
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|(got, _)| *got == status).count()
}

/// For whoever reads the output; nothing is claimed of times.
fn tell(what: &str, answers: &[Answer]) {
    let mut times: Vec<Duration> = answers.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let p99 = times[(times.len() * 99).div_ceil(100) - 1];
    let errors = answers.len() - count(answers, 200);
    let share = errors as f64 / answers.len() as f64;
    println!(
        "{what}: {} requests, {:.1} % errors, p99 {p99:.0?}",
        answers.len(),
        share * 100.0
    );
}

fn failures(gateway: &Gateway, origin: &Server<Nginx>, cause: &str) -> usize {
    let (endpoint, series) = (origin.addr(), "upstream_failures_total");
    let labels = format!("{{upstream=\"main\",endpoint=\"{endpoint}\",cause=\"{cause}\"}}");
    whole(metric(gateway, &format!("{series}{labels}")))
}

fn whole(count: f64) -> usize {
    format!("{count:.0}").parse().unwrap()
}

/// How many requests an origin was sent.
fn sent(gateway: &Gateway, origin: &Server<Nginx>) -> usize {
    let (endpoint, series) = (origin.addr(), "upstream_requests_total");
    let labels = format!("{{upstream=\"main\",endpoint=\"{endpoint}\"}}");
    whole(metric(gateway, &format!("{series}{labels}")))
}

#[test]
fn only_what_reached_nobody_is_sent_again_while_servers_die_dawdle_and_refuse() {
    let origins = [Nginx, Nginx, Nginx].map(Server::start);
    let [Some(mut dying), Some(slow), Some(busy)] = origins else {
        return;
    };
    go(&slow, Way::Slowly);
    go(&busy, Way::Busily);
    let urls = [&dying, &slow, &busy].map(|origin| format!("http://{}", origin.addr()));
    let gateway = Setup::default().start(&urls);
    // nginx writes its log after the answer.
    let sees = |counts: [usize; 2]| {
        eventually("the servers have seen all", || {
            [&slow, &busy].map(seen) == counts
        });
    };

    // Ten at each, in turn.
    dying.freeze();
    let answers = thread::scope(|scope| {
        let answers = scope.spawn(|| load(&gateway, 30, 1));
        sees([10, 10]);
        eventually("the others hang", || sent(&gateway, &dying) == 10);
        // The one worker writes in the order in which it was asked.
        let mut after = client(&gateway);
        after.ask("TRACE", "/page", &["host: a.test"]);
        assert_eq!(after.reply().status, 405);
        dying.kill();
        answers.join().unwrap()
    });
    tell(
        "one dies with what it has, one is slow, one refuses",
        &answers,
    );
    let counts = [200, 503, 502].map(|status| count(&answers, status));
    assert_eq!(counts, [10, 10, 10]);
    assert_eq!(failures(&gateway, &dying, "broken"), 10);
    // Nobody was asked a second time.
    sees([10, 10]);

    let answers = load(&gateway, 4, 8);
    tell("one is gone, one is slow, one refuses", &answers);
    let counts = [200, 503].map(|status| count(&answers, status));
    assert_eq!(counts[0] + counts[1], 32, "{answers:?}");
    sees([10 + counts[0], 10 + counts[1]]);
    assert!(counts[0] > 0 && counts[1] > 0);
    assert!(failures(&gateway, &dying, "connect") >= 5);
    assert_eq!(failures(&gateway, &dying, "broken"), 10);

    let before = seen(&dying);
    dying.restart();
    eventually("it serves again", || {
        load(&gateway, 1, 3);
        seen(&dying) > before
    });
    gateway.shutdown();
}
