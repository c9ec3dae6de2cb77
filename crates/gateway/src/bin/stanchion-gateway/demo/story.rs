//! What happens in the demo: one origin is killed, and comes back.

use std::time::Duration;

use stanchion_core::Clock;
use stanchion_gateway::Switch;

use super::display;
use super::origin::{BEHAVIOURS, KILLED};

/// Whom it happens to.
pub(super) const ORIGIN: usize = 1;
/// How long all goes well before.
pub(super) const WELL: Duration = Duration::from_secs(5);
/// How long it is gone.
const GONE: Duration = Duration::from_secs(8);
/// How long it is there then, until it is killed again.
const THERE: Duration = Duration::from_secs(30);

/// Kills an origin now and then, unless somebody else has put its switch elsewhere.
pub(super) async fn tell(origin: Switch, clock: Clock) {
    let name = origin.name().to_owned();
    let mut wait = WELL;
    loop {
        clock.sleep(wait).await;
        put(&origin, BEHAVIOURS[0], KILLED, &format!("{name} is killed"));
        clock.sleep(GONE).await;
        put(
            &origin,
            KILLED,
            BEHAVIOURS[0],
            &format!("{name} is started again"),
        );
        wait = THERE;
    }
}

fn put(origin: &Switch, from: &str, to: &str, said: &str) {
    if origin.word() == from && origin.set(to).is_ok() {
        display::note(said);
    }
}
