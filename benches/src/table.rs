//! The rows of a comparison, for eyes.

use std::fmt::Write as _;

use crate::report::{Report, Row};

/// Writes the whole report as text.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut rows = report.rows.as_slice();
    while let Some(first) = rows.first() {
        let count = rows.iter().take_while(|row| row.case == first.case).count();
        let (case, rest) = rows.split_at(count);
        render_case(&mut text, case);
        rows = rest;
    }
    let _ = writeln!(text, "\n{}", footer(report));
    text
}

/// One case: a line for each contestant, then the targets.
///
/// The column on the right tells how many times better our first contestant is than that row.
fn render_case(text: &mut String, rows: &[Row]) {
    let name_width = rows
        .iter()
        .map(|row| row.contestant.chars().count())
        .max()
        .unwrap_or(0);
    let subject = rows.iter().find(|row| row.ours);
    let _ = writeln!(text, "\n{} [{}]", rows[0].case, rows[0].unit);
    let _ = writeln!(
        text,
        "  {:name_width$}  {:>10} {:>10} {:>10}",
        "", "median", "low", "high"
    );
    for row in rows {
        let mark = if row.noise.kept { "~" } else { "" };
        let _ = write!(
            text,
            "  {:name_width$}  {:>10} {:>10} {:>10}",
            row.contestant,
            format!("{mark}{}", row.median),
            row.low,
            row.high,
        );
        if let Some(subject) = subject {
            let _ = write!(text, "{}", compared(subject, row));
        }
        let _ = writeln!(text);
    }
    for row in rows {
        if let Some(target) = &row.target {
            let _ = writeln!(text, "  {}: {} {target}", verdict(row.met), row.contestant);
        }
    }
}

fn compared(subject: &Row, row: &Row) -> String {
    let Some(ratio) = subject.versus.get(row.contestant) else {
        return String::new();
    };
    let tie = if subject.ties.contains(&row.contestant) {
        "  (tie)"
    } else {
        ""
    };
    format!("   {:>9}{tie}", format!("{ratio:.2}x"))
}

const fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "not judged",
    }
}

fn footer(report: &Report) -> String {
    let count = |verdict| {
        let with_target = report.rows.iter().filter(|row| row.target.is_some());
        with_target.filter(|row| row.met == verdict).count()
    };
    let repeated: u32 = report.rows.iter().map(|row| row.noise.repeated).sum();
    let noisy: usize = report.rows.iter().map(|row| row.noise.noisy).sum();
    let rounds: usize = report.rows.iter().map(|row| row.noise.rounds).sum();
    format!(
        "Rows with targets: {} met, {} not met, {} not judged.\n\
         On the right: how many times better our first row of the case is. fetch_add: {} ns.\n\
         {}\n\
         Of {rounds} samples, {repeated} bursts were repeated for want of processor time; \
         {noisy} samples had too little of it to the end, and count only in rows marked ~, where \
         they are the most.\n\
         {}\ncommit {}, {}",
        count(Some(true)),
        count(Some(false)),
        count(None),
        report.fetch_add_ns,
        report.protocol,
        report.machine,
        report.commit,
        report.command,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Noise;

    fn row(contestant: &'static str, median: f64) -> Row {
        Row {
            case: "allow",
            contestant,
            unit: "ns/op",
            median,
            low: median,
            high: median,
            versus: [].into(),
            ties: Vec::new(),
            target: None,
            met: None,
            ours: false,
            noise: Noise::default(),
        }
    }

    #[test]
    fn a_case_shows_figures_ratios_and_verdicts() {
        let ours = Row {
            versus: [("governor", 2.5), ("twin", 1.01)].into(),
            ties: vec!["twin"],
            target: Some(">= 3x governor".into()),
            met: Some(false),
            ours: true,
            ..row("stanchion", 10.0)
        };
        let noisy = Row {
            noise: Noise {
                kept: true,
                ..Noise::default()
            },
            ..row("governor", 25.0)
        };
        let mut text = String::new();
        render_case(&mut text, &[ours, noisy, row("twin", 10.1)]);
        assert_eq!(
            text,
            "\nallow [ns/op]\n\
             \x20                median        low       high\n\
             \x20 stanchion          10         10         10\n\
             \x20 governor          ~25         25         25       2.50x\n\
             \x20 twin             10.1       10.1       10.1       1.01x  (tie)\n\
             \x20 NOT MET: stanchion >= 3x governor\n"
        );
    }
}
