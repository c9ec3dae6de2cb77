//! Looks for fields of a head.
//!
//! The map of fields finds one by hashing its name, byte after byte, each step waiting for the last.
//! What is mostly not there is found missing sooner by a look at the names: two that are in the
//! standards are two numbers, and others mostly differ in length.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Heads with more fields are looked up.
const FEW: usize = 16;

/// What a head says under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}

/// The field of this name.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Found<'a> {
    if all_differ(headers) {
        return headers.get(name).map_or(Found::None, Found::One);
    }
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (None, _) => Found::None,
        (Some(value), None) => Found::One(value),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// Whether no name stands there twice.
pub(crate) fn all_differ(headers: &HeaderMap) -> bool {
    headers.len() == headers.keys_len()
}

/// Whether there are fields of this name; quick where there are none.
pub(crate) fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    if headers.keys_len() <= FEW {
        headers.keys().any(|other| other == name)
    } else {
        headers.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_field_is_found_whatever_stands_beside_it(
            fields in proptest::collection::vec(("host|te|x-[a-c]|x-aa", "[a-z]{1,3}"), 0..20),
            others in 0..20_usize,
            name in "host|te|x-[a-c]|x-aa",
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                let value = HeaderValue::from_str(value).unwrap();
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
            for other in 0..others {
                let other: HeaderName = format!("y-{other}").parse().unwrap();
                headers.append(other, HeaderValue::from_static("z"));
            }
            let named: Vec<_> = fields.iter().filter(|(other, _)| *other == name).collect();
            let name: HeaderName = name.parse().unwrap();
            match (find(&headers, &name), &*named) {
                (Found::None, []) | (Found::Several, [_, _, ..]) => {}
                (Found::One(found), [(_, value)]) => prop_assert_eq!(found, value),
                (found, named) => prop_assert!(false, "{found:?} of {named:?}"),
            }
            prop_assert_eq!(has(&headers, &name), !named.is_empty());
        }
    }
}
