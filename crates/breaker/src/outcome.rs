//! What a call that has no body says of the callee.

use stanchion_core::{Classify, End, Outcome, Verdict};

/// The outcome that `classifier` gives; what it defers to the end of a body it is asked at once.
pub(crate) fn outcome_of<T, E>(
    classifier: &impl Classify<T, E>,
    result: Result<&T, &E>,
) -> Outcome {
    match classifier.classify(result) {
        Verdict::Known(outcome) => outcome,
        Verdict::AtEnd => classifier.at_end(End::Complete(&())),
    }
}

/// `Ok` is a success, `Err` a failure.
pub(crate) fn by_result<T, E>(result: Result<&T, &E>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    }
}
