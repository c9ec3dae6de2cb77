//! Where servers are found, as it is written.

use toml::Spanned;

use super::Reader;
use crate::config::Discovery;
use crate::config::text::{ListFile, Text};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscoveryTable {
    file: Option<Text<ListFile>>,
}

impl Reader<'_> {
    pub(super) fn discovery(&mut self, table: Spanned<DiscoveryTable>) -> Option<Discovery> {
        let span = table.span();
        let Some(Text(ListFile(file))) = table.into_inner().file else {
            self.mistake(&span, "expected a file".to_owned());
            return None;
        };
        Some(Discovery::File { file })
    }
}
