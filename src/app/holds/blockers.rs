//! Why connections continue to come to a drained server.

use crate::model::{Service, SettingValue, Settings};

/// What lets connections reach the server of a service although its weight is 0, and the remedy.
///
/// Linux, `Documentation/networking/ipvs-sysctl.rst` and `net/netfilter/ipvs`.
pub(super) fn blockers(service: &Service, settings: &Settings) -> Vec<String> {
    let key = service.key;
    let mut blockers = Vec::new();
    let is_off = |name: &str| matches!(settings.get(name), Some(SettingValue::Bool(false)));
    if service.config.persistence_timeout.is_some() && is_off("expire_quiescent_template") {
        blockers.push(format!(
            "{key}: clients with a persistence template still get the server; set \
             expire_quiescent_template"
        ));
    }
    let fallback = match service.config.scheduler.as_str() {
        "sh" => Some("sh-fallback"),
        "mh" => Some("mh-fallback"),
        _ => None,
    };
    let config = &service.config;
    let mut flags = config.scheduler_flags.names(config.scheduler);
    if let Some(name) = fallback
        && !flags.any(|flag| flag == name)
    {
        blockers.push(format!(
            "{key}: the scheduler refuses new connections of the clients whose hash selects the server; set \
             the scheduler flag {name}"
        ));
    }
    if matches!(
        settings.get("conn_reuse_mode"),
        Some(SettingValue::Integer(0))
    ) {
        blockers.push(format!(
            "{key}: a client that uses the port of an earlier connection again gets the same server; set \
             conn_reuse_mode to 1"
        ));
    }
    blockers
}
