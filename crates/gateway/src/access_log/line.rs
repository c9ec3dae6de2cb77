use std::io::Write;
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
            put(out, format_args!(",\"trace\":\"{trace}\""));
        }
        put(out, format_args!(",\"client\":\"{}\"", self.entry.client));
        text(out, "method", self.method.as_str().as_bytes());
        text(out, "host", bytes_of(self.entry.host.as_ref()));
        let path = self.entry.path.as_ref();
        text(out, "path", path.map_or("", |path| path.path()).as_bytes());
        text(out, "route", self.route.as_bytes());
        match self.status {
            Some(status) => put(out, format_args!(",\"status\":{}", status.as_u16())),
            None => out.extend_from_slice(b",\"status\":null"),
        }
        put(out, format_args!(",\"bytes\":{}", self.bytes));
        let micros = self.took.as_micros();
        let (millis, rest) = (micros / 1_000, micros % 1_000);
        put(out, format_args!(",\"ms\":{millis}.{rest:03}"));
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

/// A field of text. Bytes that are no ASCII are taken for Latin-1, as fields were of old.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, format_args!(",\"{name}\":\""));
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => put(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.push(b'"');
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, unix: Duration) {
    let seconds = unix.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let millis = unix.subsec_millis();
    put(
        out,
        format_args!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        ),
    );
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
    use super::*;

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
