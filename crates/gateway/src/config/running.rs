use super::Config;

impl Config {
    /// This configuration as a gateway that runs by another one can take it over, and the fields
    /// whose new value has to wait for a restart: these keep the value that is in force.
    pub(crate) fn for_running(mut self, running: &Self) -> (Self, Vec<&'static str>) {
        if let Some(address) = running.overrides.listen {
            self = self.with_listen_address(address);
        }
        if let Some(address) = running.overrides.admin {
            self = self.with_admin_address(address);
        }
        if let (Some(source), Some(running)) = (&mut self.source, &running.source) {
            source.watched = running.watched;
        }
        // Until others are found.
        for upstream in self
            .upstreams
            .iter_mut()
            .filter(|it| it.discovery.is_some())
        {
            let known = running.upstreams.iter();
            let known = known.into_iter().find(|known| known.name == upstream.name);
            let mut endpoints = known.map_or_else(Vec::new, |known| known.endpoints.clone());
            endpoints
                .iter_mut()
                .for_each(|endpoint| endpoint.found = true);
            upstream.endpoints = endpoints;
        }
        let mut restart = Vec::new();
        let mut keep = |field, changed: bool| {
            if changed {
                restart.push(field);
            }
        };
        keep("workers", self.workers != running.workers);
        keep("access_log", self.access_log != running.access_log);
        keep(
            "listen.address",
            self.listen.address != running.listen.address,
        );
        keep("admin", self.admin != running.admin);
        self.workers = running.workers;
        self.access_log = running.access_log.clone();
        self.listen.address = running.listen.address;
        self.admin = running.admin.clone();
        (self, restart)
    }
}
