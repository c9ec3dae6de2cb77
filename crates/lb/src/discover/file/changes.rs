//! When a text that is read again and again has changed and is at rest; pure.

/// What was read so far. `None` stands for a text that could not be read.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What was last taken over, if anything.
    known: Option<Option<String>>,
    /// What was read last.
    last: Option<String>,
}

impl Changes {
    /// Whether this text is another one than before, and was read twice; the first one is taken as it
    /// is.
    pub(super) fn are_settled(&mut self, text: Option<&str>) -> bool {
        let at_rest = self.known.is_none() || text == self.last.as_deref();
        self.last = text.map(str::to_owned);
        let changed = at_rest && self.known.as_ref() != Some(&self.last);
        if changed {
            self.known = Some(self.last.clone());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_once_when_it_was_read_twice() {
        let mut changes = Changes::default();
        for (text, taken) in [
            (Some("a"), true),
            (Some("a"), false),
            // Written in two pieces.
            (Some("b"), false),
            (Some("bc"), false),
            (Some("bc"), true),
            (Some("bc"), false),
            // There and back again.
            (Some("d"), false),
            (Some("bc"), false),
            // Replaced by way of nothing.
            (None, false),
            (Some("e"), false),
            (Some("e"), true),
            // Gone for good.
            (None, false),
            (None, true),
            (None, false),
        ] {
            assert_eq!(changes.are_settled(text), taken, "{text:?}");
        }
        assert!(Changes::default().are_settled(None), "told at once, too");
    }
}
