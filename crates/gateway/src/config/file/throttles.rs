//! The throttles as they are written.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::breakers::SPANS;
use super::{Reader, SECOND, Written};
use crate::config::{Decimal, Share, Throttle};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThrottleTable {
    multiplier: Option<Spanned<f64>>,
    window: Option<Written<Duration>>,
    aggression: Option<Spanned<f64>>,
    min_rate: Option<Spanned<f64>>,
    max_rejection: Option<Spanned<f64>>,
}

impl Reader<'_> {
    pub(super) fn throttle(&mut self, table: Option<Spanned<ThrottleTable>>) -> Option<Throttle> {
        let table = table?.into_inner();
        Some(Throttle {
            multiplier: self.decimal(table.multiplier, 2.0, 1.0..=1_000.0),
            window: self.duration(table.window, 120 * SECOND, SPANS),
            aggression: self.decimal(table.aggression, 1.0, 1.0..=100.0),
            min_rate: self.decimal(table.min_rate, 0.0, 0.0..=1e9),
            max_rejection: self.share(table.max_rejection, Share::ALL),
        })
    }

    pub(super) fn decimal(
        &mut self,
        given: Option<Spanned<f64>>,
        default: f64,
        allowed: RangeInclusive<f64>,
    ) -> Decimal {
        let value = given.as_ref().map_or(default, |given| *given.get_ref());
        let number = Decimal::new(value).filter(|_| allowed.contains(&value));
        number.unwrap_or_else(|| {
            if let Some(given) = given {
                let (low, high) = allowed.into_inner();
                let message = format!("{value} given, from {low} to {high} is allowed");
                self.mistake(&given.span(), message);
            }
            Decimal::ZERO
        })
    }
}
