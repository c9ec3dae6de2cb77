use std::fmt;
use std::sync::Arc;

use stanchion_core::Observe;
use stanchion_lb::{self as lb, EjectionCause, Mark, ReadmissionCause};

use crate::reload::{ReloadError, Reloaded};

/// What an observer of a [`Gateway`](crate::Gateway) hears. Its text is a line for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The configuration was taken over, or was found to be the one in force.
    Reloaded(Reloaded),
    /// The configuration was refused; nothing changed.
    ReloadFailed(ReloadError),
    /// Something became of a server of an upstream. Told by the thread that found it out, which
    /// may be one that serves requests.
    ///
    /// An ejection and its end are one event each: the change of health is not told again. Those that
    /// were skipped are only counted.
    Balance {
        /// The upstream.
        upstream: Arc<str>,
        /// What became of which server.
        event: lb::Event,
    },
    /// Other servers of an upstream were found, or the same ones with other attributes.
    Discovered {
        /// The upstream.
        upstream: Arc<str>,
        /// How many there are now.
        endpoints: usize,
        /// How many there were before.
        before: usize,
    },
    /// The servers of an upstream could not be found; the last ones stay.
    DiscoveryFailed {
        /// The upstream.
        upstream: Arc<str>,
        /// Why.
        why: Arc<str>,
    },
}

/// Who is told.
pub(crate) type Observer = Arc<dyn Observe<Event> + Send + Sync>;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloaded(reloaded) => reloaded.fmt(f),
            Self::ReloadFailed(error) => {
                write!(f, "the configuration was refused, nothing changed: {error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Discovered {
                upstream,
                endpoints,
                before,
            } => write!(
                f,
                "{upstream}: {endpoints} servers were found, {before} before"
            ),
            Self::DiscoveryFailed { upstream, why } => {
                write!(
                    f,
                    "{upstream}: its servers were not found, those of before stay: {why}"
                )
            }
            Self::Balance { upstream, event } => {
                write!(f, "{upstream}: ")?;
                balance(event, f)
            }
        }
    }
}

fn balance(event: &lb::Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        lb::Event::HealthChanged { id, from, to, mark } => {
            write!(f, "{id} is {to}, was {from}: {}", why(*mark))
        }
        lb::Event::Ejected {
            id, cause, time, ..
        } => write!(f, "{id} is taken out for {time:?}: {}", Cause(*cause)),
        lb::Event::EjectionSkipped { id, cause } => {
            let cause = Cause(*cause);
            write!(f, "{id} stays, since as many as may be are out: {cause}")
        }
        lb::Event::Readmitted { id, cause } => {
            let why = match cause {
                ReadmissionCause::TimePassed => "its time is over",
                ReadmissionCause::CheckPassed => "it passed a check",
                ReadmissionCause::TurnedOff => "outlier detection is off",
                _ => "it was said so",
            };
            write!(f, "{id} is let in again: {why}")
        }
        lb::Event::PanicEntered { priority } => write!(
            f,
            "too few servers of priority {priority} are fit: all of them are used"
        ),
        lb::Event::PanicLeft { priority } => {
            write!(
                f,
                "enough servers are fit again, for those of priority {priority}"
            )
        }
        other => write!(f, "{other:?}"),
    }
}

fn why(mark: Mark) -> &'static str {
    match mark {
        Mark::Healthy => "its checks pass",
        Mark::Degraded => "its checks pass, and it says that it is not at its best",
        Mark::Unhealthy => "its checks fail",
        Mark::Unknown => "it is not checked",
        Mark::Hold => "its breaker is open",
        Mark::Release => "its breaker is to be tried",
        Mark::Drain | Mark::Disable | Mark::Enable => "an operator said so",
        _ => "outlier detection",
    }
}

struct Cause(EjectionCause);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EjectionCause::Consecutive => f.write_str("it failed too often in a row"),
            EjectionCause::SuccessRate { rate, least } => write!(
                f,
                "{rate:.1} % of its requests succeeded, of the others' at least {least:.1} %"
            ),
            EjectionCause::FailurePercentage { percent } => {
                write!(f, "{percent:.1} % of its requests failed")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion_lb::Health;

    use super::*;

    #[test]
    fn what_becomes_of_a_server_is_a_line_for_a_log() {
        let id = lb::EndpointId::from("10.0.0.1:80");
        let cause = EjectionCause::FailurePercentage { percent: 86.04 };
        let ejected = lb::Event::Ejected {
            id: id.clone(),
            cause,
            time: Duration::from_secs(30),
            recent: 1,
        };
        let failed = lb::Event::HealthChanged {
            id,
            from: Health::Healthy,
            to: Health::Unhealthy,
            mark: Mark::Unhealthy,
        };
        for (event, line) in [
            (
                ejected,
                "a: 10.0.0.1:80 is taken out for 30s: 86.0 % of its requests failed",
            ),
            (
                failed,
                "a: 10.0.0.1:80 is unhealthy, was healthy: its checks fail",
            ),
        ] {
            let upstream = "a".into();
            assert_eq!(Event::Balance { upstream, event }.to_string(), line);
        }
    }
}
