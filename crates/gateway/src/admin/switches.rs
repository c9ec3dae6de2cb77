//! Shows the switches that the gateway was given, and sets one.

use http::StatusCode;
use serde::Serialize;

use super::answer::{self, Answer};
use crate::Switch;

#[derive(Serialize)]
struct All<'a> {
    switches: Vec<Shown<'a>>,
}

/// A switch, and where it stands.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    name: &'a str,
    words: Vec<&'a str>,
    word: &'a str,
}

impl<'a> Shown<'a> {
    pub(super) fn new(switch: &'a Switch) -> Self {
        Self {
            name: switch.name(),
            words: switch.words().collect(),
            word: switch.word(),
        }
    }
}

pub(super) fn show(switches: &[Switch]) -> Answer {
    let switches = switches.iter().map(Shown::new).collect();
    answer::json(&All { switches })
}

/// Does what a query says: `name` and `word`.
pub(super) fn change(switches: &[Switch], query: &str) -> Answer {
    let (mut name, mut word) = (None, None);
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*parameter {
            "name" if name.is_none() => name = Some(value),
            "word" if word.is_none() => word = Some(value),
            _ => return wrong(&format!("{parameter}: expected name and word, each once")),
        }
    }
    let (Some(name), Some(word)) = (name, word) else {
        return wrong("expected name and word");
    };
    let Some(switch) = switches.iter().find(|switch| switch.name() == name) else {
        let detail = format!("there is no switch {name:?}");
        return answer::problem(StatusCode::NOT_FOUND, &detail);
    };
    match switch.set(&word) {
        Ok(()) => answer::json(&Shown::new(switch)),
        Err(error) => wrong(&error.to_string()),
    }
}

fn wrong(detail: &str) -> Answer {
    answer::problem(StatusCode::BAD_REQUEST, detail)
}
