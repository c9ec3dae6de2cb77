//! A process that appends is killed at any moment; what it told before is there.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use stanchion_journal::{Config, Journal, SyncPolicy};

const FOLDER: &str = "STANCHION_JOURNAL_KILLED";
const ROUND: &str = "STANCHION_JOURNAL_ROUND";
const ROUNDS: u64 = 12;
const THREADS: usize = 2;

fn open(folder: &Path, round: u64) -> Journal {
    let every = SyncPolicy::every(4, Duration::MAX).unwrap();
    let policies = [SyncPolicy::ALWAYS, every, SyncPolicy::NEVER];
    let sync = policies[usize::try_from(round % 3).unwrap()];
    let config = Config::new(1 << 26).unwrap().with_sync(sync);
    // Small ones, so that they are begun and deleted all the time.
    Journal::open(folder, config.with_segment_bytes(1 << 12).unwrap()).unwrap()
}

/// The process that is killed; in an ordinary run there is nothing to do for it.
#[test]
fn appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let journal = open(Path::new(&folder), round);
    // The harness has begun a line.
    say("");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || {
                let mut own = Vec::new();
                for at in 0..20_000 {
                    let seq = journal.append(&content(round, thread as u64, at)).unwrap();
                    say(&format!("appended {seq} {round} {thread} {at}"));
                    own.push(seq);
                    if at % 3 == 2 {
                        let seq = own.remove(own.len() / 2);
                        say(&format!("acknowledges {seq}"));
                        journal.ack(seq).unwrap();
                        say(&format!("acknowledged {seq}"));
                    }
                }
            });
        }
    });
}

/// One write, which a pipe takes whole or not at all. Without a reader it ends the process.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn content(round: u64, thread: u64, at: u64) -> Vec<u8> {
    let mut bytes = format!("{round} {thread} {at} ").into_bytes();
    bytes.resize(bytes.len() + usize::try_from(at * 37 % 900).unwrap(), b'.');
    bytes
}

/// What the processes have told.
#[derive(Default)]
struct Told {
    appended: BTreeMap<u64, Vec<u8>>,
    acknowledges: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// How many each thread has appended.
    counts: [u64; THREADS],
}

impl Told {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        match (what, &numbers[..]) {
            ("appended", &[seq, round, thread, at]) => {
                let before = self.appended.insert(seq, content(round, thread, at));
                assert_eq!(before, None, "{line}");
                self.counts[usize::try_from(thread).unwrap()] = at + 1;
            }
            ("acknowledges", &[seq]) => {
                self.acknowledges.insert(seq);
            }
            ("acknowledged", &[seq]) => {
                self.acknowledged.insert(seq);
            }
            // The harness speaks too.
            _ => {}
        }
    }
}

#[test]
fn nothing_is_missing_that_was_told_before_the_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    // Where to kill is as random as the processes are; how many lines are heard is from here.
    let mut lines = 17_u64;
    for round in 0..ROUNDS {
        lines = lines * 29 % 211;
        told.counts = [0; THREADS];
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "appends_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in out.by_ref().take(10 + usize::try_from(lines).unwrap()) {
            told.hear(&line.unwrap());
        }
        child.kill().unwrap();
        for line in out {
            told.hear(&line.unwrap());
        }
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "round {round}: {status}");
        println!(
            "round {round}, killed after {} lines and those behind",
            lines
        );
        check(&mut told, folder.path(), round);
    }
    assert!(told.acknowledged.len() > 100);
}

fn check(told: &mut Told, folder: &Path, round: u64) {
    // The next policy finds what this one left.
    let journal = open(folder, round + 1);
    assert_eq!(journal.recovery().damages_total, 0);
    let mut replayed = BTreeMap::new();
    for record in journal.replay() {
        let record = record.unwrap();
        replayed.insert(record.seq, record.bytes);
    }
    for (seq, bytes) in &told.appended {
        match replayed.get(seq) {
            Some(left) => {
                assert_eq!(left, bytes, "{seq}");
                assert!(!told.acknowledged.contains(seq), "{seq} is replayed");
            }
            None => assert!(told.acknowledges.contains(seq), "{seq} is missing"),
        }
    }
    // Beside what was told there is at most what each thread was about to tell.
    let untold = replayed
        .iter()
        .filter(|(seq, _)| !told.appended.contains_key(seq));
    let untold: BTreeMap<_, _> = untold.map(|(seq, bytes)| (*seq, bytes.clone())).collect();
    let next: Vec<_> = (0..THREADS)
        .map(|thread| content(round, thread as u64, told.counts[thread]))
        .collect();
    assert!(untold.values().all(|bytes| next.contains(bytes)));
    assert!(untold.len() <= next.len());
    told.appended.extend(untold);
    // What was acknowledged but not told so, and all but the last ones by us.
    if let Some(seq) = replayed.keys().rev().nth(30).copied() {
        journal.ack_through(seq).unwrap();
        replayed.retain(|&left, _| left > seq);
    }
    let gone = told
        .appended
        .keys()
        .filter(|seq| !replayed.contains_key(seq));
    told.acknowledged.extend(gone);
    told.acknowledges.extend(&told.acknowledged);
}
