//! What a route changes in the fields of its requests and responses.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize, Serializer};
use toml::Spanned;

use super::text::{FromText, Text};
use crate::hop_by_hop;
use crate::request_id;

/// Fields that are removed, then fields that are set, then fields that are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldEdits {
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) add: Vec<(HeaderName, HeaderValue)>,
}

/// The most edits of one route's requests, and of its responses.
pub(super) const EDITS_MAX: usize = 64;

impl FieldEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// As it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditsTable {
    #[serde(default)]
    pub(super) remove: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) set: Values,
    #[serde(default)]
    pub(super) add: Values,
}

pub(super) type Values = BTreeMap<Spanned<String>, Text<FieldValue>>;

pub(super) struct FieldValue(pub(super) HeaderValue);

impl FromText for FieldValue {
    const EXPECTED: &'static str = "a field's value of at most 4096 characters of printable ASCII, \
                                    without a space at either end";

    fn from_text(text: &str) -> Option<Self> {
        let sound = text.len() <= 4_096 && text.is_ascii() && text.trim() == text;
        let value = sound.then(|| HeaderValue::from_str(text).ok());
        value.flatten().map(Self)
    }
}

/// The name of a field that a route may change, or why it is none.
pub(super) fn name(text: &str) -> Result<HeaderName, String> {
    let Ok(name) = text.parse::<HeaderName>() else {
        return Err(format!(
            "{text:?} given, expected the name of a field, such as \"x-tenant\""
        ));
    };
    let own = name == header::HOST || name == header::CONTENT_LENGTH || name == header::TRAILER;
    if own || name == request_id::NAME || hop_by_hop::ends_here(&name) {
        return Err(format!(
            "{text:?} given, which is the gateway's own: Host, Content-Length, Trailer, \
             X-Request-Id and hop-by-hop fields are not changed"
        ));
    }
    Ok(name)
}

#[derive(Serialize)]
struct Shown<'a> {
    remove: Vec<&'a str>,
    set: BTreeMap<&'a str, &'a str>,
    add: BTreeMap<&'a str, &'a str>,
}

impl Serialize for FieldEdits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown(|value| value.to_str().unwrap_or_default())
            .serialize(serializer)
    }
}

/// For edits of requests: what servers are told may be a secret between them and the gateway.
pub(super) fn without_values<S: Serializer>(
    edits: &FieldEdits,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    edits.shown(|_| "***").serialize(serializer)
}

impl FieldEdits {
    fn shown<'a>(&'a self, text: impl Fn(&'a HeaderValue) -> &'a str) -> Shown<'a> {
        let texts = |fields: &'a [(HeaderName, HeaderValue)]| {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.as_str(), text(value)))
                .collect()
        };
        Shown {
            remove: self.remove.iter().map(HeaderName::as_str).collect(),
            set: texts(&self.set),
            add: texts(&self.add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_is_not_changed() {
        for text in [
            "host",
            "Content-Length",
            "Transfer-Encoding",
            "trailer",
            "connection",
            "keep-alive",
            "proxy-authorization",
            "te",
            "upgrade",
            "http2-settings",
            "X-Request-ID",
        ] {
            let why = name(text).unwrap_err();
            assert!(why.contains("the gateway's own"), "{why}");
        }
        for text in ["", "a b", "a:", "ä", ":path"] {
            let why = name(text).unwrap_err();
            assert!(why.contains("expected the name of a field"), "{why}");
        }
        assert_eq!(name("X-Tenant").unwrap(), "x-tenant");
    }

    #[test]
    fn values_are_what_a_field_can_hold() {
        for (text, sound) in [
            ("", true),
            ("max-age=1; a=\"b\"", true),
            ("a\tb", true),
            (" a", false),
            ("a ", false),
            ("a\r\nb: c", false),
            ("a\0", false),
            ("ä", false),
            (&"a".repeat(4_097), false),
        ] {
            assert_eq!(FieldValue::from_text(text).is_some(), sound, "{text:?}");
        }
    }
}
