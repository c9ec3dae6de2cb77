//! The routes of the file.

use std::collections::hash_map::HashMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Spanned;

use super::breakers::BreakerTable;
use super::limits::{Known, LimitTable};
use super::throttles::ThrottleTable;
use super::values::listed;
use super::{Reader, Written};
use crate::config::edits::{self, EDITS_MAX, EditsTable, FieldEdits};
use crate::config::text::{Name, PathPrefix, Size, StripPrefix};
use crate::config::{BodyLimits, HostPattern, Route, UNMATCHED};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    id: Written<Name>,
    host: Option<Written<HostPattern>>,
    path_prefix: Option<Written<PathPrefix>>,
    upstream: Spanned<String>,
    body_bytes_max: Option<Written<Size>>,
    body_rate_min: Option<Written<Size>>,
    strip_prefix: Option<Spanned<StripPrefix>>,
    request_headers: Option<Spanned<EditsTable>>,
    response_headers: Option<Spanned<EditsTable>>,
    breaker: Option<Spanned<BreakerTable>>,
    throttle: Option<Spanned<ThrottleTable>>,
    #[serde(default)]
    limit: Vec<Spanned<LimitTable>>,
}

impl Reader<'_> {
    pub(super) fn routes(
        &mut self,
        tables: Vec<Spanned<RouteTable>>,
        upstreams: &[String],
        known: &Known,
        bodies: BodyLimits,
    ) -> Vec<Route> {
        let mut ids = HashMap::new();
        let mut matches = HashMap::new();
        let mut routes = Vec::with_capacity(tables.len());
        for table in tables {
            let span = table.span();
            let table = table.into_inner();
            let id_span = table.id.span();
            let id = table.id.into_inner().0.0;
            self.unique(&mut ids, id.clone(), &id_span, &format!("the id {id:?}"));
            if *id == *UNMATCHED {
                let message =
                    format!("{UNMATCHED:?} given, which stands for requests without a route");
                self.mistake(&id_span, message);
            }
            let host = table
                .host
                .map_or(HostPattern::Any, |host| host.into_inner().0);
            let path_prefix = match table.path_prefix {
                Some(path) => path.into_inner().0.0,
                None => "/".to_owned(),
            };
            let key = (host.clone(), path_prefix.clone());
            self.unique(&mut matches, key, &span, "this host and path prefix");
            let named = table.upstream.get_ref();
            let upstream = upstreams.iter().position(|name| name == named);
            if upstream.is_none() {
                let known = listed(upstreams);
                let message = format!("{named:?} given, which is no upstream; there are {known}");
                self.mistake(&table.upstream.span(), message);
            }
            let limits = self.limits(table.limit, &id, known);
            routes.push(Route {
                id,
                host,
                strip_prefix: self.strip_prefix(table.strip_prefix, &path_prefix),
                request_headers: self.edits(table.request_headers),
                response_headers: self.edits(table.response_headers),
                breaker: self.breaker(table.breaker),
                throttle: self.throttle(table.throttle),
                path_prefix,
                upstream: upstream.unwrap_or(0),
                bodies: self.bodies(table.body_bytes_max, table.body_rate_min, bodies),
                limits,
            });
        }
        routes
    }

    fn strip_prefix(
        &mut self,
        given: Option<Spanned<StripPrefix>>,
        path_prefix: &str,
    ) -> Option<Box<str>> {
        let given = given?;
        let span = given.span();
        let prefix = match given.into_inner() {
            StripPrefix::All(false) => return None,
            StripPrefix::All(true) => path_prefix.to_owned(),
            StripPrefix::Path(prefix) => prefix,
        };
        let rest = path_prefix.strip_prefix(prefix.as_str());
        if prefix == "/" {
            let message = format!("{prefix:?} is to be stripped, which leaves every path as it is");
            self.mistake(&span, message);
        } else if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message =
                format!("{prefix:?} given, which not every path under {path_prefix:?} begins with");
            self.mistake(&span, message);
        }
        Some(prefix.into())
    }

    fn edits(&mut self, table: Option<Spanned<EditsTable>>) -> FieldEdits {
        let Some(table) = table else {
            return FieldEdits::default();
        };
        let span = table.span();
        let EditsTable { remove, set, add } = table.into_inner();
        let count = remove.len() + set.len() + add.len();
        if count > EDITS_MAX {
            let message = format!("{count} fields given, at most {EDITS_MAX} are allowed");
            self.mistake(&span, message);
        }
        let mut removed = HashMap::new();
        let remove = remove.iter();
        FieldEdits {
            remove: remove
                .filter_map(|name| self.field_name(name, &mut removed))
                .collect(),
            set: self.fields(set),
            add: self.fields(add),
        }
    }

    fn fields(&mut self, values: edits::Values) -> Vec<(HeaderName, HeaderValue)> {
        let mut names = HashMap::new();
        let mut values: Vec<_> = values.into_iter().collect();
        // A name that is given twice, in two spellings, is a mistake where it stands second.
        values.sort_by_key(|(name, _)| name.span().start);
        let fields = values.into_iter().filter_map(|(name, value)| {
            let name = self.field_name(&name, &mut names)?;
            Some((name, value.0.0))
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        fields
    }

    fn field_name(
        &mut self,
        name: &Spanned<String>,
        seen: &mut HashMap<HeaderName, usize>,
    ) -> Option<HeaderName> {
        let (text, span) = (name.get_ref(), name.span());
        match edits::name(text) {
            Ok(name) => {
                self.unique(seen, name.clone(), &span, &format!("the field {text:?}"));
                Some(name)
            }
            Err(message) => {
                self.mistake(&span, message);
                None
            }
        }
    }
}
