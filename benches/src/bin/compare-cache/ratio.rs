//! Hit ratios on recorded workloads, beside what could be reached.
//!
//! A request is a read, and an insertion where it missed. Each key weighs 1. Each contestant plays
//! each trace once in a comparison, and every case tells of that; ours plays it three times, for the
//! mean over three keys of its hash, which draw the sample that its policy learns from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use stanchion_benches::{Case, Contestant as Entry, Target, Unit, figure};
use stanchion_cache::{Cache, Policy};

use crate::opt;
use crate::peers::{Contestant, Quick};
use crate::traces::{TRACES, read};

/// One trace at one capacity.
struct Cell {
    name: &'static str,
    keys: Rc<[u64]>,
    capacity: usize,
    /// In per cent, as all ratios here.
    opt: f64,
    /// What each contestant reached.
    played: RefCell<BTreeMap<&'static str, f64>>,
}

impl Cell {
    fn ratio(&self, (name, play): Player) -> f64 {
        if let Some(ratio) = self.played.borrow().get(name) {
            return *ratio;
        }
        let ratio = play(self);
        self.played.borrow_mut().insert(name, ratio);
        ratio
    }
}

type Player = (&'static str, fn(&Cell) -> f64);

const OURS: Player = ("stanchion, adaptive", |cell| {
    (0..3).map(|_| ours(cell, Policy::Adaptive)).sum::<f64>() / 3.0
});
const PEERS: [Player; 2] = [
    ("moka", |cell| {
        play(cell, &moka::sync::Cache::new(cell.capacity as u64))
    }),
    ("quick_cache", |cell| play(cell, &Quick::new(cell.capacity))),
];
const POLICIES: [Player; 6] = [
    ("W-TinyLFU", |cell| ours(cell, Policy::WTinyLfu)),
    ("S3-FIFO", |cell| ours(cell, Policy::S3Fifo)),
    ("SIEVE", |cell| ours(cell, Policy::Sieve)),
    ("LRU", |cell| ours(cell, Policy::Lru)),
    ("LFU", |cell| ours(cell, Policy::Lfu)),
    ("FIFO", |cell| ours(cell, Policy::Fifo)),
];

/// The cases; none but the complaint on standard error where a trace cannot be read.
pub(crate) fn cases(folder: &Path) -> Vec<Case> {
    let mut cells = Vec::new();
    for (name, capacities) in TRACES {
        match read(folder, name) {
            Err(error) => eprintln!("{name} is left out: {error}"),
            Ok(keys) => {
                let keys: Rc<[u64]> = keys.into();
                cells.extend(capacities.map(|capacity| cell(name, &keys, capacity)));
            }
        }
    }
    if cells.is_empty() {
        return Vec::new();
    }
    let cells: Rc<[Cell]> = cells.into();
    let mut cases = vec![
        relative(&cells),
        absolute(&cells),
        lead(&cells),
        worst(&cells),
    ];
    cases.extend((0..cells.len()).map(|at| each(&cells, at)));
    cases
}

fn cell(name: &str, keys: &Rc<[u64]>, capacity: usize) -> Cell {
    let trace = name.split('.').next().unwrap_or(name);
    let hits = opt::hits(keys, capacity);
    Cell {
        // A case's name lives as long as the program.
        name: Box::leak(format!("hit ratio, {trace} {capacity}").into_boxed_str()),
        keys: Rc::clone(keys),
        capacity,
        played: RefCell::default(),
        opt: percent(hits, keys.len()),
    }
}

fn percent(hits: usize, of: usize) -> f64 {
    100.0 * hits as f64 / of as f64
}

fn mean(cells: &[Cell], of: impl Fn(&Cell) -> f64) -> f64 {
    cells.iter().map(of).sum::<f64>() / cells.len() as f64
}

/// Ours, the policies and the peers by `value` of what each reaches.
fn contest(
    name: &'static str,
    unit: Unit,
    target: Option<Target>,
    value: impl Fn(Player) -> f64 + Clone + 'static,
) -> Case {
    let entry = |player: Player| {
        let value = value.clone();
        figure(move || value(player))
    };
    let mut ours = Entry::ours(OURS.0, entry(OURS));
    if let Some(target) = target {
        ours = ours.must(target);
    }
    let mut case = Case::new(name, unit).rounds(1).with(ours);
    for player in PEERS.into_iter().chain(POLICIES) {
        case = case.with(Entry::peer(player.0, entry(player)));
    }
    case
}

fn relative(cells: &Rc<[Cell]>) -> Case {
    let cells = Rc::clone(cells);
    contest(
        "mean of hits by those of OPT",
        Unit::higher("hit/OPT"),
        Some(Target::Reach(0.84)),
        move |player| mean(&cells, |cell| cell.ratio(player) / cell.opt),
    )
}

fn absolute(cells: &Rc<[Cell]>) -> Case {
    let cells = Rc::clone(cells);
    contest("mean hit ratio", Unit::higher("%"), None, move |player| {
        mean(&cells, |cell| cell.ratio(player))
    })
}

fn lead(cells: &Rc<[Cell]>) -> Case {
    let cells = Rc::clone(cells);
    let lead = move || {
        let mean_of = |player| mean(&cells, |cell| cell.ratio(player));
        let best = PEERS.into_iter().map(mean_of);
        mean_of(OURS) - best.fold(0.0, f64::max)
    };
    Case::new(
        "mean hit ratio above that of the best single peer",
        Unit::higher("points"),
    )
    .rounds(1)
    .with(Entry::ours(OURS.0, figure(lead)).must(Target::Reach(3.0)))
}

fn worst(cells: &Rc<[Cell]>) -> Case {
    let cells = Rc::clone(cells);
    let worst = move || {
        let below = |cell: &Cell| {
            let best = PEERS.into_iter().map(|peer| cell.ratio(peer));
            best.fold(0.0, f64::max) - cell.ratio(OURS)
        };
        cells.iter().map(below).fold(f64::NEG_INFINITY, f64::max)
    };
    Case::new(
        "furthest below the best peer of a row",
        Unit::lower("points"),
    )
    .rounds(1)
    .with(Entry::ours(OURS.0, figure(worst)).must(Target::Reach(5.0)))
}

fn each(cells: &Rc<[Cell]>, at: usize) -> Case {
    let name = cells[at].name;
    let opt = cells[at].opt;
    let cells = Rc::clone(cells);
    contest(name, Unit::higher("%"), None, move |player| {
        cells[at].ratio(player)
    })
    .with(Entry::peer("OPT", figure(move || opt)))
}

/// # Panics
/// If more is hit than can be: then the bound was not held.
fn ours(cell: &Cell, policy: Policy) -> f64 {
    let cache = Cache::builder(cell.capacity as u64).with_policy(policy);
    let ratio = play(cell, &cache.build().expect("a policy is all that is set"));
    assert!(ratio <= cell.opt, "{}: {ratio} % of hits", cell.name);
    ratio
}

fn play(cell: &Cell, cache: &impl Contestant) -> f64 {
    let mut hits = 0;
    for key in cell.keys.iter() {
        if cache.get(*key).is_some() {
            hits += 1;
        } else {
            cache.insert(*key, *key);
        }
    }
    percent(hits, cell.keys.len())
}
