//! How traffic is split between priority levels, by how much of each is fit.
//!
//! ```text
//! availability = min(100, 140 · fit / all)                 of each level, in percent
//! total        = min(100, sum of the availabilities)
//! load         = availability · 100 / total, from the first level on, until 100 are given
//! panic        = total < 100 and fit / all < threshold     the level is used whole
//! ```
//!
//! Healthy endpoints of all levels come before degraded ones of any. Where each level panics,
//! health says nothing any more, and levels are loaded by how many endpoints they have.
//!
//! Source: Envoy's *priority levels*, *degraded endpoints* and *panic threshold*.

use crate::Config;

/// How many endpoints one level has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) healthy: u32,
    pub(crate) degraded: u32,
    /// All that are meant to be used, these among them.
    pub(crate) all: u32,
}

/// What part of the traffic, in percent, goes to one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// To its healthy endpoints.
    pub(crate) healthy: u32,
    /// To its degraded endpoints.
    pub(crate) degraded: u32,
    /// All of these go to all of its endpoints.
    pub(crate) panic: bool,
}

impl Load {
    pub(crate) fn total(self) -> u32 {
        self.healthy + self.degraded
    }
}

/// The loads of all levels, which make 100 unless there is nothing to use.
pub(crate) fn split(levels: &[Counts], config: &Config) -> Vec<Load> {
    let available = |fit: u32, all: u32| {
        let percent = u64::from(fit) * u64::from(config.overprovisioning);
        let percent = percent.checked_div(u64::from(all)).unwrap_or(0).min(100);
        u32::try_from(percent).unwrap_or(100)
    };
    let healthy = levels
        .iter()
        .map(|level| available(level.healthy, level.all));
    let degraded = levels
        .iter()
        .map(|level| available(level.degraded, level.all));
    let total = healthy
        .clone()
        .chain(degraded.clone())
        .sum::<u32>()
        .min(100);

    let panics = |level: &Counts| {
        let fit = 100 * u64::from(level.healthy + level.degraded);
        total < 100
            && level.all > 0
            && fit < u64::from(config.panic_threshold) * u64::from(level.all)
    };
    let mut used = levels.iter().filter(|level| level.all > 0);
    if used.clone().next().is_some() && used.all(panics) {
        return by_size(levels);
    }
    let mut left = 100;
    let mut given = |available: u32| {
        let share = (available * 100).checked_div(total).unwrap_or(0).min(left);
        left -= share;
        share
    };
    let healthy: Vec<u32> = healthy.map(&mut given).collect();
    let degraded: Vec<u32> = degraded.map(&mut given).collect();
    let mut loads: Vec<Load> = (levels.iter().zip(healthy).zip(degraded))
        .map(|((level, healthy), degraded)| Load {
            healthy,
            degraded,
            panic: panics(level),
        })
        .collect();
    // What dividing lost goes to the first that has a share.
    let first = |load: &&mut Load| load.total() > 0;
    if let Some(load) = loads.iter_mut().find(first) {
        if load.healthy > 0 {
            load.healthy += left;
        } else {
            load.degraded += left;
        }
    }
    loads
}

fn by_size(levels: &[Counts]) -> Vec<Load> {
    let all: u64 = levels.iter().map(|level| u64::from(level.all)).sum();
    let mut left = 100;
    let share = |level: &Counts| {
        let percent = 100 * u64::from(level.all) / all;
        let percent = u32::try_from(percent).unwrap_or(100);
        left -= percent;
        Load {
            healthy: percent,
            degraded: 0,
            panic: level.all > 0,
        }
    };
    let mut loads: Vec<Load> = levels.iter().map(share).collect();
    if let Some(load) = loads.iter_mut().find(|load| load.panic) {
        load.healthy += left;
    }
    loads
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_hundred(healthy: &[u32]) -> Vec<Counts> {
        let level = |&healthy| Counts {
            healthy,
            degraded: 0,
            all: 100,
        };
        healthy.iter().map(level).collect()
    }

    fn totals(loads: &[Load]) -> Vec<u32> {
        loads.iter().map(|load| load.total()).collect()
    }

    #[test]
    fn a_level_overflows_to_the_next_as_in_envoy() {
        let config = Config::default();
        for (healthy, loads) in [
            ([100, 100], [100, 0]),
            ([72, 100], [100, 0]),
            ([71, 100], [99, 1]),
            ([50, 100], [70, 30]),
            ([25, 100], [35, 65]),
            ([0, 100], [0, 100]),
        ] {
            let split = split(&of_hundred(&healthy), &config);
            assert_eq!(totals(&split), loads, "{healthy:?}");
            assert!(split.iter().all(|load| !load.panic), "{healthy:?}");
        }
    }

    #[test]
    fn levels_panic_where_all_together_are_not_enough() {
        let config = Config::default();
        let both = split(&of_hundred(&[25, 25]), &config);
        assert_eq!(totals(&both), [50, 50]);
        assert!(both.iter().all(|load| load.panic));
        // The second level is fit enough, so it alone is used by its health.
        let one = split(&of_hundred(&[5, 60]), &config);
        assert_eq!(totals(&one), [8, 92]);
        assert_eq!([one[0].panic, one[1].panic], [true, false]);
        let never = split(
            &of_hundred(&[0, 0]),
            &config.with_panic_threshold(0).unwrap(),
        );
        assert_eq!(totals(&never), [0, 0]);
    }

    #[test]
    fn where_all_panic_load_goes_by_size() {
        let level = |all| Counts {
            healthy: 0,
            degraded: 0,
            all,
        };
        let loads = split(&[level(0), level(1), level(2)], &Config::default());
        assert_eq!(totals(&loads), [0, 34, 66]);
    }

    #[test]
    fn degraded_endpoints_of_a_level_come_after_healthy_ones_of_all() {
        let level = |healthy, degraded| Counts {
            healthy,
            degraded,
            all: 10,
        };
        let loads = split(&[level(2, 8), level(3, 0)], &Config::default());
        let parts: Vec<_> = loads
            .iter()
            .map(|load| (load.healthy, load.degraded))
            .collect();
        assert_eq!(parts, [(28, 30), (42, 0)]);
        assert!(loads.iter().all(|load| !load.panic));
    }

    proptest! {
        #[test]
        fn loads_make_a_hundred_and_none_goes_where_nothing_is(
            levels in proptest::collection::vec((0u32..50, 0u32..50, 0u32..50), 1..5),
            panic_threshold in 0u8..=100,
        ) {
            let levels: Vec<Counts> = levels
                .into_iter()
                .map(|(healthy, degraded, rest)| Counts { healthy, degraded, all: healthy + degraded + rest })
                .collect();
            let config = Config::default().with_panic_threshold(panic_threshold).unwrap();
            let loads = split(&levels, &config);
            let usable = levels.iter().any(|level| level.healthy + level.degraded > 0
                || panic_threshold > 0 && level.all > 0);
            prop_assert_eq!(totals(&loads).iter().sum::<u32>(), if usable { 100 } else { 0 });
            for (level, load) in levels.iter().zip(&loads) {
                if !load.panic {
                    prop_assert!(load.healthy == 0 || level.healthy > 0, "{:?} {:?}", level, load);
                    prop_assert!(load.degraded == 0 || level.degraded > 0, "{:?} {:?}", level, load);
                }
            }
        }
    }
}
