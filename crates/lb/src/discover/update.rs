use crate::{Endpoint, EndpointId};

/// What a [`Discover`](super::Discover) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update<A> {
    /// These are all endpoints.
    Full(Vec<Endpoint<A>>),
    /// Some are gone, and some are new or have other attributes; all else is as before.
    Delta {
        /// Those that are gone, as of before the others came. Ids that nobody knows are no mistake.
        removed: Vec<EndpointId>,
        /// Those that came or changed, the last of each id.
        upserted: Vec<Endpoint<A>>,
    },
}

impl<A> Update<A> {
    /// The same endpoints at other addresses: with the client of each, say.
    #[must_use]
    pub fn map<B>(self, mut address: impl FnMut(A) -> B) -> Update<B> {
        let mut map = |endpoints: Vec<Endpoint<A>>| -> Vec<Endpoint<B>> {
            let map = |endpoint: Endpoint<A>| endpoint.map(&mut address);
            endpoints.into_iter().map(map).collect()
        };
        match self {
            Self::Full(endpoints) => Update::Full(map(endpoints)),
            Self::Delta { removed, upserted } => Update::Delta {
                removed,
                upserted: map(upserted),
            },
        }
    }
}
