//! What a worker does now and then.

use std::sync::Arc;
use std::time::Duration;

use super::{Current, Worker};

const LOG_FLUSH: Duration = Duration::from_millis(200);
/// Connections are swept every so many flushes.
const SWEEP_EVERY: u32 = 5;

/// Sends off log lines that wait, and closes upstream connections that were kept for too long. It
/// never ends; it is dropped with the worker's runtime.
pub(super) async fn keep<S>(worker: Arc<Worker>, current: Arc<Current<S>>) {
    loop {
        for _ in 0..SWEEP_EVERY {
            worker.clock().sleep(LOG_FLUSH).await;
            if let Some(log) = &worker.log {
                log.flush();
            }
        }
        current.load().sweep(worker.clock().now());
    }
}
