//! What the literature says of balancing policies holds in the simulator, at fixed seeds: a
//! simulator, or a policy, that breaks one of these is wrong.

use stanchion_benches::fleet::{
    Balancers, Chooser, Fresh, MILLISECOND, SECOND, Scenario, Stale, Tally, play,
};
use stanchion_lb::policy::{P2c, PeakEwma, Random, RoundRobin};

const SEED: u64 = 0x0066_6C65_6574;

fn tally(scenario: &Scenario, mut chooser: impl Chooser) -> Tally {
    play(scenario, SEED, &mut chooser, &mut |_| ())
}

fn p99(scenario: &Scenario, chooser: impl Chooser) -> f64 {
    tally(scenario, chooser).quantile(0.99)
}

fn random(scenario: &Scenario) -> Balancers {
    Balancers::new(scenario, Random::new)
}

fn round_robin(scenario: &Scenario) -> Balancers {
    Balancers::new(scenario, RoundRobin::new)
}

fn p2c(scenario: &Scenario) -> Balancers {
    Balancers::new(scenario, P2c::new)
}

fn homogeneous(clients: usize, load: f64) -> Scenario {
    Scenario {
        clients,
        load,
        calls: 60_000,
        ..Scenario::default()
    }
}

fn mixed(clients: usize, load: f64) -> Scenario {
    Scenario {
        clients,
        load,
        calls: 160_000,
        ..Scenario::mixed()
    }
}

/// M. Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing* (2001): two choices are
/// exponentially better than one, the more so the higher the load. Turns lie between.
#[test]
fn chance_is_worse_than_turns_and_turns_than_two_choices() {
    let gap = |load| {
        let scenario = homogeneous(50, load);
        p99(&scenario, random(&scenario)) / p99(&scenario, p2c(&scenario))
    };
    let gaps = [0.7, 0.8, 0.95].map(gap);
    assert!(
        gaps[0] > 1.02 && gaps[1] > 1.02 * gaps[0] && gaps[2] > 1.3 * gaps[1],
        "{gaps:?}"
    );
    // Where turns begin is random, so they differ a little from run to run.
    let scenario = homogeneous(50, 0.95);
    let turns = p99(&scenario, round_robin(&scenario)) / p99(&scenario, p2c(&scenario));
    assert!(
        (1.05..0.95 * gaps[2]).contains(&turns),
        "chance {gaps:?}, turns {turns}"
    );
}

/// What one client has in flight is all that its servers have; of fifty, each knows a fiftieth.
#[test]
fn what_is_in_flight_here_tells_less_the_more_clients_there_are() {
    let ratio = |clients| {
        let scenario = mixed(clients, 0.7);
        p99(&scenario, p2c(&scenario)) / p99(&scenario, Fresh::new(&scenario))
    };
    let (alone, among_fifty) = (ratio(1), ratio(50));
    assert!((0.75..1.25).contains(&alone), "{alone}");
    assert!(among_fifty > 2.0, "{among_fifty}");
}

/// M. Mitzenmacher, *How Useful Is Old Information?* (2000): whoever goes to the least loaded by old
/// news goes there with all others.
#[test]
fn the_least_loaded_by_old_news_is_worse_than_chance_and_two_choices_are_not() {
    let scenario = homogeneous(1, 0.9);
    let chance = p99(&scenario, random(&scenario));
    let of_all = |age| p99(&scenario, Stale::of_all(&scenario, age));
    let of_two = |age| p99(&scenario, Stale::of_two(&scenario, age));
    let ages = [MILLISECOND / 2, 5 * MILLISECOND, 50 * MILLISECOND];
    let [fresh, older, old] = ages.map(of_all);
    assert!(
        fresh < older && older < old && old > 1.5 * chance,
        "of all: {fresh} ms, {older} ms, {old} ms; chance: {chance} ms"
    );
    let [fresh, older, old] = ages.map(of_two);
    assert!(
        fresh < older && older < old && old < chance,
        "of two: {fresh} ms, {older} ms, {old} ms; chance: {chance} ms"
    );
}

