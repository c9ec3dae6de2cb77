//! Keeps requests in the trace that they belong to, or begins one.
//!
//! The gateway records no spans of its own, so what names the caller's span is passed on as it
//! came: the server's span becomes its child.
//!
//! Source: W3C, Trace Context, level 1, sections 3.2 and 4.

use std::num::NonZeroU128;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::Request;
use crate::fields::{self, Found};
use crate::request_id::{Ids, Texts, write_hex};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// The length of the field in version 00, with which all later ones begin.
const LEN: usize = 55;

/// Names a trace; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(NonZeroU128);

/// Begins traces, each worker its own.
#[derive(Debug)]
pub(crate) struct Traces {
    ids: Ids,
    texts: Texts,
    sampled_from: u64,
}

/// How many bits of an id, its last ones, decide whether the trace is sampled.
const RANDOM_BITS: u32 = 56;

impl Traces {
    /// `ratio` of the traces begun here, from 0 to 1, say that they are sampled.
    pub(crate) fn new(ratio: f64) -> Self {
        let all = 1_u64 << RANDOM_BITS;
        // From all for a ratio of 0 to 0 for one of 1.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is a whole number of at most 57 bits"
        )]
        let sampled_from = ((1.0 - ratio) * all as f64) as u64;
        Self {
            ids: Ids::new(),
            texts: Texts::default(),
            sampled_from,
        }
    }

    /// Leaves a request in its trace. Without one, or with one that is malformed, it is given one,
    /// and a `tracestate` is dropped, which belongs to another.
    pub(crate) fn follow(&self, request: &mut Request) {
        let headers = request.headers_mut();
        // Two names to look for, and mostly neither is there.
        let any = headers
            .keys()
            .any(|name| name.as_str().starts_with("trace"));
        let trace = any.then(|| given(headers)).flatten().or_else(|| {
            let (trace, parent) = self.begin()?;
            headers.insert(PARENT, parent);
            if any {
                headers.remove(STATE);
            }
            Some(trace)
        });
        request.body_mut().origin_mut().trace = trace;
    }

    /// A trace, and the field that says so.
    fn begin(&self) -> Option<(TraceId, HeaderValue)> {
        let (high, low) = self.ids.next_bits();
        let bits = (u128::from(high) << 64) | u128::from(low);
        let trace = NonZeroU128::new(bits).unwrap_or(NonZeroU128::MIN);
        let span = self.ids.next_bits().1.max(1);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..19].copy_from_slice(self.ids.prefix_digits());
        write_hex(low.max(u64::from(bits == 0)), &mut text[19..35]);
        write_hex(span, &mut text[36..52]);
        // The id decides, so that whoever samples by it as well comes to the same.
        if low & ((1 << RANDOM_BITS) - 1) >= self.sampled_from {
            text[54] = b'1';
        }
        // Digits and dashes are a value.
        let parent = self.texts.value(&text)?;
        Some((TraceId(trace), parent))
    }
}

/// The trace that a request says it belongs to.
fn given(headers: &HeaderMap) -> Option<TraceId> {
    match fields::find(headers, &PARENT) {
        Found::One(parent) => parse(parent.as_bytes()),
        Found::None | Found::Several => None,
    }
}

/// Reads a `traceparent`: of version 00 as it is defined, of others what must stand there too.
fn parse(parent: &[u8]) -> Option<TraceId> {
    let (known, more) = parent.split_at_checked(LEN)?;
    let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
    let version = digits(&known[..2])?;
    let ends = match version {
        0x00 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more.starts_with(b"-"),
    };
    let trace = NonZeroU128::new(digits(&known[3..35])?)?;
    let span = digits(&known[36..52])?;
    digits(&known[53..])?;
    (dashes && ends && span != 0).then_some(TraceId(trace))
}

/// The value of hexadecimal digits, at most 32; those above 9 in lower case only.
fn digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

impl TraceId {
    /// As it is shown.
    pub(crate) fn digits(self) -> [u8; 32] {
        let bits = self.0.get();
        let mut digits = [0; 32];
        let (high, low) = digits.split_at_mut(16);
        write_hex(u64::try_from(bits >> 64).unwrap_or_default(), high);
        write_hex(
            u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default(),
            low,
        );
        digits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn shown(trace: TraceId) -> String {
        String::from_utf8(trace.digits().to_vec()).unwrap()
    }

    fn parsed(parent: &str) -> Option<String> {
        parse(parent.as_bytes()).map(shown)
    }

    #[test]
    fn a_traceparent_is_read_strictly() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let zeros = "0".repeat(32);
        for (parent, sound) in [
            (SOUND.to_owned(), true),
            (SOUND.replace("-01", "-ff"), true),
            (SOUND.replace("00-4", "cc-4"), true),
            (
                SOUND.replace("00-4", "cc-4") + "-what-the-future-holds",
                true,
            ),
            (SOUND.replace("00-4", "cc-4") + ".what", false),
            (SOUND.replace("00-4", "cc-4") + "0", false),
            (SOUND.replace("00-4", "ff-4"), false),
            (SOUND.replace("00-4", "0x-4"), false),
            (SOUND.to_owned() + "-", false),
            (SOUND.to_owned() + "-x", false),
            (SOUND.replace(id, &zeros), false),
            (SOUND.replace("00f067aa0ba902b7", "0000000000000000"), false),
            (SOUND.to_uppercase(), false),
            (SOUND.replace('-', "_"), false),
            (SOUND.replace("-01", "-0g"), false),
            (SOUND[..54].to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(parsed(&parent), sound.then(|| id.to_owned()), "{parent}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(PARENT, HeaderValue::from_static(SOUND));
        assert!(given(&headers).is_some());
        headers.append(PARENT, HeaderValue::from_static(SOUND));
        assert!(given(&headers).is_none());
    }

    #[test]
    fn what_is_begun_is_sound_new_and_sampled_by_the_ratio() {
        let mut seen = HashSet::new();
        for (ratio, sampled_wanted) in [(0.0, 0..=0), (0.25, 150..=350), (1.0, 1_000..=1_000)] {
            let traces = Traces::new(ratio);
            let mut sampled = 0;
            for _ in 0..1_000 {
                let (trace, parent) = traces.begin().unwrap();
                assert_eq!(parse(parent.as_bytes()), Some(trace));
                assert!(seen.insert(shown(trace)));
                match &parent.as_bytes()[52..] {
                    b"-00" => {}
                    b"-01" => sampled += 1,
                    flags => panic!("{flags:?}"),
                }
            }
            assert!(sampled_wanted.contains(&sampled), "{sampled} of {ratio}");
        }
    }

    proptest! {
        /// The definition, written as a pattern.
        #[test]
        fn the_first_version_is_its_pattern(
            parent in "(00|0[01])-[0-9a-fA]{31,32}-[0-9a-g]{16}-[0-9a-f]{2}(-|-0)?|.{0,60}",
        ) {
            let parts: Vec<&str> = parent.split('-').collect();
            let hex = |part: &str, len| part.len() == len
                && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let sound = parts.len() >= 4
                && hex(parts[0], 2) && hex(parts[1], 32) && hex(parts[2], 16) && hex(parts[3], 2)
                && parts[0] != "ff"
                && (parts[0] != "00" || parts.len() == 4)
                && parts[1..3].iter().all(|part| part.bytes().any(|byte| byte != b'0'));
            prop_assert_eq!(parsed(&parent).is_some(), sound);
        }
    }
}
