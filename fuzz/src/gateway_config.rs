//! The gateway's TOML: each refusal points into the text and says something, and reading twice
//! gives the same.

use stanchion_gateway::Config;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let again = Config::from_toml(text);
    match Config::from_toml(text) {
        Ok(config) => {
            assert_eq!(config.to_string(), again.expect("read before").to_string());
        }
        Err(error) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!error.mistakes().is_empty());
            for mistake in error.mistakes() {
                assert!((1..=lines).contains(&mistake.line()), "{mistake:?}");
                assert!(!mistake.message().is_empty(), "{mistake:?}");
            }
            assert!(!error.to_string().is_empty());
            assert_eq!(again.err(), Some(error));
        }
    }
}
