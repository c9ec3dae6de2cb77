use std::fmt;
use std::sync::Arc;

use super::Closure;

/// Where the service of an endpoint comes from: [`FromBackend`], [`Connecting`], or with feature
/// `discover` what tower discovered. Sealed.
pub trait Connect<A>: private::Sealed {
    /// The service of an endpoint.
    type Service;

    /// A service of the call's own that reaches `address`.
    fn connect(&self, address: &A) -> Self::Service;
}

pub(crate) mod private {
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Sealed {}
    impl Sealed for super::FromBackend {}
    impl<F> Sealed for super::Connecting<F> {}
}

/// The address of an endpoint with the service that reaches it, such as a pool of connections.
///
/// Two are equal if their addresses are: an update that brings another service for the same address
/// keeps the one that is there, with its connections.
#[derive(Clone, Copy, Debug)]
pub struct Backend<A, S> {
    address: A,
    service: S,
}

impl<A, S> Backend<A, S> {
    /// A service that reaches `address`.
    pub fn new(address: A, service: S) -> Self {
        Self { address, service }
    }

    /// What the service reaches.
    pub fn address(&self) -> &A {
        &self.address
    }

    /// The service.
    pub fn service(&self) -> &S {
        &self.service
    }
}

impl<A: PartialEq, S> PartialEq for Backend<A, S> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<A: Eq, S> Eq for Backend<A, S> {}

/// Clones the service of a [`Backend`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FromBackend;

impl<A, S: Clone> Connect<Backend<A, S>> for FromBackend {
    type Service = S;

    #[inline]
    fn connect(&self, address: &Backend<A, S>) -> S {
        address.service.clone()
    }
}

/// Makes a service for an address by a closure; clones share the closure.
pub struct Connecting<F> {
    connect: Arc<F>,
}

impl<F> Connecting<F> {
    pub(super) fn new(connect: F) -> Self {
        Self {
            connect: Arc::new(connect),
        }
    }
}

impl<A, S, F: Fn(&A) -> S> Connect<A> for Connecting<F> {
    type Service = S;

    #[inline]
    fn connect(&self, address: &A) -> S {
        (self.connect)(address)
    }
}

impl<F> Clone for Connecting<F> {
    fn clone(&self) -> Self {
        Self {
            connect: self.connect.clone(),
        }
    }
}

impl<F> fmt::Debug for Connecting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connecting")
            .field(&Closure::of(&*self.connect))
            .finish()
    }
}
