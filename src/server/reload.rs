//! Reloading of the configuration at run time.

use std::sync::Arc;

use super::{
    args::ServeOptions, authentication::Authenticator, config::Config, config_error::LoadError,
    keys::KEYS, log::Log, service_manager::ServiceManager, signals::ReloadRequests, tls::Tls,
};
use crate::audit::AuditLog;

/// Reloads the configuration on request.
pub struct Reloader {
    /// The command line, whose options still override the file.
    pub options: ServeOptions,
    /// The configuration in effect.
    pub running: Config,
    /// The log, for its filter.
    pub log: Log,
    /// The audit trail, whose file is opened anew.
    pub audit: AuditLog,
    /// Makes new connections use this configuration.
    pub replace: Box<dyn Fn(&Config) + Send>,
    /// Reads the policy again, if there is one.
    pub authenticator: Arc<Authenticator>,
    /// The files of TLS, if there is a TLS listener.
    pub tls: Option<Tls>,
    /// Is notified of each reload.
    pub service_manager: Option<ServiceManager>,
}

/// Copies the value of a key that a reload applies; false for a key that requires a restart.
fn copy(key: &str, from: &Config, to: &mut Config) -> bool {
    let (new, limits) = (&from.limits, &mut to.limits);
    let (new_quota, quota) = (&from.quota, &mut to.quota);
    match key {
        "allowed_hosts" => to.allowed_hosts.clone_from(&from.allowed_hosts),
        "log.filter" => to.log.filter.clone_from(&from.log.filter),
        "tls.certificate" => to.tls.certificate.clone_from(&from.tls.certificate),
        "tls.key" => to.tls.key.clone_from(&from.tls.key),
        "tls.client_ca" => to.tls.client_ca.clone_from(&from.tls.client_ca),
        "tls.client_certificates" => to.tls.client_certificates = from.tls.client_certificates,
        "tls.crl" => to.tls.crl.clone_from(&from.tls.crl),
        "tls.expiry_warning" => to.tls.expiry_warning = from.tls.expiry_warning,
        "limits.max_concurrent_streams" => {
            limits.max_concurrent_streams = new.max_concurrent_streams;
        }
        "limits.max_header_bytes" => limits.max_header_bytes = new.max_header_bytes,
        "limits.max_body_bytes" => limits.max_body_bytes = new.max_body_bytes,
        "limits.header_read_timeout" => limits.header_read_timeout = new.header_read_timeout,
        "limits.body_read_timeout" => limits.body_read_timeout = new.body_read_timeout,
        "limits.idle_timeout" => limits.idle_timeout = new.idle_timeout,
        "limits.write_timeout" => limits.write_timeout = new.write_timeout,
        "limits.request_timeout" => limits.request_timeout = new.request_timeout,
        "limits.shutdown_grace" => limits.shutdown_grace = new.shutdown_grace,
        "quota.reads_per_second" => quota.reads_per_second = new_quota.reads_per_second,
        "quota.reads_burst" => quota.reads_burst = new_quota.reads_burst,
        "quota.writes_per_second" => quota.writes_per_second = new_quota.writes_per_second,
        "quota.writes_burst" => quota.writes_burst = new_quota.writes_burst,
        "quota.bytes_per_second" => quota.bytes_per_second = new_quota.bytes_per_second,
        "quota.bytes_burst" => quota.bytes_burst = new_quota.bytes_burst,
        "quota.failed_logins_per_minute" => {
            quota.failed_logins_per_minute = new_quota.failed_logins_per_minute;
        }
        "metrics.max_age" => to.metrics.max_age = from.metrics.max_age,
        "metrics.max_servers" => to.metrics.max_servers = from.metrics.max_servers,
        "metrics.node_exporter_names" => {
            to.metrics.node_exporter_names = from.metrics.node_exporter_names;
        }
        _ => return false,
    }
    true
}

// === impl Reloader ===

impl Reloader {
    /// Opens the audit file anew, and reloads the configuration, the files of TLS and the policy, on each request.
    pub async fn run(mut self, mut requests: ReloadRequests) {
        loop {
            requests.next().await;
            if let Some(manager) = self.service_manager {
                manager.reloading();
            }
            self.audit.reopen();
            match self.options.config_file() {
                Some(_) => self.reload().await,
                None => tracing::info!("no configuration to reload: --config is not set"),
            }
            if let Some(tls) = &self.tls {
                tls.reload(&self.running.tls).await;
            }
            if self.running.policy.is_some() {
                self.authenticator.read_again().await;
            }
            if let Some(manager) = self.service_manager {
                manager.ready();
            }
        }
    }

    /// Reads the configuration, and applies it if it has no error.
    async fn reload(&mut self) {
        let options = self.options.clone();
        // The file may be on a file system that does not respond.
        match tokio::task::spawn_blocking(move || Config::load(&options)).await {
            Ok(Ok(config)) => self.apply(config),
            Ok(Err(LoadError::Invalid(errors))) => {
                for error in errors.0 {
                    tracing::error!(%error, "configuration not reloaded");
                }
            }
            Ok(Err(error)) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(error, "configuration not reloaded");
            }
            Err(error) => tracing::error!(%error, "configuration not reloaded"),
        }
    }

    /// Applies what can be changed at run time, and reports the rest.
    fn apply(&mut self, new: Config) {
        let changed = KEYS
            .iter()
            .filter(|key| (key.show)(&self.running) != (key.show)(&new));
        let names: Vec<_> = changed.map(|key| key.name).collect();
        let (applied, refused): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|key| copy(key, &new, &mut self.running));
        if let Err(error) = self.log.set_filter(&self.running.log.filter) {
            tracing::error!(%error, "log.filter not reloaded");
        }
        let is_other = |key: &&str| *key == "log.filter" || key.starts_with("tls.");
        if !applied.iter().all(is_other) {
            (self.replace)(&self.running);
        }
        if applied.is_empty() && refused.is_empty() {
            tracing::info!("configuration unchanged");
        }
        if !applied.is_empty() {
            tracing::info!(keys = applied.join(", "), "configuration reloaded");
        }
        if !refused.is_empty() {
            let keys = refused.join(", ");
            tracing::warn!(keys, "changed keys of the configuration require a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_the_keys_that_a_reload_applies() {
        let text = include_str!("../../docs/ipvsd.md");
        let listed = text
            .split("applies these keys:")
            .nth(1)
            .and_then(|rest| rest.split("\n\n").next());
        let listed: Vec<_> = listed
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        let (from, mut to) = (Config::default(), Config::default());
        let keys = KEYS.iter().filter(|key| copy(key.name, &from, &mut to));
        assert_eq!(listed, keys.map(|key| key.name).collect::<Vec<_>>());
    }
}
