use stanchion_core::Instant;

/// What a full table does with a new key.
///
/// Full means that all places where the key may stand, 8 or 16 of them, and those to which their
/// keys could move, hold keys that have used something. Built for `max_keys`, a table is not before
/// about that many are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// All such keys share one more state, under the same policy. Keys that have a place are not
    /// touched. Who invents keys gets one more quota for all of them together, and newcomers have
    /// to share it with him.
    #[default]
    Share,
    /// The key is refused, with [`Reason::NoRoom`](crate::Reason::NoRoom), until the first of its
    /// places is free. Nobody gets more than his quota; but who invents keys locks newcomers out.
    Deny,
    /// The key takes the place of the one that would be idle the soonest, of those where it may
    /// stand. Newcomers always come in; but a key that loses its place starts anew, and who
    /// invents keys can so drive out those that have used little.
    Evict,
}

/// How a key came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has one, or found one that nobody used, or needs none.
    Own,
    /// It took the place of another key.
    Evicted,
    /// There was none: it shares the overflow state.
    Shared,
    /// There was none, and it was refused for that.
    Denied,
}

/// Where a new key can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// In the place of another key.
    Evicted,
    /// Nowhere; the soonest will be free at this moment.
    None(Instant),
}
