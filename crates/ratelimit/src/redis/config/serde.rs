//! Configurations in files: a table whose fields are those that errors name. What is left out has its
//! default; times are whole numbers with a unit, such as `"5ms"`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{InvalidRedisConfig, Limit, Outage, RedisConfig, RedisLease};
use crate::Policy;
use crate::quota::{read_time, time_text};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigTable {
    prefix: String,
    limits: Vec<LimitTable>,
    #[serde(default)]
    one_slot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<usize>,
    #[serde(default)]
    outage: Outage,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitTable {
    #[serde(default = "unnamed")]
    name: String,
    policy: Policy,
    #[serde(default)]
    shared: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LeaseTable {
    batch: u64,
    ttl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_keys: Option<usize>,
}

fn unnamed() -> String {
    super::UNNAMED.to_owned()
}

impl TryFrom<ConfigTable> for RedisConfig {
    type Error = InvalidRedisConfig;

    fn try_from(table: ConfigTable) -> Result<Self, InvalidRedisConfig> {
        let limits = table.limits.into_iter().map(|limit| Limit {
            name: limit.name,
            policy: limit.policy,
            shared: limit.shared,
        });
        let deadline = table.deadline.map(|text| time("deadline", &text));
        let lease = table.lease.map(|table| {
            let lease = RedisLease::new(table.batch, time("ttl", &table.ttl)?);
            let lease = table
                .ahead
                .map_or(lease, |ahead| lease.drawing_ahead(ahead));
            let keyed = |max_keys| lease.with_max_keys(max_keys);
            Ok(table.max_keys.map_or(lease, keyed))
        });
        let config = Self {
            prefix: table.prefix,
            limits: limits.collect(),
            one_slot: table.one_slot,
            deadline: deadline.transpose()?.unwrap_or(super::DEADLINE),
            lease: lease.transpose()?,
            refusals: table.refusals,
            outage: table.outage,
        };
        config.validate()?;
        Ok(config)
    }
}

/// Everything is written, also what is the default; but not how many batches lie ahead, which goes by the
/// smallest limit.
impl From<RedisConfig> for ConfigTable {
    fn from(config: RedisConfig) -> Self {
        let limits = config.limits.into_iter().map(|limit| LimitTable {
            name: limit.name,
            policy: limit.policy,
            shared: limit.shared,
        });
        Self {
            prefix: config.prefix,
            limits: limits.collect(),
            one_slot: config.one_slot,
            deadline: Some(time_text(config.deadline)),
            lease: config.lease.map(|lease| LeaseTable {
                batch: lease.batch,
                ttl: time_text(lease.ttl),
                ahead: lease.ahead,
                max_keys: Some(lease.max_keys),
            }),
            refusals: config.refusals,
            outage: config.outage,
        }
    }
}

fn time(field: &'static str, text: &str) -> Result<Duration, InvalidRedisConfig> {
    let allowed = "a whole number with a unit, ns, us, ms, s, m, h or d, such as \"5ms\"";
    read_time(text).ok_or_else(|| InvalidRedisConfig::new(field, format!("{text:?}"), allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RedisConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_says_what_the_methods_say_and_has_their_defaults() {
        let short = read("prefix = \"api\"\nlimits = [{ policy = \"100/s\" }]");
        let quota: crate::Quota = "100/s".parse().unwrap();
        assert_eq!(short, Ok(RedisConfig::new("api", quota)));

        let text = "prefix = \"api\"
one_slot = true
deadline = \"5ms\"
refusals = 1000
outage = { local = { instances = 3, max_keys = 50 } }
limits = [
    { name = \"second\", policy = { rate = \"100/s\", burst = 200 } },
    { name = \"all\", policy = \"fixed-window 9000/m\", shared = true },
]
[lease]
batch = 10
ttl = \"1s\"
ahead = 4
max_keys = 70
";
        let window: crate::FixedWindow = "9000/m".parse().unwrap();
        let lease = RedisLease::new(10, Duration::from_secs(1));
        let local = Outage::Local {
            instances: 3,
            max_keys: 50,
        };
        let config = RedisConfig::new("api", quota.with_burst(200).unwrap())
            .named("second")
            .and_shared("all", window)
            .in_one_slot()
            .with_deadline(Duration::from_millis(5))
            .leased(lease.drawing_ahead(4).with_max_keys(70))
            .remembering_refusals(1_000)
            .on_outage(local);
        assert_eq!(read(text), Ok(config.clone()));
        for config in [config, short.unwrap()] {
            let written = toml::to_string(&config).unwrap();
            assert_eq!(read(&written), Ok(config), "{written}");
        }
    }

    #[test]
    fn errors_name_the_field_the_value_and_what_is_allowed() {
        let with = |line: &str| {
            let one = "prefix = \"api\"\nlimits = [{ policy = \"100/s\" }]\n";
            read(&format!("{one}{line}")).unwrap_err()
        };
        for (said, error) in [
            (
                "deadline is \"5\", must be a whole number",
                with("deadline = \"5\""),
            ),
            (
                "deadline is 0ns, must be more than 0, at most 60s",
                with("deadline = \"0s\""),
            ),
            ("refusals is 0, must be of at least 1", with("refusals = 0")),
            (
                "batch is 101, must be from 1 to the smallest limit, 100",
                with("lease = { batch = 101, ttl = \"1s\" }"),
            ),
            (
                "ttl is \"x\", must be",
                with("lease = { batch = 1, ttl = \"x\" }"),
            ),
            (
                "ahead is 0, must be",
                with("lease = { batch = 1, ttl = \"1s\", ahead = 0 }"),
            ),
            (
                "unknown field `bacth`",
                with("lease = { bacth = 1, ttl = \"1s\" }"),
            ),
            ("unknown field `dedline`", with("dedline = \"5ms\"")),
            ("unknown variant `ajar`", with("outage = \"ajar\"")),
            (
                "instances is 0, must be at least 1",
                with("outage = { local = { instances = 0, max_keys = 1 } }"),
            ),
            (
                "max_keys is 0, must be from 1",
                with("outage = { local = { instances = 1, max_keys = 0 } }"),
            ),
            (
                "missing field `policy`",
                read("prefix = \"a\"\nlimits = [{ name = \"a\" }]").unwrap_err(),
            ),
            (
                "limits is 0, must be from 1 to 8",
                read("prefix = \"a\"\nlimits = []").unwrap_err(),
            ),
            (
                "prefix is \"a:\", must be 1 to 64",
                read("prefix = \"a:\"\nlimits = [{ policy = \"1/s\" }]").unwrap_err(),
            ),
            (
                "policy is sliding-window-log, must be a token bucket",
                read("prefix = \"a\"\nlimits = [{ policy = \"sliding-window-log 1/s\" }]")
                    .unwrap_err(),
            ),
        ] {
            assert!(error.contains(said), "{error}");
        }
    }
}
