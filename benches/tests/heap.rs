//! Heap figures, in a program whose allocator counts on demand.

use stanchion_benches::{
    Case, Contestant, CountingOnDemand, Options, Suite, Unit, allocations, held,
};

#[global_allocator]
static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();

/// Runs both cases and gives the rows that were written.
fn rows(boxes: u64, bytes: usize) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::default();
    options.quick = true;
    options.out = Some(folder.path().join("heap.json"));
    let allocating = allocations(move || {
        move |iterations| {
            for _ in 0..iterations * boxes {
                drop(std::hint::black_box(Box::new(7_u64)));
            }
        }
    });
    let holding = held(move || (vec![1_u8; 1_000 * bytes], 1_000));
    let _ = Suite::new("heap")
        .with(Case::new("a", Unit::ALLOCATIONS).with(Contestant::ours("ours", allocating)))
        .with(Case::new("b", Unit::BYTES_PER_KEY).with(Contestant::ours("ours", holding)))
        .run(&options);
    let text = std::fs::read(folder.path().join("heap.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    report["rows"].as_array().expect("rows").clone()
}

#[test]
fn allocations_are_counted_for_one_operation_and_bytes_for_one_key() {
    let rows = rows(3, 24);
    assert_eq!(
        (&rows[2]["median"], &rows[2]["unit"]),
        (&3.0.into(), &"allocations/op".into())
    );
    assert_eq!(
        (&rows[3]["median"], &rows[3]["unit"]),
        (&24.0.into(), &"bytes/key".into())
    );
}
