//! How servers are asked whether they are well.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, StatusCode};
use serde::{Serialize, Serializer};
use stanchion_lb::InvalidConfig;

use super::show;

/// The checks of the servers of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Checks {
    /// Without it, a connection suffices.
    #[serde(flatten)]
    pub(crate) http: Option<HttpCheck>,
    #[serde(serialize_with = "show::duration")]
    pub(crate) interval: Duration,
    #[serde(serialize_with = "show::duration")]
    pub(crate) timeout: Duration,
    pub(crate) jitter_percent: u8,
    pub(crate) rise: NonZeroU32,
    pub(crate) fall: NonZeroU32,
    pub(crate) at_once_max: NonZeroUsize,
    pub(crate) skip_proven: bool,
}

/// What is asked, and which answers are good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HttpCheck {
    #[serde(serialize_with = "show::text")]
    pub(crate) path: PathAndQuery,
    /// Default: the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<Box<str>>,
    #[serde(serialize_with = "statuses")]
    pub(crate) status: RangeInclusive<StatusCode>,
    /// A good answer that has it comes from a server that is not at its best.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "show::maybe_text")]
    pub(crate) degraded_header: Option<HeaderName>,
}

impl Checks {
    /// In the terms of the balancer.
    ///
    /// # Errors
    ///
    /// When a number is out of its range.
    pub(crate) fn checks(&self) -> Result<stanchion_lb::check::Checks, InvalidConfig> {
        let checks = stanchion_lb::check::Checks::every(self.interval)?
            .with_timeout(self.timeout)?
            .with_jitter_percent(self.jitter_percent)?
            .with_rise(self.rise)
            .with_fall(self.fall)
            .with_at_once_max(self.at_once_max);
        Ok(match self.skip_proven {
            true => checks.skipping_proven(),
            false => checks,
        })
    }
}

fn statuses<S: Serializer>(
    status: &RangeInclusive<StatusCode>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let (from, to) = (status.start().as_u16(), status.end().as_u16());
    match from == to {
        true => serializer.collect_str(&from),
        false => serializer.collect_str(&format_args!("{from}-{to}")),
    }
}
