//! The servers of an upstream: each a URL, or a table with one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::Reader;
use crate::config::text::{self, FromText};
use crate::config::{ENDPOINTS_MAX, Endpoint};

/// A server as it is written.
pub(super) struct EndpointEntry(EndpointTable);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    url: text::Text<text::Endpoint>,
    weight: Option<Spanned<usize>>,
    priority: Option<Spanned<usize>>,
    zone: Option<text::Text<text::Zone>>,
    in_flight_max: Option<Spanned<usize>>,
}

impl<'de> Deserialize<'de> for EndpointEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = EndpointEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, or a table with a `url`, and perhaps a `weight`, a `priority`, a `zone` and an \
             `in_flight_max`",
            text::Endpoint::EXPECTED
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<EndpointEntry, E> {
        let url = text::Text::read(text)?;
        Ok(EndpointEntry(EndpointTable {
            url,
            weight: None,
            priority: None,
            zone: None,
            in_flight_max: None,
        }))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<EndpointEntry, M::Error> {
        EndpointTable::deserialize(MapAccessDeserializer::new(map)).map(EndpointEntry)
    }
}

impl Reader<'_> {
    pub(super) fn endpoints(
        &mut self,
        given: Spanned<Vec<Spanned<EndpointEntry>>>,
    ) -> Vec<Endpoint> {
        let span = given.span();
        let entries = given.into_inner();
        if !(1..=ENDPOINTS_MAX).contains(&entries.len()) {
            let count = entries.len();
            let message = format!("{count} given, from 1 to {ENDPOINTS_MAX} are allowed");
            self.mistake(&span, message);
        }
        let mut seen = HashMap::new();
        let endpoint = |entry: Spanned<EndpointEntry>| {
            let span = entry.span();
            let EndpointEntry(table) = entry.into_inner();
            let url = table.url.0.0;
            let what = format!("the server \"http://{url}\"");
            self.unique(&mut seen, url.clone(), &span, &what);
            let weight = self.number(table.weight, 1, 0..=usize::from(u16::MAX));
            let priority = self.number(table.priority, 0, 0..=usize::from(u8::MAX));
            Endpoint {
                url,
                weight: u16::try_from(weight).unwrap_or(u16::MAX),
                priority: u8::try_from(priority).unwrap_or(u8::MAX),
                zone: table.zone.map_or_else(Arc::default, |zone| zone.0.0),
                incarnation: 0,
                found: false,
                in_flight_max: table
                    .in_flight_max
                    .map(|max| self.at_least_one(Some(max), 1)),
            }
        };
        entries.into_iter().map(endpoint).collect()
    }
}
