//! `ipvsctl restore`: makes the state of a director equal to a saved one, by difference.

use std::{collections::BTreeMap, io::Write};

use super::{
    args::RestoreArgs,
    commands::Commands,
    document::{Input, State},
    error::CliError,
    input,
    options::Options,
    outcome::{self, idempotent},
    output::eprint_line,
    session::{Session, SessionOptions},
    target::Target,
};
use crate::{
    client::{
        ClientError, DeleteOptions, RestoreDifference, RestoreMode, TimeoutsPatch, WriteOptions,
    },
    ipvsadm::Resolver,
    model::{Field, SettingValue, Settings, SyncDaemonConfig, SyncState, Timeouts},
};

/// What has to be done so that the director is as the saved state says.
struct Plan<'a> {
    target: &'a Target,
    mode: RestoreMode,
    stop: bool,
    /// The settings that differ, with their current and their saved values. `None`, here and below: the
    /// saved state says nothing about them.
    settings: Option<BTreeMap<String, (SettingValue, SettingValue)>>,
    /// The current and the saved timeouts.
    timeouts: Option<(Timeouts, Timeouts)>,
    services: Option<Commands<'a>>,
    daemons: Option<Vec<DaemonStep>>,
}

/// A change of a sync daemon.
enum DaemonStep {
    /// Starts it, or restarts it if it runs.
    Start(SyncDaemonConfig),
    Stop(SyncState),
}

/// Restores a saved state; returns the exit code.
pub(super) fn restore(
    args: RestoreArgs,
    options: &Options,
    resolver: &dyn Resolver,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let RestoreArgs {
        file,
        input,
        dry_run,
        clear,
        no_clear,
        stop,
    } = args;
    let text = input::read(file)?;
    let mode = match (clear, no_clear) {
        (true, _) => RestoreMode::Clear,
        (_, true) => RestoreMode::Execute,
        _ => RestoreMode::Replace,
    };
    let format = input.or_else(|| Input::detect(&text));
    let format = format.ok_or(CliError::EmptyInput)?;
    let state = format.parse(&text, mode == RestoreMode::Replace, resolver)?;
    let target = Target::select(options)?;
    let plan = Plan::new(&target, mode, stop, state)?;
    // A text is validated by the daemon before the first change. The parts of a document are several
    // requests: all are validated before the first.
    if dry_run || format != Input::Text {
        let difference = plan.validate()?;
        if dry_run {
            plan.report(difference, out)?;
            return Ok(0);
        }
    }
    plan.execute()
}

// === impl Plan ===

impl<'a> Plan<'a> {
    fn new(
        target: &'a Target,
        mode: RestoreMode,
        stop: bool,
        state: State<'a>,
    ) -> Result<Self, CliError> {
        let client = &target.client;
        let settings = match state.settings {
            Some(saved) => Some(settings(saved, &client.settings()?)?),
            None => None,
        };
        let timeouts = match state.timeouts {
            Some(draft) => {
                let current = client.timeouts()?.value;
                // The draft is valid: see `document`.
                let saved = draft.update(current).unwrap_or(current);
                Some((current, saved))
            }
            None => None,
        };
        let daemons = match state.sync_daemons {
            Some(saved) => {
                let running = client.sync_daemons()?;
                let start = saved.iter().filter(|config| {
                    !running
                        .iter()
                        .any(|daemon| daemon.state == config.state && config.matches(daemon))
                });
                let stop = running
                    .iter()
                    .map(|daemon| daemon.state)
                    .filter(|state| !saved.iter().any(|config| config.state == *state));
                let steps = stop.map(DaemonStep::Stop);
                Some(steps.chain(start.copied().map(DaemonStep::Start)).collect())
            }
            None => None,
        };
        Ok(Self {
            target,
            mode,
            stop,
            settings,
            timeouts,
            services: state.services,
            daemons,
        })
    }

    /// Lets the daemon validate all parts; returns the difference of the services.
    fn validate(&self) -> Result<Option<RestoreDifference>, CliError> {
        let dry_run = WriteOptions {
            dry_run: true,
            ..WriteOptions::default()
        };
        self.set_settings(&dry_run)?;
        self.set_timeouts(&dry_run)?;
        self.set_daemons(&dry_run)?;
        Ok(self.set_services(true)?.difference)
    }

    /// Makes the changes; returns the exit code.
    fn execute(&self) -> Result<u8, CliError> {
        let options = WriteOptions::default();
        let mut done = Vec::new();
        let mut failures = 0;
        let result = (|| {
            self.set_settings(&options)?;
            done.extend(self.settings.as_ref().map(|_| "settings"));
            self.set_timeouts(&options)?;
            done.extend(self.timeouts.as_ref().map(|_| "timeouts"));
            failures = self.set_services(false)?.failures;
            done.extend(self.services.as_ref().map(|_| "services"));
            self.set_daemons(&options)
        })();
        if result.is_err() && !done.is_empty() {
            eprint_line(&format!("restored before the error: {}", done.join(", ")));
        }
        result.map(|()| u8::from(failures > 0))
    }

