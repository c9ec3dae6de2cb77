//! Updates, gathered and applied.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use stanchion_core::{Clock, ManualClock};
use stanchion_lb::discover::{Discovery, Event, Fixed, Update};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Endpoint, PickContext, Updated};
use testkit::drop_at_every_await_in;

type Told = Result<Update<u32>, std::io::Error>;
type Heard = Arc<Mutex<Vec<String>>>;

const MS: Duration = Duration::from_millis(1);

struct World {
    balancer: Balancer<u32>,
    time: ManualClock,
    tell: UnboundedSender<Told>,
    heard: Heard,
}

fn world() -> (World, UnboundedReceiver<Told>) {
    let (clock, time) = Clock::manual();
    let (tell, told) = unbounded();
    let world = World {
        balancer: Balancer::new(RoundRobin::new()).with_clock(clock),
        time,
        tell,
        heard: Heard::default(),
    };
    (world, told)
}

impl World {
    fn observer(&self) -> impl Fn(&Event) + use<> {
        let heard = self.heard.clone();
        move |event: &Event| {
            let text = match event {
                Event::Updated(updated) => {
                    let Updated {
                        added,
                        kept,
                        removed,
                        ..
                    } = updated;
                    format!("+{added} ={kept} -{removed}")
                }
                Event::Failed(error) => format!("failed: {error}"),
                Event::Invalid(error) => format!("invalid: {error}"),
                Event::Unconfirmed(times) => format!("unconfirmed {times}"),
                other => format!("{other:?}"),
            };
            heard.lock().unwrap().push(text);
        }
    }

    fn full(&self, ids: &[&str]) {
        self.update(Update::Full(
            ids.iter().map(|&id| Endpoint::new(id, 1)).collect(),
        ));
    }

    fn delta(&self, removed: &[&str], upserted: &[&str]) {
        self.update(Update::Delta {
            removed: removed.iter().map(|&id| id.into()).collect(),
            upserted: upserted.iter().map(|&id| Endpoint::new(id, 1)).collect(),
        });
    }

    fn update(&self, update: Update<u32>) {
        self.tell.unbounded_send(Ok(update)).unwrap();
    }

    fn ids(&self) -> Vec<String> {
        let endpoints = self.balancer.snapshot().endpoints;
        endpoints.iter().map(|each| each.id.to_string()).collect()
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_first_update_is_applied_at_once_and_later_ones_together() {
    let (world, told) = world();
    let mut run = pin!(
        Discovery::new(&world.balancer, told)
            .observe(world.observer())
            .run()
    );
    assert!(poll(run.as_mut()).is_pending());
    world.full(&["a", "b"]);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["a", "b"]);

    world.full(&["a", "c"]);
    assert!(poll(run.as_mut()).is_pending());
    world.time.advance(49 * MS);
    world.delta(&["a"], &["d"]);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["a", "b"], "gathered");
    world.time.advance(MS);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["c", "d"]);
    assert_eq!(world.heard(), ["+2 =0 -0", "+2 =0 -2"]);

    // The time begins with the next batch.
    world.full(&["e"]);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["c", "d"]);
    world.time.advance(50 * MS);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["e"]);
}

#[test]
fn what_is_removed_and_told_again_in_one_batch_was_never_gone() {
    let (world, told) = world();
    let mut run = pin!(Discovery::new(&world.balancer, told).run());
    world.full(&["a", "b"]);
    assert!(poll(run.as_mut()).is_pending());
    let call = world
        .balancer
        .pick(&PickContext::new().with_affinity("a"))
        .unwrap();
    world.delta(&["a"], &[]);
    assert!(poll(run.as_mut()).is_pending());
    world.delta(&[], &["a"]);
    world.time.advance(50 * MS);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["b", "a"]);
    assert_eq!(world.balancer.snapshot().endpoints[1].in_flight, 1);
    drop(call);

    // As another server of the same name it is new.
    let _call = world
        .balancer
        .pick(&PickContext::new().with_affinity("a"))
        .unwrap();
    world.update(Update::Full(vec![
        Endpoint::new("a", 1).with_incarnation(2),
    ]));
    assert!(poll(run.as_mut()).is_pending());
    world.time.advance(50 * MS);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.balancer.snapshot().endpoints[0].in_flight, 0);
}

