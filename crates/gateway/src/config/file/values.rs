//! Single values of the file, held to what is allowed.

use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;

use super::{Reader, Written};
use crate::config::error::Mistake;
use crate::config::field::field_at;
use crate::config::text::Size;

impl Reader<'_> {
    pub(super) fn unique<K: Hash + Eq>(
        &mut self,
        seen: &mut HashMap<K, usize>,
        key: K,
        span: &Range<usize>,
        what: &str,
    ) {
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(span.start);
            }
            Entry::Occupied(entry) => {
                let before = self.text.get(..*entry.get()).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                self.mistake(span, format!("{what} is given twice, first on line {line}"));
            }
        }
    }

    pub(super) fn number(
        &mut self,
        given: Option<Spanned<usize>>,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> usize {
        let Some(given) = given else {
            return default;
        };
        let value = *given.get_ref();
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let message = format!("{value} given, from {low} to {high} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    pub(super) fn ratio(&mut self, given: Option<Spanned<f64>>, default: f64) -> f64 {
        let Some(given) = given else {
            return default;
        };
        let value = *given.get_ref();
        if !(0.0..=1.0).contains(&value) {
            let message = format!("{value} given, from 0 to 1 is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    pub(super) fn size(
        &mut self,
        given: &Option<Written<Size>>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> u64 {
        let Some(given) = given else {
            return default;
        };
        let value = given.get_ref().0.0;
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let (value, low, high) = (Size(value), Size(low), Size(high));
            let message = format!("{value} given, from {low} to {high} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    pub(super) fn duration(
        &mut self,
        given: Option<Written<Duration>>,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(given) = given else {
            return default;
        };
        let value = given.get_ref().0;
        if !allowed.contains(&value) {
            let (low, high) = allowed.into_inner();
            let message = format!("{value:?} given, from {low:?} to {high:?} is allowed");
            self.mistake(&given.span(), message);
        }
        value
    }

    pub(super) fn mistake(&mut self, span: &Range<usize>, message: String) {
        let field = field_at(self.text, span.start);
        let mistake = Mistake::new(self.text, span.start, field, message);
        self.mistakes.push(mistake);
    }
}

/// For people.
pub(super) fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}
