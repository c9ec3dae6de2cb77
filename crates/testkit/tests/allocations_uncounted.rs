//! Without the counting allocator nothing pretends to have counted.

#[test]
#[should_panic(expected = "nothing is counted")]
fn counting_without_the_allocator_panics() {
    testkit::allocations(|| ());
}

#[test]
#[should_panic(expected = "nothing is counted")]
fn live_bytes_without_the_allocator_panic() {
    let _ = testkit::live_bytes();
}