#[test]
fn errors_and_nonsense_keep_what_is_there() {
    let (world, told) = world();
    let discovery = Discovery::new(&world.balancer, told).observe(world.observer());
    let mut run = pin!(discovery.with_debounce(Duration::ZERO).run());
    world.full(&["a"]);
    world
        .tell
        .unbounded_send(Err(std::io::Error::other("no answer")))
        .unwrap();
    assert!(poll(run.as_mut()).is_pending());
    world.full(&["b", "b"]);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["a"]);
    world.full(&["c"]);
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(world.ids(), ["c"]);
    let heard = world.heard();
    assert_eq!(
        heard,
        [
            "failed: no answer",
            "+1 =0 -0",
            "invalid: two endpoints have the id \"b\"",
            "+1 =0 -1"
        ]
    );
}

#[test]
fn no_endpoints_are_an_answer_like_any_other_or_have_to_be_confirmed() {
    for (confirmations, told_times) in [(1, 1), (3, 3)] {
        let (world, told) = world();
        let discovery = Discovery::new(&world.balancer, told)
            .with_debounce(Duration::ZERO)
            .with_empty_confirmations(NonZeroU32::new(confirmations).unwrap())
            .observe(world.observer());
        let mut run = pin!(discovery.run());
        world.full(&["a"]);
        assert!(poll(run.as_mut()).is_pending());
        for _ in 0..told_times {
            assert_eq!(world.ids(), ["a"]);
            world.full(&[]);
            assert!(poll(run.as_mut()).is_pending());
        }
        assert_eq!(world.ids(), [""; 0]);
        let unconfirmed = world
            .heard()
            .iter()
            .filter(|heard| heard.starts_with("unc"))
            .count();
        assert_eq!(unconfirmed, told_times - 1);
    }
}

#[test]
fn it_ends_with_the_stream_and_applies_what_it_has() {
    let (world, told) = world();
    let mut run = pin!(Discovery::new(&world.balancer, told).run());
    world.full(&["a"]);
    assert!(poll(run.as_mut()).is_pending());
    world.full(&["b"]);
    world.tell.close_channel();
    assert!(poll(run.as_mut()).is_ready());
    assert_eq!(world.ids(), ["b"]);
}

#[test]
fn it_ends_with_the_balancer() {
    let (world, told) = world();
    let mut run = pin!(Discovery::new(&world.balancer, told).run());
    world.full(&["a"]);
    assert!(poll(run.as_mut()).is_pending());
    world.full(&["b"]);
    drop(world.balancer);
    assert!(poll(run.as_mut()).is_ready());
}

#[tokio::test]
async fn one_may_wait_for_the_first_endpoints() {
    let balancer = Balancer::new(RoundRobin::new());
    let found = Fixed::new([Endpoint::new("a", 1), Endpoint::new("b", 2)]);
    let mut discovery = Discovery::new(&balancer, found);
    assert_eq!(discovery.next().await.unwrap().added, 2);
    assert_eq!(discovery.next().await, None);
}

#[test]
fn a_stream_that_never_waits_lets_others_run() {
    let (world, _) = world();
    let endless = futures::stream::repeat_with(|| Told::Err(std::io::Error::other("again")));
    let mut run = pin!(Discovery::new(&world.balancer, endless).run());
    for _ in 0..3 {
        assert!(poll(run.as_mut()).is_pending());
    }
}

#[test]
fn dropped_anywhere_it_loses_nothing_that_was_told() {
    let drops = drop_at_every_await_in(|| {
        let (world, told) = world();
        world.full(&["a"]);
        let mut discovery = Discovery::new(&world.balancer, told);
        let run = async move {
            discovery.next().await;
            discovery.next().await
        };
        (world, run)
    })
    .nudge(|world| {
        if world.time.now() == stanchion_core::Instant::ZERO {
            world.full(&["a", "b"]);
        }
        world.time.advance(30 * MS);
    })
    .check(|world| {
        let ids = world.ids();
        assert!(
            ids.is_empty() || ids == ["a"] || ids == ["a", "b"],
            "{ids:?}"
        );
    });
    assert!(drops >= 3, "{drops}");
}

/// A call of `next` that is given up is taken up by the next one.
#[test]
fn next_is_cancel_safe() {
    let (world, told) = world();
    let mut discovery = Discovery::new(&world.balancer, told);
    world.full(&["a"]);
    assert!(poll(pin!(discovery.next())).is_ready());
    world.full(&["b"]);
    assert!(poll(pin!(discovery.next())).is_pending());
    world.time.advance(50 * MS);
    assert!(poll(pin!(discovery.next())).is_ready());
    assert_eq!(world.ids(), ["b"]);
}
