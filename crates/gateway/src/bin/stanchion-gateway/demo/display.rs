//! What the demo shows.

use std::io::{self, Write};
use std::time::Duration;

use stanchion_gateway::{Event, Report};

use super::tally::Counts;
use super::traffic::CLIENTS;

const HEADER_EVERY: u64 = 20;
const BAR_WIDTH: u8 = 10;

/// Prints what happened in one second, which is the `second`th.
pub(super) fn second(second: u64, counts: &Counts) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if (second - 1).is_multiple_of(HEADER_EVERY) {
        writeln!(out, "{}", header())?;
    }
    writeln!(out, "{}", line(second, counts))
}

/// Prints what the gateway says of an origin.
pub(super) fn event(event: &Event) {
    if let Event::Balance { .. } = event {
        note(&event.to_string());
    }
}

/// Prints a line between the seconds. Whoever reads the output may have seen enough; the next second
/// finds out.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stdout().lock(), "      {text}");
}

fn header() -> String {
    let clients = CLIENTS.map(|client| format!("{:<21}", client.name));
    format!(
        "      origin 1   2   3   {}  █ served ░ refused",
        clients.join(" ").trim_end()
    )
}

fn line(second: u64, counts: &Counts) -> String {
    let [one, two, three] = counts.served;
    let clients = CLIENTS.map(|client| {
        let (ok, refused) = (counts.admitted[client.index], counts.refused[client.index]);
        let figures = format!("{ok} ░ {refused}");
        format!("{} {figures:<10}", bar(ok, refused))
    });
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!("  {failed} FAILED"),
    };
    let clients = clients.join(" ");
    format!(
        "{second:>4}s {one:>9} {two:>3} {three:>3}   {}{failed}",
        clients.trim_end()
    )
}

/// The two kinds in proportion; what is longer than the width is scaled to it.
fn bar(ok: u64, refused: u64) -> String {
    let (all, width) = (ok + refused, u64::from(BAR_WIDTH));
    let scale = |part: u64| {
        if all <= width {
            part
        } else {
            (part * width + all / 2) / all
        }
    };
    let drawn = (0..scale(ok))
        .map(|_| '█')
        .chain((0..scale(refused)).map(|_| '░'));
    let blank = std::iter::repeat(' ');
    drawn.chain(blank).take(usize::from(BAR_WIDTH)).collect()
}

/// Prints what it came to.
pub(super) fn summary(total: &Counts, ran_for: Duration, report: Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let [one, two, three] = total.served;
    writeln!(
        out,
        "\nIn {:.1} s: {} served (origins {one}, {two}, {three}), {} refused by limits, {} failed.",
        ran_for.as_secs_f64(),
        total.served(),
        total.refused(),
        total.failed,
    )?;
    for client in CLIENTS {
        let (ok, refused) = (total.admitted[client.index], total.refused[client.index]);
        writeln!(
            out,
            "  {:<6} {ok:>6} served {refused:>6} refused",
            client.name
        )?;
    }
    if report.connections_cut > 0 {
        writeln!(
            out,
            "{} connections were cut at the end.",
            report.connections_cut
        )?;
    }
    Ok(())
}
