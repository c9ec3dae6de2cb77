use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rules(refresh: Refresh) -> Rules {
    Rules {
        refresh,
        stale_while_refreshing: 10 * SECOND,
        stale_if_error: 100 * SECOND,
        backoff: Backoff::new(SECOND, 8 * SECOND).expect("valid"),
    }
}

/// What becomes of a value with 10 s to live, `after` it was loaded in 2 s, with the middle of all
/// chances.
fn standing(rules: &Rules, age: Age, after: Duration) -> Standing {
    rules.judge(age, Instant::ZERO + after, || u64::MAX / 2)
}

#[test]
fn a_value_is_fresh_then_stale_then_an_excuse_then_nothing() {
    use Standing::{Load, Serve, ServeAndRefresh};
    let rules = rules(Refresh::when_stale());
    let age = rules.born(Instant::ZERO, Some(10 * SECOND), 2 * SECOND);
    let moments = [
        (0, Serve),
        (9, Serve),
        (10, ServeAndRefresh),
        (19, ServeAndRefresh),
        (20, Load),
        (500, Load),
    ];
    for (second, wanted) in moments {
        assert_eq!(standing(&rules, age, second * SECOND), wanted, "{second} s");
    }
    let excuses = |second: u32| rules.excuses(age, Instant::ZERO + second * SECOND);
    assert!(excuses(109));
    assert!(!excuses(110));
}

#[test]
fn a_failure_lets_it_rest_longer_each_time_and_moves_no_limit() {
    let rules = rules(Refresh::when_stale());
    let mut age = rules.born(Instant::ZERO, Some(10 * SECOND), SECOND);
    let now = Instant::ZERO + 12 * SECOND;
    for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8)] {
        age = rules.failed(age, now, u64::MAX);
        assert_eq!(age.failures, failures);
        let wait = age.refresh_at - now;
        assert!(wait > longest * SECOND / 2 && wait <= longest * SECOND);
        assert_eq!(age.fresh_until, Instant::ZERO + 10 * SECOND);
    }
    assert_eq!(standing(&rules, age, 13 * SECOND), Standing::Serve);
    assert_eq!(standing(&rules, age, 20 * SECOND), Standing::Load);
    let late = rules.failed(age, Instant::ZERO + 50 * SECOND, u64::MAX);
    assert_eq!(
        standing(&rules, late, 51 * SECOND),
        Standing::Serve,
        "throttled"
    );
    let end = rules.failed(age, Instant::ZERO + 109 * SECOND, u64::MAX);
    assert_eq!(standing(&rules, end, 110 * SECOND), Standing::Load);
}

#[test]
fn the_time_of_an_early_refresh_is_a_part_of_the_entry_s_own() {
    let rules = rules(Refresh::after(0.75).expect("valid"));
    let age = rules.born(Instant::ZERO, Some(20 * SECOND), SECOND);
    assert_eq!(standing(&rules, age, 14 * SECOND), Standing::Serve);
    assert_eq!(
        standing(&rules, age, 15 * SECOND),
        Standing::ServeAndRefresh
    );
    let endless = rules.born(Instant::ZERO, None, SECOND);
    assert_eq!(standing(&rules, endless, 1_000 * SECOND), Standing::Serve);
}

#[test]
fn chance_needs_a_load_that_was_timed_and_grows_toward_the_end() {
    let rules = rules(Refresh::by_chance(1.0).expect("valid"));
    let age = rules.born(Instant::ZERO, Some(100 * SECOND), 2 * SECOND);
    // The middle of all chances refreshes 2 s · ln 2 before the end.
    assert_eq!(standing(&rules, age, 98 * SECOND), Standing::Serve);
    assert_eq!(
        standing(&rules, age, 99 * SECOND),
        Standing::ServeAndRefresh
    );
    let untimed = rules.born(Instant::ZERO, Some(100 * SECOND), Duration::ZERO);
    let now = Instant::from_nanos(100_000_000_000 - 1);
    assert_eq!(rules.judge(untimed, now, || 0), Standing::Serve);
    let asked = || unreachable!("no random number is drawn so far from the end");
    assert_eq!(rules.judge(age, Instant::ZERO, asked), Standing::Serve);
}

#[test]
fn random_numbers_are_above_zero_and_up_to_one() {
    assert!(unit(0) > 0.0);
    assert!(unit(u64::MAX) <= 1.0);
    assert!(-unit(0).ln() < FARTHEST);
}
