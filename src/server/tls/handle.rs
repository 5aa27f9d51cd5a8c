//! The TLS settings in use, and their replacement while connections are open.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    super::{
        input_file::{LOOK_INTERVAL, Look, Watched},
        read_requests::ReadRequests,
    },
    context::TlsContext,
    error::{TlsErrors, TlsProblem},
    files::Stamp,
    settings::TlsConfig,
};

/// Time between two warnings of the same certificate.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The certificate, key and verifier of the TLS listeners. Clones share them.
#[derive(Clone)]
pub struct Tls {
    /// Handshakes use the last one.
    contexts: watch::Sender<Arc<TlsContext>>,
    settings: watch::Sender<TlsConfig>,
    requests: ReadRequests,
}

/// What was read.
type Loaded = Result<Box<TlsContext>, TlsErrors>;

/// What the task that watches the files remembers.
struct Watcher {
    files: Watched<Stamp>,
    /// The last fault that was logged, unless the files have been read since.
    fault: Option<String>,
    next_warning: Instant,
}

// === impl Tls ===

impl Tls {
    /// Reads the files of the settings. Blocks.
    pub fn load(config: &TlsConfig) -> Result<Self, TlsErrors> {
        let context = TlsContext::load(config)?;
        log_warnings(&context, config);
        Ok(Self {
            contexts: watch::Sender::new(Arc::new(context)),
            settings: watch::Sender::new(config.clone()),
            requests: ReadRequests::new(),
        })
    }

    /// Makes the task that [watches](Self::watch) the files read those of these settings, and waits for it. If they
    /// have a fault, the last ones stay in use, and it is logged.
    pub async fn reload(&self, config: &TlsConfig) {
        self.settings.send_replace(config.clone());
        self.requests.request().await;
    }

    /// When the certificates and lists in use expire: of each key of the configuration, the first one, in seconds
    /// since 1970-01-01 UTC.
    pub fn expiries(&self) -> Vec<(&'static str, i64)> {
        self.context().expiries().collect()
    }

    /// What the next handshake is made with.
    pub(super) fn context(&self) -> Arc<TlsContext> {
        self.contexts.borrow().clone()
    }

    /// What the next handshake is made with, and later ones.
    pub(super) fn contexts(&self) -> watch::Receiver<Arc<TlsContext>> {
        self.contexts.subscribe()
    }

    /// Watches the files until dropped.
    pub(in crate::server) async fn watch(self) {
        let mut requests = self.requests.subscribe();
        let mut watcher = Watcher {
            files: Watched::new(self.context().stamp.clone()),
            fault: None,
            next_warning: Instant::now() + WARNING_INTERVAL,
        };
        loop {
            let is_requested = timeout(LOOK_INTERVAL, requests.changed()).await.is_ok();
            let config = self.settings.borrow().clone();
            let mut files = watcher.files.clone();
            let current = self.context();
            let look = {
                let config = config.clone();
                // The files may be on a file system that does not respond.
                spawn_blocking(move || {
                    let read = || load(&config, &current);
                    let found = files.look(is_requested, || Stamp::of(&config), read);
                    (files, found)
                })
            };
            match look.await {
                Ok((files, found)) => {
                    watcher.files = files;
                    if let Look::Read(loaded) = found {
                        self.take(&mut watcher, &config, loaded, is_requested);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot look at the TLS files");
                    sleep(LOOK_INTERVAL).await;
                }
            }
            if is_requested {
                self.requests.done();
            }
            if watcher.next_warning <= Instant::now() {
                watcher.next_warning += WARNING_INTERVAL;
                log_warnings(&self.context(), &config);
            }
        }
    }

    /// Uses and logs what was read.
    fn take(&self, watcher: &mut Watcher, config: &TlsConfig, loaded: Loaded, is_requested: bool) {
        match loaded {
            Ok(context) => {
                watcher.fault = None;
                watcher.next_warning = Instant::now() + WARNING_INTERVAL;
                let certificate = context.description();
                log_warnings(&context, config);
                self.contexts.send_replace(Arc::from(context));
                tracing::info!(certificate, "TLS files reloaded");
            }
            Err(errors) => {
                let text = errors.to_string();
                // The same fault again if files are written that do not remove it.
                if is_requested || watcher.fault.as_ref() != Some(&text) {
                    for error in &errors.0 {
                        tracing::error!(%error, "TLS files not reloaded; the last ones stay in use");
                    }
                }
                watcher.fault = Some(text);
            }
        }
    }
}

/// Reads files that are to replace those in use.
fn load(config: &TlsConfig, current: &TlsContext) -> Loaded {
    let new = TlsContext::load(config)?;
    let now = SystemTime::now();
    match new.expired(now) {
        // At the start there is nothing better.
        Some(at) if current.expired(now).is_none() => {
            let path = config.certificate.clone().unwrap_or_default();
            let error = TlsProblem::Expired { path, at }.of("tls.certificate");
            Err(TlsErrors(vec![error]))
        }
        _ => Ok(Box::new(new)),
    }
}

/// Logs what should be changed.
fn log_warnings(context: &TlsContext, config: &TlsConfig) {
    for warning in context.warnings(SystemTime::now(), config.expiry_warning) {
        tracing::warn!("{warning}");
    }
}
