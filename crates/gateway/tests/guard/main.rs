//! The guard against hyper: what it lets through, hyper accepts and divides in the same way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../src"]
mod source {
    pub(crate) mod guard;
}
mod against_hyper;
mod bytes;

use proptest::prelude::*;

proptest! {
    #[test]
    fn what_passes_is_what_hyper_sees(bytes in bytes::requests()) {
        against_hyper::check(&bytes);
    }

    #[test]
    fn no_cut_changes_the_verdict(
        bytes in bytes::requests(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1));
        against_hyper::check_cuts(&bytes, cuts.collect());
    }
}
