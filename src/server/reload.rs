//! Reloading of the configuration at run time.

use super::{
    args::ServeOptions, config::Config, config_error::LoadError, keys::KEYS, log::Log,
    signals::ReloadRequests,
};

/// Keys that a reload applies. The others require a restart.
pub(super) const RELOADABLE: &[&str] = &["log.filter"];

/// Reloads the configuration on request.
pub struct Reloader {
    /// The command line, whose options still override the file.
    options: ServeOptions,
    /// The configuration in effect.
    running: Config,
    log: Log,
}

// === impl Reloader ===

impl Reloader {
    /// A reloader of the configuration that was loaded from these options.
    pub fn new(options: ServeOptions, running: Config, log: Log) -> Self {
        Self {
            options,
            running,
            log,
        }
    }

    /// Reloads the configuration on each request.
    pub async fn run(mut self, requests: ReloadRequests) {
        loop {
            requests.next().await;
            if self.options.config.is_none() {
                tracing::info!("no configuration to reload: --config is not set");
                continue;
            }
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
    }

    /// Applies what can be changed at run time, and reports the rest.
    fn apply(&mut self, new: Config) {
        let changed = KEYS
            .iter()
            .filter(|key| (key.show)(&self.running) != (key.show)(&new));
        let changed = changed.map(|key| key.name);
        let (applied, refused): (Vec<_>, Vec<_>) =
            changed.partition(|name| RELOADABLE.contains(name));
        if let Err(error) = self.log.set_filter(&new.log.filter) {
            tracing::error!(%error, "configuration not reloaded");
            return;
        }
        self.running.log.filter = new.log.filter;
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
