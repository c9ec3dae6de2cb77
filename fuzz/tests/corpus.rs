//! Runs each target over its corpus, without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stanchion_fuzz::{TARGETS, Target};

#[test]
fn nothing_in_the_corpus_breaks_a_promise() {
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in inputs {
            // A panic is told beneath the name of its input.
            println!("{}", input.display());
            (target.run)(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn nothing_and_the_beginnings_of_the_corpus_break_no_promise() {
    for target in TARGETS {
        for input in inputs(target) {
            println!("{}, cut", input.display());
            let data = fs::read(input).unwrap();
            for end in (0..data.len()).step_by(1 + data.len() / 50) {
                (target.run)(&data[..end]);
            }
        }
    }
}

#[test]
fn each_folder_of_the_corpus_is_a_target() {
    let folders: BTreeSet<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let targets = TARGETS.iter().map(|target| target.name.to_owned());
    assert_eq!(folders, targets.collect());
}

fn inputs(target: &Target) -> BTreeSet<PathBuf> {
    fs::read_dir(corpus().join(target.name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
