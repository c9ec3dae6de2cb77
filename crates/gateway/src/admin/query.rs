//! What the query of a change says.

/// The values of `names`, each of which must stand in the query once, and nothing else.
///
/// # Errors
///
/// What is wrong, for the answer.
pub(super) fn read<const N: usize>(query: &str, names: [&str; N]) -> Result<[String; N], String> {
    let mut found = [const { None }; N];
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(place) = names.iter().position(|name| *name == parameter) else {
            return Err(wrong(&parameter, "a parameter", &listed(&names, "or")));
        };
        if found[place].replace(value.into_owned()).is_some() {
            return Err(wrong("twice", &parameter, "only one"));
        }
    }
    if found.iter().any(Option::is_none) {
        return Err(wrong("too little", "the query", &listed(&names, "and")));
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// Says what is not allowed.
pub(super) fn wrong(given: &str, parameter: &str, allowed: &str) -> String {
    format!("{parameter}: {given:?} given, expected {allowed}")
}

fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
