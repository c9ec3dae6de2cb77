//! What the query of a change says.

/// The values of `names`, each of which must stand in the query once, and nothing else.
///
/// # Errors
///
/// What is wrong, for the answer.
pub(super) fn read<const N: usize>(query: &str, names: [&str; N]) -> Result<[String; N], String> {
    read_with(query, names, []).map(|(found, [])| found)
}

/// The same, with the values of `perhaps`, which may be missing.
pub(super) fn read_with<const N: usize, const M: usize>(
    query: &str,
    names: [&str; N],
    perhaps: [&str; M],
) -> Result<([String; N], [Option<String>; M]), String> {
    let (mut found, mut more) = ([const { None }; N], [const { None }; M]);
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = |names: &[&str]| names.iter().position(|name| *name == parameter);
        let place = match (place(&names), place(&perhaps)) {
            (Some(place), _) => &mut found[place],
            (None, Some(place)) => &mut more[place],
            (None, None) => {
                let all = [&names[..], &perhaps[..]].concat();
                return Err(wrong(&parameter, "a parameter", &listed(&all, "or")));
            }
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(wrong("twice", &parameter, "only one"));
        }
    }
    if found.iter().any(Option::is_none) {
        return Err(wrong("too little", "the query", &listed(&names, "and")));
    }
    Ok((found.map(Option::unwrap_or_default), more))
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
