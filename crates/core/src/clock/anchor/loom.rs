//! Every interleaving of readers with threads that draw a new line.

use ::loom::sync::Arc;
use ::loom::thread;

use super::*;

/// The counter stands still, so that each line reads as one number.
const TICK: u64 = 1_000;

/// The lines in their order; a mixture of two reads as none of them.
const LINES: [Line; 3] = [line(0, 10), line(5, 100), line(70, 10_000)];

const fn line(start_tick: u64, start_ns: u64) -> Line {
    Line {
        offset: start_ns.wrapping_sub(start_tick),
        slope: 1 << FRACTION_BITS,
        due_tick: start_tick,
        straight: 1 << FRACTION_BITS,
    }
}

/// Which line this reads as.
fn place_of(read: (u64, Line)) -> usize {
    let reads_as = |line: &Line| (line.at(TICK), *line) == read;
    LINES
        .iter()
        .position(reads_as)
        .unwrap_or_else(|| panic!("{read:?} is a mixture of two lines"))
}

fn read(published: &Published) -> usize {
    place_of(published.read(|| TICK))
}

/// Draws the line after the one in force.
fn redraw(published: &Published) -> bool {
    let mut drawn = false;
    published.redraw(|old| {
        let place = LINES.iter().position(|line| line == old);
        drawn = true;
        LINES[place.expect("what is redrawn is a whole line") + 1]
    });
    drawn
}

/// Reads twice on a thread of its own. Loom lets that thread run late, and see anything that was
/// ever written unless the orderings forbid it; it looks less hard at who reads first.
fn reader(published: &Arc<Published>) -> thread::JoinHandle<()> {
    let published = published.clone();
    thread::spawn(move || {
        let (first, second) = (read(&published), read(&published));
        assert!(first <= second, "line {first}, then line {second}");
    })
}

/// The third line is written over the first, which a reader may just be reading.
#[test]
fn a_reader_sees_whole_lines_in_their_order() {
    ::loom::model(|| {
        let published = Arc::new(Published::new(&LINES[0]));
        let reader = reader(&published);
        assert!(redraw(&published));
        assert!(redraw(&published));
        reader.join().unwrap();
        assert_eq!(read(&published), 2);
    });
}

#[test]
fn of_two_that_redraw_at_once_each_draws_the_next_line_or_none() {
    ::loom::model(|| {
        let published = Arc::new(Published::new(&LINES[0]));
        let other = thread::spawn({
            let published = published.clone();
            move || usize::from(redraw(&published))
        });
        let here = usize::from(redraw(&published));
        let drawn = here + other.join().unwrap();
        assert!(drawn >= 1, "somebody draws");
        assert_eq!(read(&published), drawn);
    });
}

/// What the second redrawer writes comes after what the first one did, also to a reader.
#[test]
fn a_reader_sees_whole_lines_of_two_redrawers() {
    ::loom::model(|| {
        let published = Arc::new(Published::new(&LINES[0]));
        let reader = reader(&published);
        let other = thread::spawn({
            let published = published.clone();
            move || usize::from(redraw(&published))
        });
        let drawn = usize::from(redraw(&published)) + other.join().unwrap();
        reader.join().unwrap();
        assert_eq!(read(&published), drawn);
    });
}

/// A line that leans starts where the one before stands by then, so time goes on over a redraw.
#[test]
fn time_does_not_go_back_over_two_redraws() {
    ::loom::model(|| {
        let published = Arc::new(Published::new(&line(0, 10)));
        let ticks = Arc::new(AtomicU64::new(TICK));
        let reader = thread::spawn({
            let (published, ticks) = (published.clone(), ticks.clone());
            move || {
                let read = || published.read(|| ticks.load(Ordering::Relaxed)).0;
                let (first, second) = (read(), read());
                assert!(first <= second, "{first} ns, then {second} ns");
            }
        });
        for slope in [2 << FRACTION_BITS, 1 << (FRACTION_BITS - 1)] {
            published.redraw(|old| {
                let start_tick = ticks.fetch_add(100, Ordering::Relaxed) + 100;
                let start_ns = old.at(start_tick) + 2;
                Line::new(start_tick, start_ns, slope, 0, slope)
            });
        }
        reader.join().unwrap();
    });
}
