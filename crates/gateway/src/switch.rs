use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that operators can set while the gateway runs, at the admin listener and on its page:
/// one of a few words. Whoever gave it to the gateway reads how it stands; clones are the same
/// switch.
///
/// # Examples
///
/// ```
/// use stanchion_gateway::{Config, Gateway, Switch};
///
/// let mode = Switch::new("mode", ["normal", "read-only"])?;
/// let config = Config::from_toml(r#"
///     access_log = "off"
///     listen.address = "127.0.0.1:0"
///     admin.address = "127.0.0.1:0"
///     upstream.users.endpoints = ["http://127.0.0.1:9001"]
///     route = [{ id = "users", upstream = "users" }]
/// "#)?;
/// let gateway = Gateway::start_with(config, (), [mode.clone()])?;
/// assert_eq!(mode.word(), "normal");
/// mode.set("read-only")?;
/// assert_eq!(mode.position(), 1);
/// gateway.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Switch {
    name: Arc<str>,
    words: Arc<[Box<str>]>,
    position: Arc<AtomicUsize>,
}

/// The most words of a switch.
const WORDS_MAX: usize = 16;
const NAME_MAX: usize = 64;

impl Switch {
    /// A switch that stands at the first of its words.
    ///
    /// # Errors
    ///
    /// There must be 2 to 16 words; they must differ, and like the name have 1 to 64 characters.
    pub fn new<'a>(
        name: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidSwitch> {
        let words: Arc<[Box<str>]> = words.into_iter().map(Into::into).collect();
        let wrong = |what, given: String, allowed| {
            Err(InvalidSwitch {
                what,
                given,
                allowed,
            })
        };
        if !(2..=WORDS_MAX).contains(&words.len()) {
            return wrong("words", words.len().to_string(), "2 to 16");
        }
        if !(1..=NAME_MAX).contains(&name.chars().count()) {
            return wrong("name", format!("{name:?}"), "1 to 64 characters");
        }
        for (place, word) in words.iter().enumerate() {
            if !(1..=NAME_MAX).contains(&word.chars().count()) {
                return wrong("word", format!("{word:?}"), "1 to 64 characters");
            }
            if words[..place].contains(word) {
                return wrong("word", format!("{word:?}"), "given once");
            }
        }
        Ok(Self {
            name: name.into(),
            words,
            position: Arc::default(),
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The words, in their order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &**word)
    }

    /// The index of the word that it stands at; one load.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed)
    }

    /// The word that it stands at.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.words[self.position()]
    }

    /// Puts it to a word.
    ///
    /// # Errors
    ///
    /// When it has no such word; it stands where it stood.
    pub fn set(&self, word: &str) -> Result<(), InvalidSwitch> {
        let place = self.words.iter().position(|known| **known == *word);
        let place = place.ok_or_else(|| InvalidSwitch {
            what: "word",
            given: format!("{word:?}"),
            allowed: "one of the switch's own",
        })?;
        self.position.store(place, Ordering::Relaxed);
        Ok(())
    }
}

/// A switch that cannot be, or a word that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSwitch {
    what: &'static str,
    given: String,
    allowed: &'static str,
}

impl fmt::Display for InvalidSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            given,
            allowed,
        } = self;
        write!(f, "{what} is {given}, must be {allowed}")
    }
}

impl Error for InvalidSwitch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_switch_is_refused() {
        let long = "x".repeat(65);
        for (name, words, said) in [
            ("a", &["b"][..], "words is 1, must be 2 to 16"),
            ("a", &["b"; 17][..], "words is 17, must be 2 to 16"),
            (
                "",
                &["b", "c"][..],
                "name is \"\", must be 1 to 64 characters",
            ),
            ("a", &["b", "b"][..], "word is \"b\", must be given once"),
            (
                "a",
                &["b", ""][..],
                "word is \"\", must be 1 to 64 characters",
            ),
        ] {
            let error = Switch::new(name, words.iter().copied()).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
        assert!(Switch::new(&long, ["a", "b"]).is_err());
    }

    #[test]
    fn a_switch_stands_where_it_was_put() {
        let switch = Switch::new("a", ["on", "off"]).unwrap();
        let other = switch.clone();
        assert!(switch.set("none").is_err());
        switch.set("off").unwrap();
        assert_eq!((other.position(), other.word()), (1, "off"));
    }
}
