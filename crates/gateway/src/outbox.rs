//! The small writes of one turn leave together.
//!
//! A turn is what tasks do that are ready at the same time. If each writes when it comes to it, whoever
//! is written to on the same machine is woken by the first write, has done with it before the second
//! comes, sleeps, and is woken anew; and to wake a sleeping processor is the dearest thing that a write
//! can do. Written one after the other, they find it awake.

mod socket;

use std::mem;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use socket::Out;
pub(crate) use socket::Socket;

/// What the sockets of one thread have to write; clones share.
///
/// It holds at most one entry for each socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<Due>>);

#[derive(Debug, Default)]
struct Due {
    outs: Vec<Arc<Out>>,
    /// The task that empties it.
    task: Option<Waker>,
}

impl Outbox {
    /// Has what was put in leave, when those tasks have had their turn that were ready by then. Never
    /// ends.
    pub(crate) async fn serve(self) {
        let mut leaving = Vec::new();
        std::future::poll_fn(|cx| {
            {
                let due = &mut *self.0.lock();
                let task = due.task.as_ref();
                if !task.is_some_and(|task| task.will_wake(cx.waker())) {
                    due.task = Some(cx.waker().clone());
                }
                mem::swap(&mut due.outs, &mut leaving);
            }
            for out in leaving.drain(..) {
                out.leave();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    fn put(&self, out: &Arc<Out>) {
        let due = &mut *self.0.lock();
        due.outs.push(out.clone());
        if let (1, Some(task)) = (due.outs.len(), &due.task) {
            // It is the last of those that are ready now.
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
