//! Licence expressions: `MIT OR Apache-2.0 WITH LLVM-exception`, and the older `MIT/Apache-2.0`.
//!
//! ```text
//! any  = all { ("OR" | "/") all }
//! all  = one { "AND" one }
//! one  = "(" any ")" | NAME [ "WITH" NAME ]
//! ```
//!
//! Source: SPDX specification 2.3, annex D. `NAME+` is kept as a name of its own.

/// Whether an expression is met by the licences that `allowed` says yes to. A licence with an
/// exception is asked for as `NAME WITH EXCEPTION`.
///
/// # Errors
///
/// If `expression` is none; the message has what was found and what was expected.
pub(super) fn is_met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut parser = Parser {
        tokens: tokens(expression),
        next: 0,
        allowed,
    };
    let met = parser.any()?;
    match parser.peek() {
        None => Ok(met),
        Some(token) => Err(format!("{token:?} after the end of {expression:?}")),
    }
}

fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in expression.split_whitespace() {
        // Parentheses and slashes need no space around them.
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')', '/']) {
            let (name, from) = rest.split_at(at);
            let (mark, after) = from.split_at(1);
            tokens.extend([name, mark].into_iter().filter(|token| !token.is_empty()));
            rest = after;
        }
        tokens.extend(Some(rest).filter(|token| !token.is_empty()));
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    next: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<bool, String> {
        let mut met = self.all()?;
        while self.take("OR") || self.take("/") {
            met |= self.all()?;
        }
        Ok(met)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.take("(") {
            let met = self.any()?;
            if !self.take(")") {
                return Err(format!("{} where `)` should be", self.found()));
            }
            return Ok(met);
        }
        let name = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Ok((self.allowed)(&format!("{name} WITH {exception}")));
        }
        Ok((self.allowed)(name))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        match self.peek() {
            Some(token) if !matches!(token, "OR" | "AND" | "WITH" | "/" | "(" | ")") => {
                self.next += 1;
                Ok(token)
            }
            _ => Err(format!("{} where a name should be", self.found())),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.peek() == Some(token);
        self.next += usize::from(there);
        there
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).copied()
    }

    fn found(&self) -> String {
        self.peek()
            .map_or("the end".to_owned(), |token| format!("{token:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> Result<bool, String> {
        is_met(expression, &|name| {
            ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name)
        })
    }

    #[test]
    fn or_and_with_and_parentheses_mean_what_the_standard_says() {
        let cases = [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only OR MPL-2.0", false),
            ("MIT AND ISC", true),
            ("MIT AND GPL-3.0-only", false),
            // AND binds closer than OR.
            ("MIT OR ISC AND GPL-3.0-only", true),
            ("(MIT OR ISC) AND GPL-3.0-only", false),
            ("GPL-3.0-only AND MIT OR ISC", true),
            ("((GPL-3.0-only) OR (MIT AND (ISC)))", true),
            // An exception makes another licence of it.
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT WITH LLVM-exception", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("MIT+", false),
        ];
        for (expression, wanted) in cases {
            assert_eq!(met(expression), Ok(wanted), "{expression}");
        }
    }

    #[test]
    fn a_slash_is_the_older_or() {
        assert_eq!(met("MIT/Apache-2.0"), Ok(true));
        assert_eq!(met("Apache-2.0 / MIT"), Ok(true));
        assert_eq!(met("Apache-2.0/GPL-2.0"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_refused_and_never_met() {
        let cases = [
            ("", "the end where a name should be"),
            ("MIT OR", "the end where a name should be"),
            ("OR MIT", r#""OR" where a name should be"#),
            ("(MIT", "the end where `)` should be"),
            ("MIT ISC", r#""ISC" after the end of "MIT ISC""#),
            ("MIT)", r#"")" after the end of "MIT)""#),
            ("MIT WITH", "the end where a name should be"),
        ];
        for (expression, wanted) in cases {
            assert_eq!(met(expression), Err(wanted.to_owned()), "{expression}");
        }
    }
}
