//! Questions to DNS servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as NoAnswer, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

use super::found::Service;
use super::{DnsError, InvalidDns};

/// The DNS servers to ask; clones share their connections.
///
/// A question is sent by UDP, and by TCP where the answer does not fit; a server has 2 s, and is asked
/// up to 3 times. Nothing is kept: answers are good for as long as a
/// [`DnsWatch`](super::DnsWatch) says. Connections are tasks on the runtime that asks, which end with
/// the last clone.
#[derive(Clone)]
pub struct DnsResolver {
    resolver: Arc<TokioResolver>,
}

/// What there is, and for how long that is good, if that was told.
#[derive(Clone, Debug)]
pub(super) struct Answer<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Option<Duration>,
}

const TIMEOUT: Duration = Duration::from_secs(2);

impl DnsResolver {
    /// The servers that this machine asks (`/etc/resolv.conf`), and its file of hosts.
    ///
    /// # Errors
    ///
    /// If that cannot be read, or makes no sense.
    pub fn system() -> Result<Self, InvalidDns> {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            limit(builder.options_mut());
            builder.build()
        });
        Self::built(built, "the system's configuration")
    }

    /// These servers.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn of_servers(servers: &[SocketAddr]) -> Result<Self, InvalidDns> {
        if servers.is_empty() {
            return Err(InvalidDns::new("servers", servers, "at least one"));
        }
        let config = |server: &SocketAddr| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        };
        let servers_config = servers.iter().map(config).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers_config);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        limit(builder.options_mut());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Self::built(builder.build(), &format!("{servers:?}"))
    }

    fn built(built: Result<TokioResolver, NetError>, of: &str) -> Result<Self, InvalidDns> {
        let invalid = |why: NetError| InvalidDns::new("servers", of, format!("usable: {why}"));
        Ok(Self {
            resolver: Arc::new(built.map_err(invalid)?),
        })
    }

    /// The addresses of one family.
    pub(super) async fn addresses(
        &self,
        name: &Name,
        record: RecordType,
    ) -> Result<Answer<IpAddr>, DnsError> {
        self.look_up(name, record, |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .await
    }

    /// The services; none where the only target is the root, which says that there is none.
    pub(super) async fn services(&self, name: &Name) -> Result<Answer<Service>, DnsError> {
        self.look_up(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) if !srv.target.is_root() => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            }),
            _ => None,
        })
        .await
    }

    async fn look_up<T>(
        &self,
        name: &Name,
        record: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        match self.resolver.lookup(name.clone(), record).await {
            Ok(lookup) => {
                let answers = lookup.answers();
                let ttl = answers.iter().map(|answer| answer.ttl).min();
                Ok(Answer {
                    records: answers.iter().filter_map(|each| read(&each.data)).collect(),
                    ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
                })
            }
            Err(NetError::Dns(NoAnswer::NoRecordsFound(none))) if is_answer(none.response_code) => {
                let ttl = none.negative_ttl;
                Ok(Answer {
                    records: Vec::new(),
                    ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
                })
            }
            Err(error) => Err(DnsError::Failed {
                name: format!("{record} of {name}"),
                source: error.into(),
            }),
        }
    }
}

/// Whether a server that tells of no records knows that there are none.
fn is_answer(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn limit(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT;
    options.attempts = 2;
    options.cache_size = 0;
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver").finish_non_exhaustive()
    }
}
