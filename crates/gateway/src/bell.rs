//! Tells a task which of the things that it waits for has woken it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// The waker of one thing among others that a task waits for.
///
/// A task that is woken asks everything it waits for, mostly in vain, and the runtime's answer costs
/// more than what the task does with it. What was handed a bell need not be asked before it has rung.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Rung,
    /// For the task that polled last.
    rope: Option<(Arc<Rope>, Waker)>,
}

/// Whether a bell has rung, or was not listened to yet; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Rung(Arc<AtomicBool>);

/// What rings a bell.
#[derive(Debug)]
struct Rope {
    rung: Rung,
    task: Waker,
}

impl Bell {
    /// Polls what rings this bell, unless it is known to have nothing to tell to this task.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let heard = self.rung.take();
        let waker = match &mut self.rope {
            Some((rope, waker)) if rope.task.will_wake(cx.waker()) => {
                if !heard {
                    return Poll::Pending;
                }
                waker
            }
            other => {
                let rope = Arc::new(Rope {
                    rung: self.rung.clone(),
                    task: cx.waker().clone(),
                });
                let waker = rope.clone().into();
                &mut other.insert((rope, waker)).1
            }
        };
        let polled = poll(&mut Context::from_waker(waker));
        if polled.is_ready() {
            // There may be more.
            self.rung.set();
        }
        polled
    }

    /// Whether what was polled last for this task was pending and has not rung since.
    pub(crate) fn is_silent(&self, cx: &Context<'_>) -> bool {
        let for_task = |(rope, _): &(Arc<Rope>, Waker)| rope.task.will_wake(cx.waker());
        !self.rung.get() && self.rope.as_ref().is_some_and(for_task)
    }
}

impl Rung {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has rung since this was asked last.
    fn take(&self) -> bool {
        // What rings from here on is heard the next time. Acquire pairs with the release of a ring:
        // who hears it sees what it was for.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

impl Default for Rung {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.set();
        self.task.wake_by_ref();
    }
}

/// Something that is read only if it may have something to read, by one task at a time.
#[derive(Debug)]
pub(crate) struct OnBell<S> {
    stream: S,
    bell: Bell,
}

impl<S> OnBell<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            bell: Bell::default(),
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn rung(&self) -> &Rung {
        &self.bell.rung
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OnBell<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, bell } = &mut *self;
        bell.poll(cx, |cx| Pin::new(stream).poll_read(cx, buf))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts how often its task was woken.
    #[derive(Debug, Default)]
    struct Task(std::sync::atomic::AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a socket does: it has something or keeps the waker.
    #[derive(Debug, Default)]
    struct Thing {
        waiting: usize,
        waker: Option<Waker>,
        asked: usize,
    }

    impl Thing {
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.asked += 1;
            if self.waiting > 0 {
                self.waiting -= 1;
                return Poll::Ready(());
            }
            self.waker = Some(cx.waker().clone());
            Poll::Pending
        }

        fn comes(&mut self) {
            self.waiting += 1;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    #[test]
    fn what_is_pending_is_asked_once_and_then_not_before_it_rings() {
        let (mut bell, mut thing) = (Bell::default(), Thing::default());
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..5 {
            assert!(bell.poll(&mut cx, |cx| thing.poll(cx)).is_pending());
            assert!(bell.is_silent(&cx));
        }
        assert_eq!(thing.asked, 1);
        thing.comes();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert!(!bell.is_silent(&cx));
        assert!(bell.poll(&mut cx, |cx| thing.poll(cx)).is_ready());
        assert!(!bell.is_silent(&cx), "there may be more");
        assert!(bell.poll(&mut cx, |cx| thing.poll(cx)).is_pending());
        assert_eq!(thing.asked, 3);
    }

    proptest! {
        /// Whichever task asks, it is told what has come, and the last that asked in vain is woken.
        #[test]
        fn nothing_that_comes_is_missed(steps in proptest::collection::vec(0..4_u8, 0..40)) {
            let (mut bell, mut thing) = (Bell::default(), Thing::default());
            let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
            let wakers = tasks.each_ref().map(|task| Waker::from(task.clone()));
            let (mut waiting, mut woken, mut last) = (0_usize, [0, 0], None);
            for step in steps {
                match step {
                    0 | 1 => {
                        let index = usize::from(step);
                        let mut cx = Context::from_waker(&wakers[index]);
                        let polled = bell.poll(&mut cx, |cx| thing.poll(cx));
                        prop_assert_eq!(polled.is_ready(), waiting > 0);
                        match polled {
                            Poll::Ready(()) => waiting -= 1,
                            Poll::Pending => last = Some(index),
                        }
                    }
                    _ => {
                        waiting += 1;
                        thing.comes();
                        if let Some(last) = last.take() {
                            woken[last] += 1;
                        }
                    }
                }
                let counted = tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed));
                prop_assert_eq!(counted, woken);
            }
        }
    }
}