/// Two choices cannot pass by many slow servers: both may be slow. Four can.
#[test]
fn more_choices_help_where_many_servers_are_slow() {
    let gain = |scenario: &Scenario| {
        let four = Balancers::new(scenario, || P2c::new().with_choices(4).unwrap());
        p99(scenario, p2c(scenario)) / p99(scenario, four)
    };
    let (alike, mixed) = (gain(&homogeneous(50, 0.95)), gain(&mixed(1, 0.95)));
    assert!((0.9..1.15).contains(&alike), "{alike}");
    assert!(mixed > 1.15, "{mixed}");
}

/// Who answers at once, with failures, looks like the fastest and the least loaded of all.
#[test]
fn who_fails_fast_attracts_calls_unless_failures_count_as_slow() {
    let scenario = Scenario {
        calls: 100_000,
        clients: 10,
        ..Scenario::failing_fast()
    };
    let fair = 1.0 / 50.0;
    let chance = tally(&scenario, random(&scenario)).failed();
    assert!((chance / fair - 1.0).abs() < 0.1, "{chance}");
    let in_flight = tally(&scenario, p2c(&scenario)).failed();
    assert!(in_flight > 1.2 * fair, "{in_flight}");
    let latency = tally(&scenario, Balancers::new(&scenario, PeakEwma::new)).failed();
    assert!(latency < 0.25 * fair, "{latency}");
}

/// A new server has nothing in flight, which no policy may take for an invitation to all.
#[test]
fn a_new_server_is_not_flooded() {
    let scenario = homogeneous(1, 0.7).joined(2 * SECOND);
    let new = scenario.servers - 1;
    for (policy, chooser) in [
        ("p2c", p2c(&scenario)),
        ("peak EWMA", Balancers::new(&scenario, PeakEwma::new)),
        ("round robin", round_robin(&scenario)),
    ] {
        let tally = tally(&scenario, chooser);
        let second = &tally.picks_by_second[2];
        let sum: u32 = second.iter().sum();
        let fair = f64::from(sum) / scenario.servers as f64;
        let share = f64::from(second[new]) / fair;
        assert!(
            (0.3..2.0).contains(&share),
            "{policy}: {share} of its share"
        );
        let later: u32 = tally.picks_by_second[3].iter().sum();
        let share = f64::from(tally.picks_by_second[3][new]) * 50.0 / f64::from(later);
        assert!((0.7..1.4).contains(&share), "{policy}: later {share}");
    }
}

/// Once checks have told, nobody is sent to what is lost; and all is as before when it is back.
#[test]
fn a_lost_zone_costs_what_is_sent_there_until_checks_tell() {
    let scenario = Scenario {
        calls: 200_000,
        ..homogeneous(5, 0.4)
    }
    .losing_a_zone(5 * SECOND);
    let tally = tally(&scenario, p2c(&scenario));
    let lost = |second: usize| {
        let picks = tally.picks_by_second[second].iter().enumerate();
        let (lost, all) = picks.fold((0, 0), |(lost, all), (server, picks)| {
            (lost + if server % 3 == 0 { *picks } else { 0 }, all + picks)
        });
        f64::from(lost) / f64::from(all)
    };
    assert!(lost(4) > 0.3, "{}", lost(4));
    for second in 8..=16 {
        assert!(lost(second) < 1e-9, "second {second}: {}", lost(second));
    }
    assert!(lost(20) > 0.3, "{}", lost(20));
    let shares = tally.failed() * scenario.calls as f64 * 0.8;
    let sent: f64 = (5..8).map(|second| lost(second) * 8_000.0).sum();
    assert!(shares < 1.2 * sent, "{shares} failed of {sent} sent");
}

/// The same seed gives the same figures, and another one others.
#[test]
fn a_run_is_a_function_of_its_seed() {
    let scenario = Scenario {
        calls: 20_000,
        ..Scenario::mixed()
    };
    let run = |seed| {
        let tally = play(&scenario, seed, &mut p2c(&scenario), &mut |_| ());
        (tally.quantile(0.99), tally.picks)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
