//! Which field of a TOML text a place lies in.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The path of the field at `offset`, such as `route[2].limit[0].rate`; empty where there is none,
/// and if the text is no TOML.
pub(super) fn field_at(text: &str, offset: usize) -> String {
    let Ok(table) = DeTable::parse(text) else {
        return String::new();
    };
    let mut search = Search { offset, best: None };
    search.table(table.get_ref(), "");
    search.best.map_or_else(String::new, |(_, path)| path)
}

struct Search {
    offset: usize,
    /// The length of the tightest span around the place so far, and its path.
    best: Option<(usize, String)>,
}

impl Search {
    fn table(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table {
            let name = key.get_ref();
            let path = if path.is_empty() {
                name.to_string()
            } else {
                format!("{path}.{name}")
            };
            self.take(&key.span(), &path);
            self.value(value, &path);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &str) {
        self.take(&value.span(), path);
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    self.value(value, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, span: &Range<usize>, path: &str) {
        let tighter = self.best.as_ref().is_none_or(|(len, _)| span.len() <= *len);
        if span.contains(&self.offset) && tighter {
            self.best = Some((span.len(), path.to_owned()));
        }
    }
}
