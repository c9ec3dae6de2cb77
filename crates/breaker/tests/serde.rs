//! Configurations in files.
#![cfg(feature = "serde")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::num::NonZeroU32;
use std::time::Duration;

use stanchion_breaker::{
    CancelPolicy, Config, Expiry, HalfOpen, OpenTime, OverloadPolicy, Ramp, Ratio, SlowCalls,
    ThrottleConfig, Verdict, Window,
};

const S: Duration = Duration::from_secs(1);

fn ratio(share: f64) -> Ratio {
    Ratio::new(share).unwrap()
}

fn everything() -> Config {
    let open_time = OpenTime::growing(2 * S, 1.5, 60 * S).unwrap();
    let open_time = open_time
        .with_jitter(ratio(0.1))
        .with_decay(300 * S)
        .unwrap();
    let half_open = HalfOpen::new(5).unwrap().with_at_once(2).unwrap();
    let half_open = half_open.with_success_threshold(3).unwrap();
    let half_open = half_open.with_verdict(Verdict::FirstFailure);
    Config::new(Window::time(10 * S).unwrap().with_buckets(20).unwrap())
        .with_failure_rate(ratio(0.3))
        .unwrap()
        .with_slow_calls(
            SlowCalls::new(S / 4, ratio(0.8))
                .unwrap()
                .counting_in_flight(),
        )
        .unwrap()
        .with_consecutive_failures(NonZeroU32::new(5).unwrap())
        .with_min_calls(50)
        .unwrap()
        .with_half_open(half_open.with_max_time(30 * S, Expiry::Close).unwrap())
        .with_open_time(open_time.with_retry_after(120 * S).unwrap())
        .with_ramp(Ramp::new(ratio(0.2), 30 * S).unwrap())
        .with_cancel_policy(CancelPolicy::FailureIfOlderThan(S))
        .with_overload_policy(OverloadPolicy::Ignore)
}

#[test]
fn a_file_says_what_the_methods_say() {
    let text = r#"
        window = { time = "10s", buckets = 20 }
        failure_rate = 0.3
        slow_calls = { threshold = "250ms", rate = 0.8, in_flight = true }
        consecutive_failures = 5
        min_calls = 50
        half_open = { trials = 5, at_once = 2, verdict = "first-failure", success_threshold = 3, max_time = "30s", then = "close" }
        open_time = { base = "2s", factor = 1.5, cap = "1m", jitter = 0.1, decay = "5m", retry_after_max = "2m" }
        ramp = { from = 0.2, time = "30s" }
        cancel = { failure_if_older_than = "1s" }
        overload = "ignore"
    "#;
    assert_eq!(toml::from_str::<Config>(text).unwrap(), everything());
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());

    let short = "window = \"50 calls\"\nopen_time = \"3s\"\ncancel = \"failure\"\nfailure_rate = 1";
    let wanted = Config::new(Window::calls(50).unwrap())
        .with_failure_rate(Ratio::ALL)
        .unwrap()
        .with_open_time(OpenTime::fixed(3 * S).unwrap())
        .with_cancel_policy(CancelPolicy::Failure);
    assert_eq!(toml::from_str::<Config>(short).unwrap(), wanted);

    let streak = "window = \"off\"\nconsecutive_failures = 3";
    let wanted = Config::consecutive_failures(NonZeroU32::new(3).unwrap());
    assert_eq!(toml::from_str::<Config>(streak).unwrap(), wanted);
}

#[test]
fn what_is_written_is_read_back() {
    let slow = SlowCalls::new(S, Ratio::HALF).unwrap();
    for config in [
        Config::default(),
        everything(),
        Config::consecutive_failures(NonZeroU32::MIN),
        Config::default()
            .with_slow_calls(slow)
            .unwrap()
            .without_failure_rate(),
        Config::default().with_cancel_policy(CancelPolicy::Failure),
    ] {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config, "{text}");
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<Config>(&json).unwrap(),
            config,
            "{json}"
        );
    }
    let throttle = ThrottleConfig::default().with_multiplier(1.5).unwrap();
    let throttle = throttle
        .with_window(30 * S)
        .unwrap()
        .with_max_rejection(ratio(0.8));
    let text = toml::to_string(&throttle).unwrap();
    assert_eq!(toml::from_str::<ThrottleConfig>(&text).unwrap(), throttle);
}

#[test]
fn errors_name_the_field_the_value_and_what_is_allowed() {
    for (text, wanted) in [
        (
            "window = \"0 calls\"",
            "window.calls is 0, must be 1 to 1048576",
        ),
        (
            "window = \"10 minutes\"",
            "window is \"10 minutes\", must be a whole number",
        ),
        (
            "window = \"ten calls\"",
            "window is \"ten calls\", must be \"100 calls\"",
        ),
        (
            "window = { calls = 1, time = \"1s\" }",
            "window.calls is \"1\", must be there where",
        ),
        (
            "window = { calls = 5, buckets = 2 }",
            "window.buckets is 2, must be left out",
        ),
        ("window = \"off\"", "window is \"off\", must be on where"),
        (
            "failure_rate = 1.5",
            "failure_rate is 1.5, must be more than 0 and at most 1",
        ),
        (
            "consecutive_failures = 0",
            "consecutive_failures is 0, must be at least 1",
        ),
        ("min_calls = 101", "min_calls is 101, must be 1 to 100"),
        (
            "slow_calls = { threshold = \"1s\", rate = 0.0 }",
            "slow_calls.rate is 0.0, must be",
        ),
        (
            "half_open = { trials = 0 }",
            "half_open.trials is 0, must be 1 to",
        ),
        (
            "half_open = { then = \"open\" }",
            "half_open.then is Open, must be left out",
        ),
        ("open_time = \"0s\"", "open_time is 0ns, must be positive"),
        (
            "open_time = { base = \"5s\", factor = 2 }",
            "open_time.factor is \"2\", must be there",
        ),
        (
            "open_time = { base = \"5s\", jitter = 2 }",
            "open_time.jitter is 2.0, must be more",
        ),
        (
            "ramp = { from = 0.1, time = \"soon\" }",
            "ramp.time is \"soon\", must be",
        ),
        (
            "cancel = \"maybe\"",
            "cancel is \"maybe\", must be \"ignore\"",
        ),
        (
            "overload = \"fail\"",
            "unknown variant `fail`, expected `failure` or `ignore`",
        ),
        ("failurerate = 0.5", "unknown field `failurerate`"),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    for (text, wanted) in [
        ("multiplier = 0.5", "multiplier is 0.5, must be 1 to 1000"),
        ("window = \"2\"", "window is \"2\", must be a whole number"),
        ("k = 2", "unknown field `k`"),
    ] {
        let error = toml::from_str::<ThrottleConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