    fn set_settings(&self, options: &WriteOptions) -> Result<(), CliError> {
        let changed = self.settings.iter().flatten();
        let changed: Settings = changed
            .map(|(name, (_, saved))| (name.clone(), saved.clone()))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let client = &self.target.client;
        self.checked("settings", || client.update_settings(&changed, options))
    }

    fn set_timeouts(&self, options: &WriteOptions) -> Result<(), CliError> {
        let Some((current, saved)) = self.timeouts.filter(|(current, saved)| current != saved)
        else {
            return Ok(());
        };
        let changed = |current, saved| match current == saved {
            true => Field::Keep,
            false => Field::Set(saved),
        };
        let patch = TimeoutsPatch {
            tcp_seconds: changed(current.tcp_seconds, saved.tcp_seconds),
            tcp_fin_seconds: changed(current.tcp_fin_seconds, saved.tcp_fin_seconds),
            udp_seconds: changed(current.udp_seconds, saved.udp_seconds),
        };
        let client = &self.target.client;
        self.checked("-L --timeout", || client.update_timeouts(&patch, options))
    }

    fn set_daemons(&self, options: &WriteOptions) -> Result<(), CliError> {
        let client = &self.target.client;
        let delete = DeleteOptions {
            dry_run: options.dry_run,
            allow_missing: true,
            ..DeleteOptions::default()
        };
        for step in self.daemons.iter().flatten() {
            match step {
                DaemonStep::Start(config) => {
                    self.checked("-L --daemon", || client.start_sync_daemon(config, options))?;
                }
                DaemonStep::Stop(state) => {
                    self.checked("-L --daemon", || client.stop_sync_daemon(*state, &delete))?;
                }
            }
        }
        Ok(())
    }

    /// Sends an idempotent change. `listing` is the command that shows whether it was made.
    fn checked<T>(
        &self,
        listing: &str,
        change: impl Fn() -> Result<T, ClientError>,
    ) -> Result<(), CliError> {
        match idempotent(change) {
            Ok(_) => Ok(()),
            Err(error) => Err(outcome::explain_with(error.into(), self.target, listing)),
        }
    }

    /// Sends the commands; returns the session with its results.
    fn set_services(&self, dry_run: bool) -> Result<Session<'_>, CliError> {
        let options = SessionOptions {
            mode: self.mode,
            dry_run,
            show_lines: true,
        };
        let mut session = Session::new(self.target, "", options);
        if let Some(commands) = &self.services {
            session.send_commands(commands, self.stop)?;
        }
        Ok(session)
    }

    /// Writes what would change, a line for each part of the saved state.
    fn report(
        &self,
        difference: Option<RestoreDifference>,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let mut line = |part: &str, changes: Vec<String>| match changes.is_empty() {
            true => writeln!(out, "{part}: unchanged"),
            false => writeln!(out, "{part}: {}", changes.join(", ")),
        };
        if let Some(settings) = &self.settings {
            let changes = settings.iter().map(|(name, (current, saved))| {
                format!("{name} {} -> {}", show(current), show(saved))
            });
            line("settings", changes.collect())?;
        }
        if let Some((current, saved)) = &self.timeouts {
            let fields = [
                ("tcp_seconds", current.tcp_seconds, saved.tcp_seconds),
                (
                    "tcp_fin_seconds",
                    current.tcp_fin_seconds,
                    saved.tcp_fin_seconds,
                ),
                ("udp_seconds", current.udp_seconds, saved.udp_seconds),
            ];
            let changed = fields
                .into_iter()
                .filter(|(_, current, saved)| current != saved);
            let changes =
                changed.map(|(name, current, saved)| format!("{name} {current} -> {saved}"));
            line("timeouts", changes.collect())?;
        }
        match (&self.services, difference) {
            (Some(_), Some(difference)) => {
                let RestoreDifference {
                    changed: _,
                    created,
                    updated,
                    deleted,
                    unchanged,
                } = difference;
                let counts = format!(
                    "{created} to create, {updated} to edit, {deleted} to delete, {unchanged} unchanged"
                );
                line("services and servers", vec![counts])?;
            }
            (Some(commands), None) => {
                line("commands", vec![format!("{} to execute", commands.len())])?;
            }
            (None, _) => {}
        }
        if let Some(daemons) = &self.daemons {
            let changes = daemons.iter().map(|step| match step {
                DaemonStep::Start(config) => {
                    format!("start {} on {}", config.state, config.interface)
                }
                DaemonStep::Stop(state) => format!("stop {state}"),
            });
            line("sync daemons", changes.collect())?;
        }
        Ok(())
    }
}

/// The settings that differ. A setting that the director does not have is an error.
fn settings(
    saved: BTreeMap<String, SettingValue>,
    current: &Settings,
) -> Result<BTreeMap<String, (SettingValue, SettingValue)>, CliError> {
    let unknown: Vec<_> = saved
        .keys()
        .filter(|name| !current.contains_key(*name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(CliError::MissingSettings(unknown.join(", ")));
    }
    let differing = saved.into_iter().filter_map(|(name, saved)| {
        let current = current.get(&name)?;
        (*current != saved).then(|| (name, (current.clone(), saved)))
    });
    Ok(differing.collect())
}

fn show(value: &SettingValue) -> String {
    value.file_text().trim_end().replace(' ', ",")
}
