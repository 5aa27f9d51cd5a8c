//! The log of the write path: one event per write.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use futures_util::StreamExt;
use tracing::{
    Event, Subscriber,
    field::{Field as LogField, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use super::*;

/// The fields of an event, as text.
pub(super) type Fields = BTreeMap<&'static str, String>;

/// Records the events of the write path on this thread.
#[derive(Clone, Default)]
pub(super) struct WriteLog(Arc<Mutex<Vec<Fields>>>);

impl WriteLog {
    /// A log that records until the guard is dropped.
    pub(super) fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = Registry::default().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The events since the last call.
    pub(super) fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The only event since the last call.
    pub(super) fn take_one(&self) -> Fields {
        let mut events = self.take();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

impl<S: Subscriber> Layer<S> for WriteLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if target.ends_with("app::write") || target.ends_with("app::restore") {
            let mut fields = Recorder::default();
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[derive(Default)]
struct Recorder(Fields);

impl Visit for Recorder {
    fn record_debug(&mut self, field: &LogField, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &LogField, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// The expected event, from pairs of name and text.
fn event<const N: usize>(fields: [(&'static str, &str); N]) -> Fields {
    fields
        .into_iter()
        .map(|(name, text)| (name, text.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_write_logs_who_wrote_and_what() {
    let (_, app) = setup();
    let (log, _guard) = WriteLog::start();
    let context = RequestContext {
        principal: principal("alice", Role::Admin),
        ..RequestContext::new(RequestId::new("request-7"), Duration::from_secs(3600))
    };
    let servers = json!([{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]);
    let draft = draft(json!({"id": TCP, "servers": servers}));
    app.create_service(&context, draft).await.unwrap();
    let expected = event([
        ("message", "write"),
        ("principal", "alice"),
        ("dry_run", "false"),
        ("service", TCP),
        ("operations", "create_service create_server*2"),
    ]);
    assert_eq!(log.take_one(), expected);
}

#[tokio::test]
async fn every_kind_of_write_logs_one_event() {
    let (_, app) = setup();
    let (log, _guard) = WriteLog::start();
    let operations = || log.take_one().remove("operations").unwrap();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    assert_eq!(operations(), "create_service create_server");
    let rr = || draft(json!({"scheduler": "rr"}));
    let update = app.update_service(context(), key(TCP), rr(), NONE, false);
    assert!(!update.await.unwrap().changed);
    assert_eq!(operations(), "", "nothing to do");
    let server = server_key("10.0.0.1-80");
    let weight = server_draft(json!({"weight": 7}));
    let update = app.update_server(context(), key(TCP), server, weight, NONE, false);
    update.await.unwrap();
    assert_eq!(operations(), "update_server");
    let delete = app.delete_server(context(), key(TCP), server, false, NONE);
    delete.await.unwrap();
    assert_eq!(operations(), "delete_server");
    app.zero(context(), None).await.unwrap();
    assert_eq!(operations(), "zero");
    app.clear_services(context(), Some(1)).await.unwrap();
    assert_eq!(operations(), "clear");
    let timeouts = serde_json::from_value(json!({"udp_seconds": 7})).unwrap();
    app.update_timeouts(context(), timeouts, NONE)
        .await
        .unwrap();
    assert_eq!(operations(), "set_timeouts");
    let daemon = serde_json::from_value(json!({"interface": "eth0"})).unwrap();
    let start = app.start_sync_daemon(context(), SyncState::Master, daemon, false, NONE);
    start.await.unwrap();
    assert_eq!(operations(), "start_sync_daemon");
    let stop = app.stop_sync_daemon(context(), SyncState::Master, false, NONE);
    stop.await.unwrap();
    assert_eq!(operations(), "stop_sync_daemon");
    let one = |name: &str| (name.to_owned(), Field::Set(SettingValue::Integer(1)));
    let settings = [one("drop_entry"), one("drop_packet")].into();
    app.update_settings(context(), settings).await.unwrap();
    assert_eq!(operations(), "set_setting*2");
}

#[tokio::test]
async fn a_restore_logs_the_executed_operations() {
    let (_, app) = setup();
    let (log, _guard) = WriteLog::start();
    let text = "-A -t 192.0.2.1:80 -s rr\n\
                -A -t 192.0.2.1:80 -s rr\n\
                -a -t 192.0.2.1:80 -r 10.0.0.1 -m\n\
                -a -t 192.0.2.1:80 -r 10.0.0.2 -m\n";
    let options = RestoreOptions::default();
    let events = app
        .restore_rules(context(), text.to_owned().into(), options)
        .await
        .unwrap();
    events.collect::<Vec<_>>().await;
    let expected = event([
        ("message", "write"),
        ("principal", "system"),
        ("dry_run", "false"),
        ("service", TCP),
        ("rejected", "1"),
        ("operations", "create_service create_server*2"),
    ]);
    let [part, end] = log.take().try_into().unwrap();
    assert_eq!(part, expected, "without the rejected command");
    let expected = event([
        ("message", "restore ended"),
        ("principal", "system"),
        ("dry_run", "false"),
        ("commands", "4"),
        ("done", "3"),
        ("refused", "1"),
        ("client_gone", "false"),
    ]);
    assert_eq!(end, expected);
}

#[tokio::test]
async fn a_failed_write_logs_its_error() {
    let (_, app) = setup();
    let (log, _guard) = WriteLog::start();
    let delete = app.delete_service(context(), key(TCP), false, NONE);
    let error = delete.await.unwrap_err();
    let expected = event([
        ("message", "write failed"),
        ("principal", "system"),
        ("dry_run", "false"),
        ("service", TCP),
        ("reason", "SERVICE_NOT_FOUND"),
        ("error", &error.to_string()),
    ]);
    assert_eq!(log.take_one(), expected);
}

#[tokio::test]
async fn a_dry_run_logs_the_planned_operations() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let (log, _guard) = WriteLog::start();
    let dry_run = context().clone().with_dry_run(true);
    app.delete_service(&dry_run, key(TCP), false, NONE)
        .await
        .unwrap();
    let event = log.take_one();
    assert_eq!(event["dry_run"], "true");
    assert_eq!(event["operations"], "delete_service");
}

#[tokio::test]
async fn reads_and_invalid_requests_log_no_write() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let (log, _guard) = WriteLog::start();
    read_service(&app, TCP).await;
    app.settings(context()).await.unwrap();
    app.list_services(context(), ListServices::default())
        .await
        .unwrap();
    app.create_service(context(), draft(json!({})))
        .await
        .unwrap_err();
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_write_without_a_precondition_logs_its_service() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let (log, _guard) = WriteLog::start();
    app.zero(context(), Some(key(TCP))).await.unwrap();
    assert_eq!(log.take_one().remove("service").unwrap(), TCP);
}

#[tokio::test]
async fn a_write_about_no_service_logs_what_it_is_about() {
    let (kernel, app) = setup();
    let (log, _guard) = WriteLog::start();
    let about = || log.take_one().remove("about").unwrap();
    let timeouts = || serde_json::from_value(json!({"udp_seconds": 7, "tcp_seconds": 9})).unwrap();
    let update = app.update_timeouts(context(), timeouts(), NONE);
    update.await.unwrap();
    assert_eq!(about(), "timeouts tcp_seconds udp_seconds");
    kernel.faults().unload();
    let update = app.update_timeouts(context(), timeouts(), NONE);
    update.await.unwrap_err();
    assert_eq!(about(), "timeouts tcp_seconds udp_seconds", "of a failure");
    kernel.faults().load();

    let one = |name: &str| (name.to_owned(), Field::Set(SettingValue::Integer(1)));
    let settings = [one("drop_packet"), one("drop_entry")].into();
    app.update_settings(context(), settings).await.unwrap();
    assert_eq!(about(), "settings drop_entry drop_packet");
    let daemon = serde_json::from_value(json!({"interface": "nosuch"})).unwrap();
    let start = app.start_sync_daemon(context(), SyncState::Backup, daemon, false, NONE);
    start.await.unwrap_err();
    assert_eq!(about(), "sync_daemon backup");
}
