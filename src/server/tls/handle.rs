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
    context::TlsContext,
    error::{TlsErrors, TlsProblem},
    files::Stamp,
    settings::TlsConfig,
};

/// Time between two looks at the files. A change takes effect after one to two of it, so that files
/// that are written one after the other are read together.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Time between two warnings of the same certificate.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The certificate, key and verifier of the TLS listeners. Clones share them.
#[derive(Clone)]
pub struct Tls {
    /// Handshakes use the last one.
    contexts: watch::Sender<Arc<TlsContext>>,
    settings: watch::Sender<TlsConfig>,
}

/// What a look at the files found.
enum Found {
    /// Nothing new.
    Unchanged,
    /// A change, perhaps the first of several.
    Changing,
    /// Files that replace those in use.
    New(Box<TlsContext>),
    Fault(TlsErrors),
}

/// What the task that watches the files remembers.
struct Watcher {
    /// The state of the files when they were read last.
    read: Stamp,
    /// The state of the files at the last look.
    seen: Stamp,
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
        })
    }

    /// Reads the files of these settings soon. If they have a fault, the last ones stay in use, and it is
    /// logged.
    pub fn reload(&self, config: &TlsConfig) {
        self.settings.send_replace(config.clone());
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
        let mut settings = self.settings.subscribe();
        let loaded = self.context().stamp.clone();
        let mut watcher = Watcher {
            read: loaded.clone(),
            seen: loaded,
            fault: None,
            next_warning: Instant::now() + WARNING_INTERVAL,
        };
        loop {
            let is_requested = timeout(POLL_INTERVAL, settings.changed()).await.is_ok();
            let config = settings.borrow_and_update().clone();
            let (read, seen) = (watcher.read.clone(), watcher.seen.clone());
            let current = self.context();
            let look = {
                let config = config.clone();
                // The files may be on a file system that does not respond.
                spawn_blocking(move || look(&config, &current, is_requested, &read, &seen))
            };
            match look.await {
                Ok((stamp, found)) => self.take(&mut watcher, &config, stamp, found, is_requested),
                Err(error) => {
                    tracing::error!(%error, "cannot look at the TLS files");
                    sleep(POLL_INTERVAL).await;
                }
            }
            if watcher.next_warning <= Instant::now() {
                watcher.next_warning += WARNING_INTERVAL;
                log_warnings(&self.context(), &config);
            }
        }
    }

    /// Uses and logs what was found.
    fn take(
        &self,
        watcher: &mut Watcher,
        config: &TlsConfig,
        stamp: Stamp,
        found: Found,
        is_requested: bool,
    ) {
        watcher.seen = stamp.clone();
        match found {
            Found::Unchanged | Found::Changing => {}
            Found::New(context) => {
                watcher.read = stamp;
                watcher.fault = None;
                watcher.next_warning = Instant::now() + WARNING_INTERVAL;
                let certificate = context.description();
                log_warnings(&context, config);
                self.contexts.send_replace(Arc::from(context));
                tracing::info!(certificate, "TLS files reloaded");
            }
            Found::Fault(errors) => {
                watcher.read = stamp;
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

/// Looks at the files, and reads them if they have changed and are no longer being changed, or if that is
/// requested. Returns the state that it found.
fn look(
    config: &TlsConfig,
    current: &TlsContext,
    is_requested: bool,
    read: &Stamp,
    seen: &Stamp,
) -> (Stamp, Found) {
    let stamp = Stamp::of(config);
    if !is_requested {
        if stamp == *read {
            return (stamp, Found::Unchanged);
        }
        if stamp != *seen {
            return (stamp, Found::Changing);
        }
    }
    let loaded = TlsContext::load(config);
    let after = Stamp::of(config);
    if after != stamp && !is_requested {
        // What was read may be of both states.
        return (after, Found::Changing);
    }
    let now = SystemTime::now();
    let found = match loaded {
        Err(errors) => Found::Fault(errors),
        Ok(new) => match new.expired(now) {
            // At the start there is nothing better.
            Some(at) if current.expired(now).is_none() => {
                let path = config.certificate.clone().unwrap_or_default();
                let error = TlsProblem::Expired { path, at }.of("tls.certificate");
                Found::Fault(TlsErrors(vec![error]))
            }
            _ => Found::New(Box::new(new)),
        },
    };
    (stamp, found)
}

/// Logs what should be changed.
fn log_warnings(context: &TlsContext, config: &TlsConfig) {
    for warning in context.warnings(SystemTime::now(), config.expiry_warning) {
        tracing::warn!("{warning}");
    }
}
