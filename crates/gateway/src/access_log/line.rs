use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};

use crate::exchange::{Ending, Note};
use crate::record::Entry;

/// What one line tells. The query is left out: it may hold secrets.
pub(crate) struct Line<'a> {
    /// Since the Unix epoch.
    pub(crate) time: Duration,
    pub(crate) route: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) status: Option<StatusCode>,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) ending: Ending,
    pub(crate) note: &'a Note,
    pub(crate) entry: &'a Entry,
}

impl Line<'_> {
    /// Appends the line, with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_time(out, self.time);
        out.push(b'"');
        text(out, "id", bytes_of(Some(&self.entry.id)));
        if let Some(trace) = self.entry.trace {
            name(out, "trace");
            out.push(b'"');
            out.extend_from_slice(&trace.digits());
            out.push(b'"');
        }
        name(out, "client");
        out.push(b'"');
        write_address(out, self.entry.client);
        out.push(b'"');
        text(out, "method", self.method.as_str().as_bytes());
        text(out, "host", bytes_of(self.entry.host.as_ref()));
        let path = self.entry.path.as_ref();
        text(out, "path", path.map_or("", |path| path.path()).as_bytes());
        text(out, "route", self.route.as_bytes());
        name(out, "status");
        match self.status {
            Some(status) => number(out, status.as_u16().into(), 1),
            None => out.extend_from_slice(b"null"),
        }
        name(out, "bytes");
        number(out, self.bytes, 1);
        let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        name(out, "ms");
        number(out, micros / 1_000, 1);
        out.push(b'.');
        number(out, micros % 1_000, 3);
        if let Some(endpoint) = &self.note.endpoint {
            text(out, "endpoint", endpoint.as_bytes());
        }
        if let Some(limit) = &self.note.limit {
            text(out, "refused_by", limit.as_bytes());
        }
        if let Some(cause) = self.note.cause {
            text(out, "problem", cause.as_bytes());
        }
        match self.ending {
            Ending::Complete => {}
            Ending::CutByUpstream => text(out, "cut_by", b"upstream"),
            Ending::CutByClient => text(out, "cut_by", b"client"),
        }
        out.extend_from_slice(b"}\n");
    }
}

fn bytes_of(value: Option<&HeaderValue>) -> &[u8] {
    value.map_or(b"", HeaderValue::as_bytes)
}

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(arguments);
}

/// The name of a field that is not the first.
fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A field of text. Bytes that are no ASCII are taken for Latin-1, as fields were of old.
fn text(out: &mut Vec<u8>, field: &str, value: &[u8]) {
    name(out, field);
    out.push(b'"');
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let mut rest = value;
    // Mostly all of it is.
    while let Some(place) = rest.iter().position(|byte| !is_plain(byte)) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// A number of at least so many digits; the formatting of the standard library takes several times as
/// long, and a line has a dozen of them.
fn number(out: &mut Vec<u8>, mut value: u64, digits_min: usize) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut first = DIGITS_MAX;
    while value > 0 || DIGITS_MAX - first < digits_min {
        first -= 1;
        digits[first] += u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, byte) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                number(out, byte.into(), 1);
            }
        }
        IpAddr::V6(address) => put(out, format_args!("{address}")),
    }
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, unix: Duration) {
    let seconds = unix.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    for (value, digits, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (hour, 2, b':'),
        (minute, 2, b':'),
        (second, 2, b'.'),
        (unix.subsec_millis().into(), 3, b'Z'),
    ] {
        number(out, value, digits);
        out.push(end);
    }
}

/// Year, month and day of a number of days after 1970-01-01. Years are counted from March, so that
/// the leap day is their last.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_are_written_as_the_standard_library_does(
            value in prop_oneof![0_u64..2_000, 0_u64..],
            address: IpAddr,
        ) {
            prop_assert_eq!(written(|out| number(out, value, 1)), value.to_string());
            prop_assert_eq!(written(|out| number(out, value, 3)), format!("{value:03}"));
            prop_assert_eq!(written(|out| write_address(out, address)), address.to_string());
        }

        #[test]
        fn text_reads_as_it_was(value in proptest::collection::vec(0_u8.., 0..40)) {
            let json = written(|out| text(out, "a", &value));
            let json: serde_json::Value = serde_json::from_str(&format!("{{\"b\":1{json}}}")).unwrap();
            let latin: String = value.iter().map(|byte| char::from(*byte)).collect();
            prop_assert_eq!(json["a"].as_str(), Some(&*latin));
        }
    }

    fn time(seconds: u64) -> String {
        let mut out = Vec::new();
        write_time(&mut out, Duration::from_secs(seconds));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_civil() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn a_line_is_json_whatever_the_client_sent() {
        let entry = Entry {
            id: HeaderValue::from_static("abc"),
            trace: None,
            client: "192.0.2.1".parse().unwrap(),
            host: Some(HeaderValue::from_bytes(b"a\"\xff\t").unwrap()),
            path: Some("/a\"b?secret=1".parse().unwrap()),
        };
        let line = Line {
            time: Duration::ZERO,
            route: "api",
            method: &Method::GET,
            status: Some(StatusCode::OK),
            bytes: 12,
            took: Duration::from_micros(1_050),
            ending: Ending::CutByClient,
            note: &Note::default(),
            entry: &entry,
        };
        let mut out = Vec::new();
        line.write_to(&mut out);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["host"], "a\"\u{ff}\t");
        assert_eq!(json["path"], "/a\"b");
        assert_eq!(json["ms"], 1.05);
        assert_eq!(json["cut_by"], "client");
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
