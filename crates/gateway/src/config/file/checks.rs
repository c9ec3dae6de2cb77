//! The checks of servers, as they are written.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use toml::Spanned;

use super::{Reader, SECOND, Written};
use crate::config::text::{CheckHost, CheckPath, Statuses, Text};
use crate::config::{Checks, HttpCheck};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChecksTable {
    path: Option<Text<CheckPath>>,
    host: Option<Written<CheckHost>>,
    status: Option<Written<Statuses>>,
    degraded_header: Option<Written<HeaderName>>,
    interval: Option<Written<Duration>>,
    timeout: Option<Written<Duration>>,
    jitter_percent: Option<Spanned<usize>>,
    rise: Option<Spanned<usize>>,
    fall: Option<Spanned<usize>>,
    at_once_max: Option<Spanned<usize>>,
    #[serde(default)]
    skip_proven: bool,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);
const AT_ONCE_MAX: usize = 1_024;

impl Reader<'_> {
    pub(super) fn checks(&mut self, table: ChecksTable) -> Checks {
        let interval = self.duration(table.interval, 5 * SECOND, 10 * MILLISECOND..=DAY);
        let longest = interval.saturating_sub(MILLISECOND);
        let at_once_max = self.number(table.at_once_max, 32, 1..=AT_ONCE_MAX);
        let needs_path = [
            table.host.as_ref().map(Spanned::span),
            table.status.as_ref().map(Spanned::span),
            table.degraded_header.as_ref().map(Spanned::span),
        ];
        if table.path.is_none() {
            for span in needs_path.into_iter().flatten() {
                let message = "given without a path to ask for, where a connection suffices";
                self.mistake(&span, message.to_owned());
            }
        }
        Checks {
            http: table.path.map(|Text(CheckPath(path))| HttpCheck {
                path,
                host: table.host.map(|host| host.into_inner().0.0),
                status: match table.status {
                    Some(status) => status.into_inner().0.0,
                    None => StatusCode::OK..=StatusCode::OK,
                },
                degraded_header: table.degraded_header.map(|name| name.into_inner().0),
            }),
            interval,
            timeout: self.duration(
                table.timeout,
                SECOND.min(interval / 2),
                MILLISECOND..=longest,
            ),
            jitter_percent: self.percent(table.jitter_percent, 20, 0..=100),
            rise: self.at_least_one(table.rise, 2),
            fall: self.at_least_one(table.fall, 3),
            at_once_max: NonZeroUsize::new(at_once_max).unwrap_or(NonZeroUsize::MIN),
            skip_proven: table.skip_proven,
        }
    }
}
