//! What a balance's judges end.

use std::time::Duration;

use stanchion_core::Outcome;
use stanchion_judge::Call;

use crate::Picked;

impl<A> Call for Picked<A> {
    /// An endpoint is busy as long as it sends.
    const LASTS_TO_THE_END: bool = true;

    #[inline]
    fn record(self, outcome: Outcome, retry_after: Option<Duration>) {
        self.record_with_retry_after(outcome, retry_after.unwrap_or_default());
    }
}
