//! Asks the servers of an upstream, in intervals, whether they are well: each time on a connection of
//! its own, from the admin thread, so that checks use up nothing that requests need.

mod client;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use stanchion_lb::InvalidConfig;
use stanchion_lb::check::{Checked, Checks, HttpProbe, Probe, Probed, TcpProbe};

use crate::balance::{Balance, Server};
use crate::config;
use crate::metrics::{EndpointMetrics, Metrics};
use client::{Address, Client};

/// Who asks, as servers have it in their logs.
const USER_AGENT: HeaderValue = HeaderValue::from_static("stanchion-gateway-check");

/// How the servers of one upstream are checked; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// What it was made of.
    config: config::Checks,
    protocol: config::Protocol,
    checks: Checks,
    asks: Arc<Asks>,
}

/// How a server is asked.
enum Asks {
    Http(HttpProbe<Client, Arc<Server>, Empty<Bytes>>),
    /// For a connection, and nothing else.
    Tcp,
}

impl Check {
    /// The check of an upstream, if it has one.
    ///
    /// # Errors
    ///
    /// If a number is out of its range.
    pub(crate) fn new(upstream: &config::Upstream) -> Result<Option<Self>, InvalidConfig> {
        let Some(config) = &upstream.checks else {
            return Ok(None);
        };
        let asks = match &config.http {
            Some(http) => Asks::Http(probe(http, upstream.protocol)?),
            None => Asks::Tcp,
        };
        Ok(Some(Self {
            checks: config.checks()?,
            config: config.clone(),
            protocol: upstream.protocol,
            asks: Arc::new(asks),
        }))
    }

    /// Checks the servers, and tells the balancer, for as long as this is polled.
    pub(crate) fn run(
        &self,
        upstream: &Arc<str>,
        balance: &Balance,
        metrics: &Metrics,
    ) -> impl Future<Output = ()> + Send + use<> {
        let probe = Counted {
            asks: self.asks.clone(),
            upstream: upstream.clone(),
            metrics: metrics.clone(),
        };
        balance.balancer().check(self.checks.clone(), probe)
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.protocol == other.protocol
    }
}

fn probe(
    config: &config::HttpCheck,
    protocol: config::Protocol,
) -> Result<HttpProbe<Client, Arc<Server>, Empty<Bytes>>, InvalidConfig> {
    let (path, host) = (config.path.clone(), config.host.clone());
    let request = move |endpoint: &Probed<Arc<Server>>| {
        let name = &endpoint.address().name;
        let host = host.as_deref().unwrap_or(name);
        Request::get(path.clone())
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .extension(Address(name.clone()))
            .body(Empty::new())
    };
    let probe =
        HttpProbe::new(Client { protocol }, request).with_expected(config.status.clone())?;
    Ok(match &config.degraded_header {
        Some(name) => probe.with_degraded_header(name.clone()),
        None => probe,
    })
}

/// A probe whose results are counted.
struct Counted {
    asks: Arc<Asks>,
    upstream: Arc<str>,
    metrics: Metrics,
}

impl Probe<Arc<Server>> for Counted {
    async fn probe(&self, endpoint: Probed<Arc<Server>>) -> Checked {
        let name = endpoint.address().name.clone();
        let mut asking = Asking {
            metrics: self.metrics.endpoint(&self.upstream, &name),
            checked: Checked::Failed,
        };
        asking.checked = match &*self.asks {
            Asks::Http(probe) => probe.probe(endpoint).await,
            Asks::Tcp => TcpProbe::connect(&*name).await,
        };
        asking.checked
    }
}

/// One check, which is counted when this is dropped: one that took too long is dropped before its end.
struct Asking {
    metrics: EndpointMetrics,
    checked: Checked,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.metrics.checked(match self.checked {
            Checked::Passed => "passed",
            Checked::Degraded => "degraded",
            Checked::Failed => "failed",
        });
    }
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "Http",
            Self::Tcp => "Tcp",
        })
    }
}
