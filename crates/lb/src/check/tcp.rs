use tokio::net::{TcpStream, ToSocketAddrs};

use super::{Checked, Probe, Probed};

/// Passes where a TCP connection can be made to the endpoint's address; nothing is sent on it.
///
/// An address is what tokio resolves: a socket address, or a name with a port, of whose addresses one
/// must answer. For others, ask it from a closure:
///
/// ```
/// use std::net::SocketAddr;
/// use stanchion_lb::check::{Probe, Probed, TcpProbe};
///
/// struct Backend { address: SocketAddr }
///
/// fn probe() -> impl Probe<Backend> {
///     |endpoint: Probed<Backend>| TcpProbe::connect(endpoint.address().address)
/// }
/// # let _ = probe();
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpProbe;

impl TcpProbe {
    /// The probe.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Connects once.
    pub async fn connect(address: impl ToSocketAddrs) -> Checked {
        TcpStream::connect(address).await.map(drop).into()
    }
}

impl<A> Probe<A> for TcpProbe
where
    A: ToSocketAddrs + Clone + Send + Sync,
    A::Future: Send,
{
    async fn probe(&self, endpoint: Probed<A>) -> Checked {
        Self::connect(endpoint.address().clone()).await
    }
}
